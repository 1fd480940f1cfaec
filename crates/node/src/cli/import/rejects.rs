//! Where rejected lines go: some on the terminal, all into the file of `--rejects`.
//!
//! Knows nothing of why they were rejected.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use indicatif::ProgressBar;
use serde_json::json;

use crate::loading::source::Rejected;
use crate::terminal::{Failure, Screen};

/// Rejected lines shown on the terminal; all of them go to the file of `--rejects`.
const REJECTS_SHOWN: u64 = 10;

/// Where rejected lines go.
pub(super) struct Rejects {
    screen: Screen,
    file: Option<BufWriter<File>>,
    noted: u64,
}

impl Rejects {
    pub(super) fn open(screen: Screen, path: &Option<PathBuf>) -> Result<Self, Failure> {
        let file = path
            .as_ref()
            .map(|path| {
                File::create(path).map(BufWriter::new).map_err(|error| {
                    Failure::usage(format!("--rejects {}: {error}", path.display()))
                })
            })
            .transpose()?;
        Ok(Self {
            screen,
            file,
            noted: 0,
        })
    }

    /// Notes rejected lines; how many there were.
    pub(super) fn note(
        &mut self,
        bar: &ProgressBar,
        rejected: &[Rejected],
    ) -> Result<u64, Failure> {
        for Rejected { line, reason, text } in rejected {
            self.noted += 1;
            if let Some(file) = &mut self.file {
                let entry = json!({"line": line, "reason": reason, "text": text});
                writeln!(file, "{entry}")?;
            }
            let message = match self.noted {
                ..=REJECTS_SHOWN => format!("line {line} rejected: {reason}"),
                count if count == REJECTS_SHOWN + 1 => "… more rejected lines".to_owned(),
                _ => continue,
            };
            bar.suspend(|| self.screen.note(message));
        }
        Ok(rejected.len() as u64)
    }

    pub(super) fn finish(self) -> Result<(), Failure> {
        if let Some(mut file) = self.file {
            file.flush()?;
        }
        Ok(())
    }
}
