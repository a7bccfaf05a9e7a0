//! From what a machine said to what is wrong with it. Pure.

use super::programs::CAPABILITIES;
use crate::capabilities::{absent, lines};
use crate::outcome::{Counts, count, row, unlike, without_cause};

/// What is to be said, and whether all is well.
pub(super) struct Verdict {
    pub(super) text: String,
    pub(super) fine: bool,
}

/// Reads the console. If all programs were there, the tests that were skipped have to be those that need what
/// this kernel is without; of some, none may be skipped for another reason.
pub(super) fn judge(said: &str, all_were_there: bool) -> Verdict {
    let value = |name: &'static str| said.lines().filter_map(move |line| line.strip_prefix(name));
    let release = value("KERNEL ").next().unwrap_or("?").to_owned();
    let mut wrong = Vec::new();
    let mut total = Counts { complete: true, ..Counts::default() };
    let mut text = String::new();
    for (name, part) in sections(said) {
        let exit = part.lines().find_map(|line| line.strip_prefix(&format!("EXIT {name} ")));
        if exit != Some("0") {
            wrong.push(format!("{name} ended with {}", exit.unwrap_or("nothing: the machine ended first")));
        }
        if name == CAPABILITIES {
            continue;
        }
        let counts = count(name, part, exit == Some("0"));
        text += &format!("{}\n", row(name, &counts));
        total.add(counts);
    }
    wrong.extend(unlike_version(said, &release));
    let absent = absent(said);
    let check = if all_were_there { unlike } else { without_cause };
    wrong.extend(check(&total.skipped, &absent));
    wrong.extend(value("COMPLAINT ").map(|line| format!("the kernel complained: {line}")));
    if !said.lines().any(|line| line == "END") {
        wrong.push("the machine did not come to its end".to_owned());
    }
    total.complete &= wrong.is_empty();
    text += &format!("\n==> Linux {release}\n{}\n", row("all", &total));
    for line in value("backend ") {
        text += &format!("backend: {line}\n");
    }
    text += &format!("absent: {}\n", absent.into_iter().collect::<Vec<_>>().join(", "));
    for line in &wrong {
        text += &format!("WRONG: {line}\n");
    }
    Verdict { text, fine: wrong.is_empty() && total.failed.is_empty() }
}

/// Name and output of each program.
fn sections(said: &str) -> impl Iterator<Item = (&str, &str)> {
    said.split("\nPROGRAM ").skip(1).filter_map(|part| part.split_once('\n'))
}

/// Capabilities that should be there and are not, or the other way round, by the versions beside the names.
fn unlike_version(said: &str, release: &str) -> Vec<String> {
    let mut unlike = Vec::new();
    for line in lines(said) {
        let (name, since) = (line.name, line.since);
        let expected = version(since) <= version(release);
        if expected != line.there {
            let is = if expected { "is not there, and came" } else { "is there, and came only" };
            unlike.push(format!("{name} {is} with {since}"));
        }
    }
    if lines(said).next().is_none() {
        unlike.push("no capability was listed".to_owned());
    }
    unlike
}

/// The first two numbers.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: &str = "KERNEL 6.1.0-56\nPROGRAM ring-capabilities\nbackend io_uring (x)\n\
                        capability recv_multi 6.0 yes\ncapability bundles 6.10 no\nEXIT ring-capabilities 0\n\
                        PROGRAM ring-uring\ntest one ... ok\ntest two ... SKIP two: needs bundles (1 so far)\nok\n\
                        test result: ok. 2 passed; 0 failed; 0 ignored\nEXIT ring-uring 0\nEND\n";

    #[test]
    fn a_machine_on_which_all_went_well_is_fine_and_names_what_was_skipped() {
        let verdict = judge(WELL, true);
        assert!(verdict.fine, "{}", verdict.text);
        assert!(verdict.text.contains("1 passed,  0 failed,  1 skipped"), "{}", verdict.text);
        assert!(
            verdict.text.contains("absent: bundles\n")
                && verdict.text.contains("ring-uring: two (needs bundles)"),
            "{}",
            verdict.text
        );
    }

    /// The trap: 6.10 is newer than 6.1, and older than it as a fraction.
    #[test]
    fn a_kernel_that_is_not_what_its_version_says_is_wrong() {
        for (from, to, says) in [
            ("bundles 6.10 no", "bundles 6.10 yes", "bundles is there, and came only with 6.10"),
            ("recv_multi 6.0 yes", "recv_multi 6.0 no", "recv_multi is not there, and came with 6.0"),
        ] {
            let verdict = judge(&WELL.replace(from, to), true);
            assert!(!verdict.fine && verdict.text.contains(says), "{}", verdict.text);
        }
    }

    #[test]
    fn a_skip_for_what_is_there_is_wrong_and_so_is_none_for_what_is_not() {
        for (from, to, says) in [
            ("needs bundles", "needs recv_multi", "this is there: recv_multi"),
            ("needs bundles", "the machine is small", "this is there: the machine is small"),
            ("SKIP two: needs bundles (1 so far)\nok", "ok", "nothing was skipped for lack of bundles"),
        ] {
            let verdict = judge(&WELL.replace(from, to), true);
            assert!(!verdict.fine && verdict.text.contains(says), "{}", verdict.text);
        }
        // Some programs only: whatever needs it may be in another.
        assert!(judge(&WELL.replace("SKIP two: needs bundles (1 so far)\nok", "ok"), false).fine);
    }

    #[test]
    fn a_failure_a_hang_a_crash_and_a_complaint_are_wrong() {
        for (from, to) in [
            ("EXIT ring-uring 0", "EXIT ring-uring 101"),
            ("EXIT ring-uring 0\nEND\n", ""),
            ("END\n", "COMPLAINT [  1.0] WARNING: at fs\nEND\n"),
        ] {
            assert!(!judge(&WELL.replace(from, to), true).fine, "{to}");
        }
    }
}
