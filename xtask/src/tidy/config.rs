//! `xtask/tidy.toml`: what the checks look at, and the exceptions with their
//! reasons.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A path, or `path::function`, and why it is an exception.
pub(crate) type Reasons = BTreeMap<String, String>;

/// The whole file. Every table may be left out; an unknown one is an error.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Package name -> packages of `crates/` it may depend on.
    pub(crate) crates: BTreeMap<String, Vec<String>>,
    pub(crate) exhaustive: Exhaustive,
    pub(crate) cancellation: Cancellation,
    /// Files that may be longer than the limit.
    pub(crate) long_files: Reasons,
    /// Files that may contain `unsafe`.
    pub(crate) unsafe_files: Reasons,
}

/// Where a `match` must name every variant.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Exhaustive {
    /// Paths; `*` stands for one component or a part of it. Each must match a file.
    pub(crate) files: Vec<String>,
    /// `path::function` whose wildcard arms are fine, with the reason.
    pub(crate) except: Reasons,
}

/// What the cancellation check takes for a future, besides what it sees itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Cancellation {
    /// Names of types that are awaited and do not implement `Future` in our crates.
    pub(crate) types: Vec<String>,
}

impl Config {
    pub(crate) fn parse(text: &str) -> Result<Config, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_read() {
        let config = Config::parse(
            r#"
            [crates]
            io = ["ring"]
            [exhaustive]
            files = ["a/*/b.rs"]
            except = { "a/x/b.rs::f" = "errno is an integer" }
            [cancellation]
            types = ["BoxFuture"]
            [long_files]
            "a.rs" = "a table"
            [unsafe_files]
            "b.rs" = "the loan"
            "#,
        )
        .unwrap();
        assert_eq!(config.crates["io"], ["ring"]);
        assert_eq!(config.exhaustive.files, ["a/*/b.rs"]);
        assert_eq!(config.exhaustive.except["a/x/b.rs::f"], "errno is an integer");
        assert_eq!(config.cancellation.types, ["BoxFuture"]);
        assert_eq!(config.long_files["a.rs"], "a table");
        assert_eq!(config.unsafe_files["b.rs"], "the loan");
    }

    /// The trap: a misspelt table that is silently empty switches a check off.
    #[test]
    fn an_unknown_table_is_an_error() {
        assert!(Config::parse("[unsafe_file]\n").is_err());
        assert!(Config::parse("[exhaustive]\nfile = []\n").is_err());
    }
}
