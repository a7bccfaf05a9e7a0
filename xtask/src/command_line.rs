//! A command line as a user would type it: words without quotes, no shell.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

/// The tests that look at the backend: those of the ring, of I/O, of the facade and of the examples. Without
/// those that ask the compiler, which says the same everywhere.
pub(crate) const SUITE: &str = "cargo test --no-fail-fast -p coronet-ring -p coronet-io -p coronet \
                                -p coronet-examples --tests -- --nocapture --skip programs_that_would_be_unsound";

/// Programs that tests of [`SUITE`] start, and that it does not build.
pub(crate) const SUITE_PROGRAMS: &str =
    "cargo build --quiet -p coronet-ring -p coronet-io -p coronet -p coronet-examples --examples";

/// Runs `NAME=value ... program argument ...` with its output on ours; true if it succeeded.
pub(crate) fn run(root: &Path, line: &str) -> bool {
    let (mut command, program) = command(root, line);
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            println!("cannot start `{program}`: {error}");
            false
        }
    }
}

/// As [`run`], with all that it printed, in the order it did; `None` if it could not be started.
pub(crate) fn output(root: &Path, line: &str) -> Option<(bool, String)> {
    let (mut command, program) = command(root, line);
    match whole_output(&mut command) {
        Ok((status, text)) => Some((status.success(), text)),
        Err(error) => {
            println!("cannot start `{program}`: {error}");
            None
        }
    }
}

/// Both streams in one pipe, so that lines of one stay between those lines of the other that they came with.
fn whole_output(command: &mut Command) -> io::Result<(ExitStatus, String)> {
    let (mut both, end) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(end.try_clone()?).stderr(end);
    let mut child = command.spawn()?;
    // Our copies of the pipe's end go, or there would be none.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut text = Vec::new();
    both.read_to_end(&mut text)?;
    Ok((child.wait()?, String::from_utf8_lossy(&text).into_owned()))
}

fn command(root: &Path, line: &str) -> (Command, String) {
    let mut words = line.split_whitespace().peekable();
    let mut variables = Vec::new();
    while let Some(variable) = words.next_if(|word| word.contains('=')) {
        variables.extend(variable.split_once('='));
    }
    let program = words.next().expect("a command line names a program");
    let mut command = Command::new(program);
    command.args(words).envs(variables).current_dir(root);
    (command, program.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_reports_success_and_failure() {
        assert!(run(Path::new("/"), "true"));
        assert!(!run(Path::new("/"), "false"));
        assert!(!run(Path::new("/"), "no-such-program-of-coronet"));
    }

    #[test]
    fn variables_before_the_program_reach_it() {
        assert!(run(Path::new("/"), "CORONET_A=1 printenv CORONET_A"));
        assert!(!run(Path::new("/"), "printenv CORONET_A"));
    }

    #[test]
    fn the_output_has_both_streams() {
        let (fine, text) = output(Path::new("/"), "CORONET_A=1 printenv CORONET_A").expect("it starts");
        assert_eq!((fine, &*text), (true, "1\n"));
        assert!(output(Path::new("/"), "no-such-program-of-coronet").is_none());
    }
}
