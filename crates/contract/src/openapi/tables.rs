//! Operations on tables.

use utoipa::openapi::HttpMethod;

use super::operation::Operation;
use super::parts::{BODY, MAP, REQUEST, TABLE, table, timeout};
use crate::problem::Kind;
use crate::{Altered, Dropped, TableAlteration, TableDefinition, TableView, Tables};

const TAG: &str = "tables";
const ONE: &str = "/v1/tables/{table}";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            HttpMethod::Get,
            "/v1/tables",
            TAG,
            "list_tables",
            "All tables",
        )
        .answers::<Tables>(200, "all tables, by name")
        .fails(&[&[Kind::UnknownParameter]]),
        Operation::new(HttpMethod::Put, ONE, TAG, "create_table", "Create a table")
            .takes([table(), timeout()])
            .body::<TableDefinition>()
            .answers::<TableView>(201, "created")
            .answers::<TableView>(200, "it was there, the same")
            .fails(&[REQUEST, BODY, MAP, TABLE, &[Kind::TableExists]]),
        Operation::new(
            HttpMethod::Get,
            ONE,
            TAG,
            "describe_table",
            "Describe a table",
        )
        .takes([table(), timeout()])
        .answers::<TableView>(200, "its definition")
        .fails(&[REQUEST, TABLE]),
        Operation::new(
            HttpMethod::Patch,
            ONE,
            TAG,
            "alter_table",
            "Alter how many replicas a table has and a write needs",
        )
        .takes([table(), timeout()])
        .body::<TableAlteration>()
        .answers::<Altered>(200, "it is so from now on")
        .fails(&[REQUEST, BODY, MAP, TABLE]),
        Operation::new(
            HttpMethod::Delete,
            ONE,
            TAG,
            "drop_table",
            "Drop a table with all its rows",
        )
        .takes([table(), timeout()])
        .answers::<Dropped>(200, "dropped")
        .fails(&[REQUEST, MAP, TABLE]),
    ]
}
