//! What the tool says while it works: a bar in a terminal, plain lines elsewhere. All of it on standard
//! error; standard output is for the result.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Steps, the time left, and the last figure.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    verb: &'static str,
}

impl Progress {
    /// `steps` of `verb`.
    pub(crate) fn new(verb: &'static str, steps: usize) -> Self {
        if !io::stderr().is_terminal() {
            return Self { bar: None, verb };
        }
        let bar = ProgressBar::new(u64::try_from(steps).unwrap_or(u64::MAX));
        let style = ProgressStyle::with_template(&format!(
            "{verb} {{bar:24}} {{pos}}/{{len}}, {{eta}} left  {{wide_msg}}"
        ));
        bar.set_style(style.expect("the template is sound"));
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar: Some(bar), verb }
    }

    /// One step is done; `figure` is what it gave.
    pub(crate) fn step(&self, figure: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(figure.to_owned());
                bar.inc(1);
            }
            None => eprintln!("{} {figure}", self.verb),
        }
    }

    /// Steps that will not come.
    pub(crate) fn skip(&self, steps: usize) {
        if let Some(bar) = &self.bar {
            bar.inc(u64::try_from(steps).unwrap_or(0));
        }
    }

    /// What is being done; lines elsewhere would be too many.
    pub(crate) fn now(&self, doing: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(doing.to_owned());
        }
    }

    /// Something to keep on the screen.
    pub(crate) fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
