//! A command line as a user would type it: words without quotes, no shell.

use std::path::Path;
use std::process::{Command, Stdio};

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

/// As [`run`], with all that it printed; `None` if it could not be started.
pub(crate) fn output(root: &Path, line: &str) -> Option<(bool, String)> {
    let (mut command, program) = command(root, line);
    match command.stdin(Stdio::null()).output() {
        Ok(output) => {
            let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.push_str(&String::from_utf8_lossy(&output.stderr));
            Some((output.status.success(), text))
        }
        Err(error) => {
            println!("cannot start `{program}`: {error}");
            None
        }
    }
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
