//! `tablestore table`: create, alter, list, describe, delete.

use clap::{Args, Subcommand};
use serde_json::json;
use tablestore_client::{
    Client, Document, KeyDefinition, KeyType, TableAlteration, TableDefinition, TableView,
};

use crate::terminal::{Exit, Failure, Screen, columns, field};

/// `tablestore table …`
#[derive(Debug, Subcommand)]
pub(crate) enum TableCommand {
    /// Create a table; the same table again is no error
    Create(Box<CreateArguments>),
    /// Change how many copies a table has and a write needs; it is served meanwhile
    Alter(AlterArguments),
    /// List all tables
    List,
    /// Show what a table is and who holds its partitions
    Describe(NameArgument),
    /// Delete a table with all its rows
    Delete(DeleteTableArguments),
}

/// Options of `tablestore table create`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  tablestore table create flights --key id --sort-key time:string --replicas 3")]
pub(crate) struct CreateArguments {
    /// Name of the table
    table: String,
    /// Partition key: NAME or NAME:TYPE (string, number, binary)
    #[arg(long, value_name = "NAME[:TYPE]", value_parser = key_definition)]
    key: KeyDefinition,
    /// Sort key: NAME or NAME:TYPE
    #[arg(long, value_name = "NAME[:TYPE]", value_parser = key_definition)]
    sort_key: Option<KeyDefinition>,
    #[command(flatten)]
    placing: PlacingArguments,
}

/// Options of `tablestore table alter`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  tablestore table alter flights --replicas 5 --min-in-sync 3")]
pub(crate) struct AlterArguments {
    /// Name of the table
    table: String,
    /// Copies of every row from now on; they come and go in the background
    #[arg(long, required_unless_present = "min_in_sync")]
    replicas: Option<u32>,
    /// Copies on disk before a write is acknowledged
    #[arg(long)]
    min_in_sync: Option<u32>,
}

/// How a table is kept, for commands that create one.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PlacingArguments {
    /// Failover strategy: primary-backup, active, partition, or the name of a custom one
    #[arg(long)]
    strategy: Option<String>,
    /// Copies of every row
    #[arg(long)]
    replicas: Option<u32>,
    /// Copies on disk before a write is acknowledged
    #[arg(long)]
    min_in_sync: Option<u32>,
    /// Number of partitions, a power of two
    #[arg(long)]
    partitions: Option<u32>,
    /// How rows lie on disk: row or column
    #[arg(long)]
    layout: Option<String>,
}

impl PlacingArguments {
    pub(crate) fn definition(
        self,
        key: KeyDefinition,
        sort_key: Option<KeyDefinition>,
    ) -> TableDefinition {
        TableDefinition {
            partition_key: key,
            sort_key,
            strategy: self.strategy,
            replicas: self.replicas,
            min_in_sync: self.min_in_sync,
            partitions: self.partitions,
            layout: self.layout,
            more: Document::new(),
        }
    }
}

/// The name of a table.
#[derive(Debug, Args)]
pub(crate) struct NameArgument {
    /// Name of the table
    table: String,
}

/// Options of `tablestore table delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteTableArguments {
    /// Name of the table
    table: String,
    /// Do it without the name being typed again
    #[arg(long, short)]
    yes: bool,
}

fn key_definition(text: &str) -> Result<KeyDefinition, String> {
    let (name, key_type) = text.rsplit_once(':').unwrap_or((text, "string"));
    let key_type = KeyType::from(key_type);
    if name.is_empty() || matches!(key_type, KeyType::Other(_)) {
        return Err("expected NAME or NAME:TYPE with type string, number or binary".to_owned());
    }
    Ok(KeyDefinition::new(name, key_type))
}

pub(crate) async fn run(
    client: &Client,
    screen: &Screen,
    command: TableCommand,
) -> Result<Exit, Failure> {
    match command {
        TableCommand::Create(arguments) => create(client, screen, *arguments).await,
        TableCommand::Alter(arguments) => alter(client, screen, &arguments).await,
        TableCommand::List => list(client, screen).await,
        TableCommand::Describe(arguments) => describe(client, screen, &arguments.table).await,
        TableCommand::Delete(arguments) => delete(client, screen, &arguments).await,
    }
}

async fn create(
    client: &Client,
    screen: &Screen,
    arguments: CreateArguments,
) -> Result<Exit, Failure> {
    let table = arguments.table;
    let definition = arguments
        .placing
        .definition(arguments.key, arguments.sort_key);
    let created = client.create_table(&table, &definition).await?;
    screen.result(
        &json!({"created": created.new, "table": created.table}),
        || {
            if created.new {
                format!("table {table} created")
            } else {
                format!("table {table} was there already, with the same definition")
            }
        },
    );
    Ok(Exit::Done)
}

async fn alter(
    client: &Client,
    screen: &Screen,
    arguments: &AlterArguments,
) -> Result<Exit, Failure> {
    let table = &arguments.table;
    let alteration = TableAlteration {
        replicas: arguments.replicas,
        min_in_sync: arguments.min_in_sync,
    };
    let altered = client.alter_table(table, &alteration).await?;
    screen.result(&json!(altered), || {
        let TableView {
            replicas,
            min_in_sync,
            ..
        } = altered.table;
        if !altered.changed {
            return format!(
                "table {table} has replicas {replicas}, min_in_sync {min_in_sync} already"
            );
        }
        let mut text =
            format!("table {table} has replicas {replicas}, min_in_sync {min_in_sync} from now on");
        if altered.below_min_in_sync > 0 {
            let waiting = altered.below_min_in_sync;
            text.push_str(&format!(
                "; {waiting} partitions refuse writes until more copies are in sync"
            ));
        }
        text
    });
    Ok(Exit::Done)
}

async fn list(client: &Client, screen: &Screen) -> Result<Exit, Failure> {
    let tables = client.tables().await?;
    screen.result(&json!(tables), || {
        if tables.is_empty() {
            return "no tables; `tablestore table create` makes one".to_owned();
        }
        let rows: Vec<Vec<String>> = tables.iter().map(summary).collect();
        columns(
            screen,
            &[
                "NAME",
                "KEY",
                "SORT KEY",
                "STRATEGY",
                "COPIES",
                "PARTITIONS",
            ],
            &rows,
        )
    });
    Ok(Exit::Done)
}

fn summary(table: &TableView) -> Vec<String> {
    let key = |key: &KeyDefinition| format!("{}:{}", key.name, key.key_type);
    vec![
        table.name.clone(),
        key(&table.partition_key),
        table.sort_key.as_ref().map(key).unwrap_or_default(),
        table.strategy.clone(),
        table.replicas.to_string(),
        table.partitions.to_string(),
    ]
}

async fn describe(client: &Client, screen: &Screen, table: &str) -> Result<Exit, Failure> {
    let described = client.describe_table(table).await?;
    let partitions = client.partitions(table).await?;
    let value = json!({"table": described, "partitions": partitions});
    screen.result(&value, || {
        let mut text = String::new();
        let shown = json!(described);
        for (name, value) in shown.as_object().into_iter().flatten() {
            if !value.is_null() && !value.is_array() {
                text.push_str(&format!("{name:<14} {}\n", field(Some(value))));
            }
        }
        let rows: Vec<Vec<String>> = partitions
            .iter()
            .map(|p| {
                vec![
                    p.partition.to_string(),
                    p.assignment.epoch.to_string(),
                    p.assignment
                        .primary
                        .clone()
                        .unwrap_or_else(|| "-".to_owned()),
                    p.assignment.replicas.join(" "),
                    p.assignment.in_sync.join(" "),
                ]
            })
            .collect();
        let headings = ["PARTITION", "EPOCH", "PRIMARY", "REPLICAS", "IN SYNC"];
        format!("{text}\n{}", columns(screen, &headings, &rows))
    });
    Ok(Exit::Done)
}

async fn delete(
    client: &Client,
    screen: &Screen,
    arguments: &DeleteTableArguments,
) -> Result<Exit, Failure> {
    let table = &arguments.table;
    if !arguments.yes {
        confirm(screen, table)?;
    }
    client.drop_table(table).await?;
    screen.result(&json!({"deleted": table}), || {
        format!("table {table} deleted")
    });
    Ok(Exit::Done)
}

/// A table is not deleted by a slip of the hand: a person types its name, a script says `--yes`.
fn confirm(screen: &Screen, table: &str) -> Result<(), Failure> {
    if !screen.terminal() {
        return Err(Failure::usage(format!(
            "table {table} would be deleted: pass --yes"
        )));
    }
    screen.note(format!(
        "Table {table} and all its rows will be deleted. Type its name:"
    ));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if answer.trim() == table {
        return Ok(());
    }
    Err(Failure::usage(
        "the name was not confirmed; nothing was deleted",
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use super::*;

    #[test]
    fn a_key_has_a_name_and_perhaps_a_type() {
        assert_eq!(
            key_definition("id").unwrap(),
            KeyDefinition::new("id", "string")
        );
        assert_eq!(
            key_definition("a:b:number").unwrap(),
            KeyDefinition::new("a:b", "number")
        );
        for bad in ["", ":string", "id:text", "id:"] {
            key_definition(bad).unwrap_err();
        }
    }
}
