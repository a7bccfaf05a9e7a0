//! Whether a write lends its bytes to the network or has them copied: one pure function for the buffer, one for the
//! connection.
//!
//! Lending costs the kernel more than copying a few pages: it pins them, and notifies. On the way to a peer that
//! copies all the same, as loopback does, nothing is left to gain. So a connection tries once, with the first buffer
//! that is large enough, and looks what the kernel reports.

use crate::op::Usage;

/// From this size on lending pays on a network card, without registered buffers; published figures say 4 to 16 KiB.
pub(super) const LEND_FROM: usize = 16 * 1024;

/// What a connection knows about lending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// No buffer was large enough.
    Untried,
    /// One was lent, and nothing is known of it.
    Trial,
    /// The network reads in place.
    Pays,
    /// The kernel copies, refuses, or cannot say: for good.
    Off,
}

/// Where a connection begins.
pub(super) fn begin(kernel_reports: bool) -> Course {
    if kernel_reports { Course::Untried } else { Course::Off }
}

/// Whether a buffer of so many bytes is lent, on this course.
pub(super) fn lends(course: Course, bytes: usize) -> bool {
    match course {
        Course::Untried | Course::Pays => bytes >= LEND_FROM,
        Course::Trial | Course::Off => false,
    }
}

/// The course after a buffer was lent.
pub(super) fn after_lending(course: Course) -> Course {
    match course {
        Course::Untried => Course::Trial,
        Course::Trial => Course::Trial,
        Course::Pays => Course::Pays,
        Course::Off => Course::Off,
    }
}

/// The course by what the kernel has said so far.
pub(super) fn learn(course: Course, usage: Usage) -> Course {
    match course {
        Course::Untried => match usage {
            Usage::Unknown => Course::Untried,
            // Of a `send_zc`, which lends whatever the course is.
            Usage::Lent => Course::Pays,
            Usage::Copied => Course::Off,
            Usage::Refused => Course::Off,
        },
        Course::Trial => match usage {
            Usage::Unknown => Course::Trial,
            Usage::Lent => Course::Pays,
            Usage::Copied => Course::Off,
            Usage::Refused => Course::Off,
        },
        Course::Pays => match usage {
            Usage::Unknown => Course::Pays,
            Usage::Lent => Course::Pays,
            Usage::Copied => Course::Off,
            Usage::Refused => Course::Off,
        },
        Course::Off => match usage {
            Usage::Unknown => Course::Off,
            Usage::Lent => Course::Off,
            Usage::Copied => Course::Off,
            Usage::Refused => Course::Off,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COURSES: [Course; 4] = [Course::Untried, Course::Trial, Course::Pays, Course::Off];

    #[test]
    fn small_buffers_are_never_lent_and_large_ones_on_two_courses() {
        for course in COURSES {
            assert!(!lends(course, LEND_FROM - 1), "{course:?}");
            assert_eq!(
                lends(course, LEND_FROM),
                matches!(course, Course::Untried | Course::Pays),
                "{course:?}"
            );
        }
    }

    #[test]
    fn a_connection_tries_once_and_goes_by_what_the_kernel_says() {
        let tried = after_lending(begin(true));
        assert_eq!(tried, Course::Trial);
        assert!(!lends(tried, 1 << 30), "one trial at a time");
        assert_eq!(learn(tried, Usage::Unknown), Course::Trial);
        assert_eq!(learn(tried, Usage::Lent), Course::Pays);
        assert_eq!(after_lending(Course::Pays), Course::Pays);
        assert_eq!(learn(tried, Usage::Copied), Course::Off);
        assert_eq!(learn(tried, Usage::Refused), Course::Off);
    }

    #[test]
    fn a_kernel_that_cannot_say_is_not_tried() {
        assert!(!lends(begin(false), 1 << 30));
    }

    #[test]
    fn off_is_for_good() {
        for usage in [Usage::Unknown, Usage::Lent, Usage::Copied, Usage::Refused] {
            assert_eq!(learn(after_lending(Course::Off), usage), Course::Off);
        }
        for course in COURSES {
            assert_eq!(learn(course, Usage::Copied), Course::Off);
            assert_eq!(learn(course, Usage::Refused), Course::Off);
        }
    }

    #[test]
    fn what_counts_of_several_reports_is_the_worst() {
        let all = [Usage::Unknown, Usage::Lent, Usage::Copied, Usage::Refused];
        assert!(all.is_sorted());
    }
}
