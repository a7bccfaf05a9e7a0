//! The command line.
//!
//! Every key of the configuration file is an option of the same name; the command line wins.

use std::path::PathBuf;

use clap::Parser;

use crate::config::Keys;

/// Forwards TCP connections to upstreams.
#[derive(Parser, Debug)]
#[command(name = "proxy", version)]
pub(crate) struct Options {
    /// A TOML file; SIGHUP reads it again.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// What the file may say, too.
    #[command(flatten)]
    pub(crate) keys: Keys,
}
