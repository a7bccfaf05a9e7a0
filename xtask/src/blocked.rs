//! `cargo xtask blocked`: the tests where io_uring is refused.
//!
//! A filter answers an errno to the three system calls of io_uring; it holds for all that the run starts.
//! The last run has no filter, and `CORONET_BACKEND` leaves io_uring out. Every test has to pass, but those
//! that are about io_uring: they are skipped, each says that it needs io_uring, and they are exactly those
//! that the list below names.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::Instant;

use clap::{Args, ValueEnum};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::command_line::{self, SUITE, SUITE_PROGRAMS};
use crate::outcome::{Counts, count_all, row, without_cause};

/// Which runs to do.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these runs, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "RUNS")]
    errno: Vec<How>,
}

/// How io_uring is kept away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum How {
    /// As the default profile of Docker does it.
    Eperm,
    /// As some sandboxes do, and kernels without io_uring.
    Enosys,
    /// By `CORONET_BACKEND=epoll`; no filter.
    Epoll,
}

/// `io_uring_setup`, `io_uring_enter`, `io_uring_register`, on every architecture.
const CALLS: [i64; 3] = [425, 426, 427];

/// A test program, and the beginning of the names of its tests which need io_uring: empty for all of them.
type Needy = (&'static str, &'static str);

/// Those that look at a ring, or compare it with something.
const NEEDS_A_RING: &[Needy] = &[
    ("alarms", ""),
    ("blocked", "a_ring_that_cannot_be_entered_is_none"),
    ("coronet_ring", "a_restricted_ring_refuses_what_is_not_used_and_an_open_one_does_not"),
    ("coronet_ring", "newer_capabilities_imply_those_they_stand_on"),
    ("held_files", ""),
    ("limits", "with_little_locked_memory_it_starts_smaller_or_on_epoll_and_says_so"),
    ("restricted", ""),
    ("uring", ""),
    ("uring_census", ""),
    // Half of each: they go on with epoll.
    ("embedded", ""),
    ("embedding", ""),
    ("guard", ""),
    ("hosts_rules", "who_drops_roots_rights_serves_on_a_privileged_port_and_may_no_more_than_nobody"),
];
/// Those that are skipped if `CORONET_BACKEND` says so, though a ring could be had.
const LEFT_OUT: &[Needy] = &[
    ("limits", "with_little_locked_memory_it_starts_smaller_or_on_epoll_and_says_so"),
    ("embedding", ""),
    ("guard", ""),
];

/// Runs the tests in each way; true if all passed that do not need io_uring.
pub(crate) fn run(root: &Path, options: &Options) -> bool {
    if !command_line::run(root, SUITE_PROGRAMS) {
        return false;
    }
    let (mut rows, mut fine) = (Vec::new(), true);
    for &how in How::value_variants() {
        if !(options.errno.is_empty() || options.errno.contains(&how)) {
            continue;
        }
        let start = Instant::now();
        println!("==> {how:?}: {SUITE}");
        let (ended_well, text) = run_where(how, root).unwrap_or_default();
        let counts = count_all(&text, ended_well);
        let needy = if how == How::Epoll { LEFT_OUT } else { NEEDS_A_RING };
        let wrong = wrong_skips(&counts, needy);
        if !ended_well {
            println!("{text}");
        }
        fine &= ended_well && counts.failed.is_empty() && wrong.is_empty();
        let mut row = row(&format!("{how:?}"), &counts);
        for fault in wrong {
            row += &format!("\n         WRONG: {fault}");
        }
        println!("{row}\n         {} s", start.elapsed().as_secs());
        rows.push(row.lines().next().unwrap_or_default().to_owned());
    }
    println!("\n==> summary");
    for row in &rows {
        println!("{row}");
    }
    !rows.is_empty() && fine
}

/// All that the tests print.
fn run_where(how: How, root: &Path) -> Option<(bool, String)> {
    let errno = match how {
        How::Epoll => return command_line::output(root, &format!("CORONET_BACKEND=epoll {SUITE}")),
        How::Eperm => 1,
        How::Enosys => 38,
    };
    let root = root.to_path_buf();
    // A filter holds for the thread that asks for it, and for all that it starts.
    let tests = thread::spawn(move || match seccompiler::apply_filter(&filter(errno)) {
        Ok(()) => command_line::output(&root, SUITE),
        Err(error) => {
            println!("no filter can be had here: {error}");
            None
        }
    });
    tests.join().expect("no panic")
}

fn filter(errno: u32) -> BpfProgram {
    let rules: BTreeMap<_, _> = CALLS.iter().map(|call| (*call, Vec::new())).collect();
    let arch = std::env::consts::ARCH.try_into().expect("an architecture with filters");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), arch);
    filter.expect("a filter").try_into().expect("a program")
}

/// Skips that the list does not name, or that have another cause; and names of the list that were not skipped.
fn wrong_skips(counts: &Counts, needy: &[Needy]) -> Vec<String> {
    let mut wrong = without_cause(&counts.skipped, &["io_uring".to_owned()].into());
    let names = |&(program, test): &Needy| format!("{program}: {test}");
    let starts: Vec<_> = needy.iter().map(names).collect();
    for skipped in counts.skipped.keys() {
        if !starts.iter().any(|start| skipped.starts_with(start.as_str())) {
            wrong.push(format!("{skipped} was skipped, and is not known to need io_uring"));
        }
    }
    for start in starts {
        if !counts.skipped.keys().any(|skipped| skipped.starts_with(&start)) {
            wrong.push(format!("{start} was not skipped, and is said to need io_uring"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::count;

    #[test]
    fn skips_that_are_not_on_the_list_and_entries_that_were_not_skipped_are_wrong() {
        let said = "SKIP one: needs io_uring: EPERM\nSKIP other: needs io_uring\n";
        let counts = count("uring", said, true);
        assert!(wrong_skips(&counts, &[("uring", "")]).is_empty());
        assert_eq!(
            wrong_skips(&counts, &[("uring", "one")]),
            ["uring: other was skipped, and is not known to need io_uring"]
        );
        assert_eq!(
            wrong_skips(&counts, &[("uring", ""), ("held_files", "")]),
            ["held_files:  was not skipped, and is said to need io_uring"]
        );
    }

    #[test]
    fn a_filter_holds_for_what_is_started_below_it() {
        // Where a call of io_uring ends in a filter, `seccomp` in the status says 2.
        let said = thread::spawn(|| {
            seccompiler::apply_filter(&filter(1)).expect("filters work here");
            command_line::output(Path::new("/"), "grep Seccomp: /proc/self/status")
        });
        let (fine, said) = said.join().expect("no panic").expect("it starts");
        assert!(fine && said.trim().ends_with('2'), "{said}");
    }
}
