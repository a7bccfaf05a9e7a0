//! Findings as lines: a mark, the topic, what was found, and below it what to do. Pure.

use crate::doctor::judge::{Finding, Mark};

/// Wide enough for the longest topic.
const TOPIC_WIDTH: usize = 24;

/// One line each, advice below.
pub(crate) fn render(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.mark {
            Mark::Good => '✓',
            Mark::Fair => '!',
            Mark::Bad => '✗',
        };
        text.push_str(&format!("{mark} {:TOPIC_WIDTH$} {}\n", finding.topic, finding.says));
        if let Some(advice) = &finding.advice {
            text.push_str(&format!("  {:TOPIC_WIDTH$} → {advice}\n", ""));
        }
    }
    let count = |mark: Mark| findings.iter().filter(|finding| finding.mark == mark).count();
    text.push_str(&match (count(Mark::Bad), count(Mark::Fair)) {
        (0, 0) => "All is well.\n".to_owned(),
        (0, fair) => format!("It works; {fair} could be better.\n"),
        (bad, _) => format!("{bad} to be mended.\n"),
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::{Cause, Chosen, Facts, Refused};
    use crate::doctor::judge::judge;

    const NEW: [&str; 12] = [
        "waits_nonblocking",
        "poll_multi",
        "msg_ring",
        "buffer_groups",
        "accept_multi",
        "recv_multi",
        "send_zc",
        "send_zc_report",
        "bundles",
        "incremental",
        "min_wait",
        "file_table",
    ];

    fn well() -> Facts {
        Facts {
            kernel: "6.18.2".to_owned(),
            backend: Ok(Chosen {
                name: "io_uring".to_owned(),
                why: "DEFER_TASKRUN, NO_SQARRAY, 256 + 16384 entries, kernel 6.18.2".to_owned(),
                capabilities: NEW.iter().map(|&name| (name, true)).collect(),
            }),
            ring_refused: None,
            memlock: Some(8 << 20),
            nofile: (Some(65_536), Some(65_536)),
            cpus: 4,
            cores: 4,
            quota: None,
            container: None,
            seccomp: Some(0),
            io_uring_disabled: Some(0),
            backend_variable: None,
            mask_variable: None,
        }
    }

    fn refused(cause: Cause, message: &str) -> Result<Chosen, Refused> {
        Err(Refused { cause, message: message.to_owned() })
    }

    #[test]
    fn all_is_well() {
        insta::assert_snapshot!(render(&judge(&well())));
    }

    #[test]
    fn a_container_that_forbids_io_uring_is_told_which_profile_to_change() {
        let facts = Facts {
            ring_refused: Some(Cause::Forbidden),
            backend: refused(
                Cause::Forbidden,
                "io_uring_setup: io_uring is blocked: Operation not permitted",
            ),
            container: Some("Docker (/.dockerenv)".to_owned()),
            seccomp: Some(2),
            quota: Some(1.5),
            ..well()
        };
        insta::assert_snapshot!(render(&judge(&facts)));
    }

    #[test]
    fn a_sysctl_that_forbids_io_uring_is_named_with_its_cure() {
        let facts = Facts {
            ring_refused: Some(Cause::Forbidden),
            backend: refused(
                Cause::Forbidden,
                "io_uring_setup: io_uring is blocked: Operation not permitted",
            ),
            io_uring_disabled: Some(2),
            ..well()
        };
        insta::assert_snapshot!(render(&judge(&facts)));
    }

    #[test]
    fn a_kernel_without_io_uring_is_told_which_one_has_it() {
        let facts = Facts {
            kernel: "4.19.0".to_owned(),
            ring_refused: Some(Cause::Absent),
            backend: refused(
                Cause::Absent,
                "io_uring_setup: this kernel has no io_uring: Function not implemented",
            ),
            io_uring_disabled: None,
            ..well()
        };
        insta::assert_snapshot!(render(&judge(&facts)));
    }

    #[test]
    fn too_little_locked_memory_on_a_kernel_that_counts_rings_is_the_cause() {
        let facts = Facts {
            kernel: "5.11.0".to_owned(),
            ring_refused: Some(Cause::Memory),
            backend: refused(Cause::Memory, "io_uring_setup: raise RLIMIT_MEMLOCK: Cannot allocate memory"),
            memlock: Some(64 << 10),
            io_uring_disabled: None,
            nofile: (Some(1024), Some(4096)),
            ..well()
        };
        insta::assert_snapshot!(render(&judge(&facts)));
    }

    #[test]
    fn an_old_kernel_is_told_what_happens_without_each_capability() {
        let mut facts = Facts { kernel: "5.15.0".to_owned(), io_uring_disabled: None, cores: 2, ..well() };
        if let Ok(chosen) = &mut facts.backend {
            chosen.why = "256 + 16384 entries, kernel 5.15.0".to_owned();
            for (name, there) in &mut chosen.capabilities {
                *there = *name == "poll_multi";
            }
        }
        insta::assert_snapshot!(render(&judge(&facts)));
    }
}
