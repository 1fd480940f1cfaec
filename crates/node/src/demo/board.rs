//! What a person sees while the demo runs: one line that moves, and lines that stay.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tablestore_verify::Traffic;

use crate::terminal::Screen;

const REDRAW_EVERY: Duration = Duration::from_millis(120);

/// The moving line and the lines above it.
#[derive(Debug)]
pub(crate) struct Board {
    screen: Screen,
    bar: ProgressBar,
}

impl Board {
    pub(crate) fn new(screen: Screen) -> Self {
        let bar = if screen.terminal() {
            let style = ProgressStyle::with_template("{spinner} {msg}  {elapsed}")
                .expect("the template is well-formed");
            let bar = ProgressBar::new_spinner().with_style(style);
            bar.enable_steady_tick(REDRAW_EVERY);
            bar
        } else {
            ProgressBar::hidden()
        };
        Self { screen, bar }
    }

    /// What is being done now.
    pub(crate) fn stage(&self, text: impl Into<String>) {
        let text = text.into();
        if self.screen.terminal() {
            self.bar.set_message(text);
        } else {
            self.screen.note(text);
        }
    }

    /// The same with numbers that move; only where they can be seen moving.
    pub(crate) fn traffic(&self, stage: &str, traffic: &Traffic) {
        if self.screen.terminal() {
            let (writes, reads) = (traffic.acknowledged(), traffic.reads());
            let message = format!("{stage}  |  {writes} writes acknowledged, {reads} strong reads");
            self.bar.set_message(message);
        }
    }

    /// A line that stays.
    pub(crate) fn line(&self, text: &str) {
        // In JSON mode standard output belongs to the last line.
        self.bar.suspend(|| {
            if self.screen.json() {
                self.screen.note(text)
            } else {
                self.screen.line(text)
            }
        });
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
