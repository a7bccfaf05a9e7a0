//! From programs to files: cargo builds each on its own, so that one failure is one missing row.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::compare::child::{Child, Early, Stop};
use crate::compare::contestant::{Program, Target};

/// A first build of everything a rival needs, on a slow machine.
const BUILD_MAX: Duration = Duration::from_secs(3600);

/// Where programs come from.
pub(crate) enum Source {
    /// A checkout: its root.
    Workspace(PathBuf),
    /// A directory with finished programs.
    Directory(PathBuf),
}

/// The file of each program, or why there is none.
pub(crate) type Built = BTreeMap<Program, Result<PathBuf, String>>;

impl Source {
    /// The directory that was named, or the checkout that we stand in.
    pub(crate) fn find(programs: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(directory) = programs {
            let directory = directory.canonicalize().with_context(|| format!("{}", directory.display()))?;
            return Ok(Self::Directory(directory));
        }
        let here = env::current_dir().context("find the current directory")?;
        let is_root = |path: &&Path| {
            path.join("benches/Cargo.toml").is_file() && path.join("crates/coronet/Cargo.toml").is_file()
        };
        match here.ancestors().find(is_root) {
            Some(root) => Ok(Self::Workspace(root.to_owned())),
            None => bail!(
                "it builds what it compares: run it inside a checkout of Coronet ({} is not in one)",
                here.display()
            ),
        }
    }

    /// Finds or builds `program`.
    pub(crate) fn get(
        &self,
        program: Program,
        stop: &Stop,
        mut said: impl FnMut(&str),
    ) -> Result<Result<PathBuf, String>, Early> {
        match self {
            Self::Directory(directory) => {
                let file = directory.join(program.file);
                Ok(if file.is_file() { Ok(file) } else { Err(format!("there is no {}", file.display())) })
            }
            Self::Workspace(root) => build(root, program, stop, &mut said),
        }
    }
}

/// The command line that builds `program`, after `cargo`.
pub(crate) fn arguments(program: Program) -> Vec<&'static str> {
    let mut words = vec!["build", "--release", "-p", program.package];
    match program.target {
        Target::Bin => words.extend(["--bin", program.file]),
        Target::Example => words.extend(["--example", program.file]),
        Target::Rival => words.extend(["--manifest-path", "benches/rivals/Cargo.toml"]),
    }
    words
}

fn build(
    root: &Path,
    program: Program,
    stop: &Stop,
    said: &mut impl FnMut(&str),
) -> Result<Result<PathBuf, String>, Early> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut words: Vec<OsString> = arguments(program).into_iter().map(OsString::from).collect();
    if let Some(place) = words.iter().position(|word| word == "--manifest-path") {
        words[place + 1] = root.join("benches/rivals/Cargo.toml").into();
    } else {
        words.extend(["--manifest-path".into(), root.join("Cargo.toml").into()]);
    }
    words.push("--message-format=json-render-diagnostics".into());
    let mut child = match Child::start(&cargo, &words, None) {
        Ok(child) => child,
        Err(error) => return Ok(Err(format!("did not build: cargo cannot be started: {error}"))),
    };
    let mut last = String::new();
    let waited = stop.wait_for(BUILD_MAX, || {
        let ended = child.ended();
        let text = child.complained();
        if let Some(line) = text.lines().rfind(|line| !line.trim().is_empty())
            && line != last
        {
            line.clone_into(&mut last);
            said(line.trim());
        }
        ended
    });
    let status = match waited {
        Ok(status) => status,
        Err(Early::TimedOut) => return Ok(Err("did not build within an hour".to_owned())),
        Err(Early::Interrupted) => return Err(Early::Interrupted),
    };
    if !status.success() {
        return Ok(Err(format!("did not build: {}", first_error(&child.complained()))));
    }
    let found = executable(&child.printed(), program.file);
    Ok(found.ok_or_else(|| format!("did not build: cargo made no program called {}", program.file)))
}

/// The line of cargo's output that says what is wrong.
fn first_error(text: &str) -> String {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines().find(|line| line.starts_with("error"));
    error.or_else(|| lines().next_back()).unwrap_or("cargo said nothing").to_owned()
}

/// Where cargo says that it put the program.
fn executable(text: &str, name: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        target: Option<Named>,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    messages
        .filter(|message| message.target.as_ref().is_some_and(|target| target.name == name))
        .find_map(|message| message.executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_where_cargo_says() {
        let text = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"serde\"},\"executable\":null}\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"load\"},\"executable\":\"/t/load\"}\n\
            {\"reason\":\"build-finished\",\"success\":true}";
        assert_eq!(executable(text, "load"), Some(PathBuf::from("/t/load")));
        assert_eq!(executable(text, "serde"), None);
    }

    #[test]
    fn a_failed_build_is_told_by_its_first_error() {
        let text = "   Compiling x v1.0.0\nwarning: unused\nerror[E0308]: mismatched types\nerror: could not compile";
        assert_eq!(first_error(text), "error[E0308]: mismatched types");
        assert_eq!(first_error("no such command\n"), "no such command");
    }
}
