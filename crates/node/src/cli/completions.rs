//! `tablestore completions`: completion scripts for shells.

use std::io;

use clap::Args;
use clap_complete::Shell;

use crate::terminal::{Exit, Failure};

const HELP: &str = "\
Install, for example:
  bash  tablestore completions bash > ~/.local/share/bash-completion/completions/tablestore
  zsh   tablestore completions zsh > \"${fpath[1]}/_tablestore\"
  fish  tablestore completions fish > ~/.config/fish/completions/tablestore.fish";

/// Options of `tablestore completions`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(
    arguments: &CompletionsArguments,
    command: &mut clap::Command,
) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, command, "tablestore", &mut script);
    io::Write::write_all(&mut io::stdout().lock(), &script)?;
    Ok(Exit::Done)
}
