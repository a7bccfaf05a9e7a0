//! The lifecycle of one operation, as one pure function with every cell written out.
//!
//! "Dispose" gives back what a late result owns; the operation itself knows how
//! (its output owns it, and is dropped). "Release" gives back what was lent.

/// Where an operation stands. Memory is lent in all states but `Queued`, `Unattended` and `Ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Waiting in user space: the submission queue was full.
    Queued,
    /// As `Queued`, and nobody waits: it is going to be sent all the same.
    Unattended,
    /// With the kernel.
    InFlight,
    /// The result is known and may be taken; the memory is not back (zero-copy send).
    Settling,
    /// Over; somebody is going to take the result.
    Ready,
    /// With the kernel, and nobody waits.
    Orphaned,
}

impl State {
    /// The kernel does not have it yet.
    #[inline]
    pub(crate) fn is_in_user_space(self) -> bool {
        matches!(self, Self::Queued | Self::Unattended)
    }
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The entry was published: from now on it is the kernel's.
    Accepted,
    /// A completion of a multishot, and more will come.
    Item,
    /// The result of a one-shot whose memory comes back later.
    EarlyResult,
    /// The last completion.
    Last,
    /// The one who waits takes the next result.
    Taken,
    /// The one who waits for the memory as well asks for the result.
    Looked,
    /// The future is gone, and the operation is to end.
    Dropped,
    /// The future is gone, and the operation is to run to its end.
    Left,
}

/// What the table has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Action {
    /// Nothing.
    Nothing,
    /// Keep the completion for the one who waits, and wake them.
    DeliverAndWake,
    /// Keep the result, whose memory is not back; wake the one who waits for it.
    KeepAndWake,
    /// Keep the result, whose memory is not back; nobody waits.
    Keep,
    /// The memory is back, and the result was kept: wake the one who waits.
    Wake,
    /// Hand out the kept result; the memory is not back, and nobody waits for it.
    TellAndLeave,
    /// Show the result, and keep it.
    Tell,
    /// Hand out the oldest item.
    PopItem,
    /// Move result and operation out, to the one who waits; the slot is vacant.
    ReleaseToCaller,
    /// Drop the operation, which the kernel never saw; the slot is vacant.
    ReleaseUnsent,
    /// Ask the kernel to end it.
    RequestCancel,
    /// Give back what this completion owns; the operation stays lent.
    DisposeItem,
    /// Give back what all kept completions and this one own, then drop the operation; the slot is vacant.
    DisposeAndRelease,
}

/// The next state (`None`: the slot is vacant) and what to do.
///
/// # Panics
/// On a pair that the kernel's contract excludes, naming both.
pub(crate) fn step(state: State, event: Event) -> (Option<State>, Action) {
    use {Action as A, Event as E, State as S};
    match state {
        S::Queued => match event {
            E::Accepted => (Some(S::InFlight), A::Nothing),
            E::Item => impossible(state, event),
            E::EarlyResult => impossible(state, event),
            // The driver refuses it: shut down before the kernel could take it.
            E::Last => (Some(S::Ready), A::DeliverAndWake),
            E::Taken => impossible(state, event),
            E::Looked => impossible(state, event),
            E::Dropped => (None, A::ReleaseUnsent),
            E::Left => (Some(S::Unattended), A::Nothing),
        },
        S::Unattended => match event {
            E::Accepted => (Some(S::Orphaned), A::Nothing),
            E::Item => impossible(state, event),
            E::EarlyResult => impossible(state, event),
            // The driver refuses it, as above.
            E::Last => (None, A::DisposeAndRelease),
            E::Taken => impossible(state, event),
            E::Looked => impossible(state, event),
            E::Dropped => impossible(state, event),
            E::Left => impossible(state, event),
        },
        S::InFlight => match event {
            E::Accepted => impossible(state, event),
            E::Item => (Some(S::InFlight), A::DeliverAndWake),
            E::EarlyResult => (Some(S::Settling), A::KeepAndWake),
            E::Last => (Some(S::Ready), A::DeliverAndWake),
            E::Taken => (Some(S::InFlight), A::PopItem),
            E::Looked => impossible(state, event),
            E::Dropped => (Some(S::Orphaned), A::RequestCancel),
            E::Left => (Some(S::Orphaned), A::Nothing),
        },
        S::Settling => match event {
            E::Accepted => impossible(state, event),
            E::Item => impossible(state, event),
            E::EarlyResult => impossible(state, event),
            E::Last => (Some(S::Ready), A::Wake),
            E::Taken => (Some(S::Orphaned), A::TellAndLeave),
            E::Looked => (Some(S::Settling), A::Tell),
            E::Dropped => (Some(S::Orphaned), A::Nothing),
            E::Left => (Some(S::Orphaned), A::Nothing),
        },
        S::Ready => match event {
            E::Accepted => impossible(state, event),
            E::Item => impossible(state, event),
            E::EarlyResult => impossible(state, event),
            E::Last => impossible(state, event),
            E::Taken => (None, A::ReleaseToCaller),
            E::Looked => (Some(S::Ready), A::Tell),
            E::Dropped => (None, A::DisposeAndRelease),
            E::Left => (None, A::DisposeAndRelease),
        },
        S::Orphaned => match event {
            E::Accepted => impossible(state, event),
            E::Item => (Some(S::Orphaned), A::DisposeItem),
            E::EarlyResult => (Some(S::Orphaned), A::Keep),
            E::Last => (None, A::DisposeAndRelease),
            E::Taken => impossible(state, event),
            E::Looked => impossible(state, event),
            E::Dropped => impossible(state, event),
            E::Left => impossible(state, event),
        },
    }
}

#[cold]
#[track_caller]
fn impossible(state: State, event: Event) -> ! {
    panic!("an operation that is {state:?} cannot be {event:?}: the backend broke its contract")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 6] =
        [State::Queued, State::Unattended, State::InFlight, State::Settling, State::Ready, State::Orphaned];
    const EVENTS: [Event; 8] = [
        Event::Accepted,
        Event::Item,
        Event::EarlyResult,
        Event::Last,
        Event::Taken,
        Event::Looked,
        Event::Dropped,
        Event::Left,
    ];

    fn try_step(state: State, event: Event) -> Option<(Option<State>, Action)> {
        std::panic::catch_unwind(|| step(state, event)).ok()
    }

    #[test]
    fn every_cell_of_the_table_is_as_it_was_agreed() {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let mut cells = String::new();
        for state in STATES {
            for event in EVENTS {
                let cell = match try_step(state, event) {
                    Some((Some(next), action)) => format!("{next:?}, {action:?}"),
                    Some((None, action)) => format!("Vacant, {action:?}"),
                    None => "impossible".to_owned(),
                };
                cells += &format!("{:<11}{:<13}-> {cell}\n", format!("{state:?}"), format!("{event:?}"));
            }
        }
        std::panic::set_hook(hook);
        insta::assert_snapshot!(cells);
    }

    /// Walks all interleavings that the kernel and the program can produce, up to six events.
    #[test]
    fn memory_is_given_back_exactly_once_and_never_while_lent() {
        fn walk(state: State, multishot: bool, depth: u32, dropped: bool, told: bool, walks: &mut u32) {
            *walks += 1;
            if depth == 0 {
                return;
            }
            for event in EVENTS {
                let kernel_may = match event {
                    Event::Accepted => matches!(state, State::Queued | State::Unattended),
                    Event::Item => multishot && matches!(state, State::InFlight | State::Orphaned),
                    // Once: an orphan that was told its result has had it.
                    Event::EarlyResult => {
                        !multishot && !told && matches!(state, State::InFlight | State::Orphaned)
                    }
                    // Also the refusal of what the kernel never had.
                    Event::Last => state != State::Ready,
                    Event::Taken => {
                        let has_result = matches!(state, State::Ready | State::Settling);
                        !dropped && (has_result || (multishot && state == State::InFlight))
                    }
                    Event::Looked => !dropped && matches!(state, State::Ready | State::Settling),
                    Event::Dropped | Event::Left => !dropped,
                };
                if !kernel_may {
                    continue;
                }
                let (next, action) = step(state, event);
                let releases = matches!(
                    action,
                    Action::ReleaseToCaller | Action::ReleaseUnsent | Action::DisposeAndRelease
                );
                assert_eq!(releases, next.is_none(), "{state:?} x {event:?}");
                if releases {
                    // The kernel is done with it: it never had it, or this was its last word, or it was before.
                    assert!(
                        matches!(state, State::Queued | State::Unattended | State::Ready)
                            || event == Event::Last,
                        "{state:?} x {event:?} frees lent memory"
                    );
                }
                if let Some(next) = next {
                    // Who takes the result of an operation whose memory is not back is gone with it.
                    let leaves =
                        matches!(event, Event::Dropped | Event::Left) || action == Action::TellAndLeave;
                    let told = told || event == Event::EarlyResult;
                    walk(next, multishot, depth - 1, dropped || leaves, told, walks);
                }
            }
        }
        let mut walks = 0;
        walk(State::Queued, false, 6, false, false, &mut walks);
        walk(State::Queued, true, 6, false, false, &mut walks);
        assert!(walks > 100, "only {walks} interleavings");
    }
}
