//! The states of a task, as pure functions: no cell, no pointer, no effect.
//!
//! Each function is one event and says what its caller must do next. What may not happen is
//! named, and panics with the state.

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Waits for a wake.
    Idle,
    /// In the run queue, to be polled.
    Queued,
    /// Being polled.
    Running,
    /// Being polled, and woken meanwhile.
    Rerun,
    /// In the run queue, to be cancelled.
    Doomed,
    /// Being cancelled, or aborted while being polled.
    Dying,
    /// The future is gone; the output, if anybody wants it, is there.
    Finished,
}

/// What a wake or an abort must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Enqueue {
    /// Put the task into the run queue.
    Yes,
    /// Nothing: it is there already, or it will notice by itself, or it is over.
    No,
}

/// What the executor does with a task it took from the run queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Start {
    /// Poll its future.
    Poll,
    /// Drop its future.
    Cancel,
}

/// What happens after a poll that returned `Pending`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Rest {
    /// Nothing: a wake will come.
    Wait,
    /// Put it into the run queue again: it was woken during the poll.
    Requeue,
    /// Drop its future: it was aborted during the poll.
    Cancel,
}

/// What a closing scheduler does with a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Close {
    /// Drop its future.
    Cancel,
    /// Nothing: it is over.
    Nothing,
}

/// A waker was woken.
#[inline]
pub(super) fn transition_to_woken(state: State) -> (State, Enqueue) {
    match state {
        State::Idle => (State::Queued, Enqueue::Yes),
        State::Queued => (State::Queued, Enqueue::No),
        State::Running => (State::Rerun, Enqueue::No),
        State::Rerun => (State::Rerun, Enqueue::No),
        State::Doomed => (State::Doomed, Enqueue::No),
        State::Dying => (State::Dying, Enqueue::No),
        State::Finished => (State::Finished, Enqueue::No),
    }
}

/// The executor took the task from the run queue.
#[inline]
pub(super) fn transition_to_running(state: State) -> (State, Start) {
    match state {
        State::Queued => (State::Running, Start::Poll),
        State::Doomed => (State::Dying, Start::Cancel),
        State::Idle | State::Running | State::Rerun | State::Dying | State::Finished => {
            impossible("taken from the run queue", state)
        }
    }
}

/// The poll returned `Pending`.
#[inline]
pub(super) fn transition_to_resting(state: State) -> (State, Rest) {
    match state {
        State::Running => (State::Idle, Rest::Wait),
        State::Rerun => (State::Queued, Rest::Requeue),
        State::Dying => (State::Dying, Rest::Cancel),
        State::Idle | State::Queued | State::Doomed | State::Finished => impossible("pending", state),
    }
}

/// The future is gone and its output stored.
#[inline]
pub(super) fn transition_to_finished(state: State) -> State {
    match state {
        State::Running | State::Rerun | State::Dying => State::Finished,
        State::Idle | State::Queued | State::Doomed | State::Finished => impossible("finished", state),
    }
}

/// The join handle asked for the end of the task.
pub(super) fn transition_to_aborted(state: State) -> (State, Enqueue) {
    match state {
        State::Idle => (State::Doomed, Enqueue::Yes),
        State::Queued => (State::Doomed, Enqueue::No),
        State::Running => (State::Dying, Enqueue::No),
        State::Rerun => (State::Dying, Enqueue::No),
        State::Doomed => (State::Doomed, Enqueue::No),
        State::Dying => (State::Dying, Enqueue::No),
        State::Finished => (State::Finished, Enqueue::No),
    }
}

/// The executor shuts down; the run queue is empty and takes nothing any more.
pub(super) fn transition_to_closed(state: State) -> (State, Close) {
    match state {
        State::Idle | State::Queued | State::Doomed => (State::Dying, Close::Cancel),
        State::Finished => (State::Finished, Close::Nothing),
        State::Running | State::Rerun | State::Dying => impossible("closed", state),
    }
}

#[cold]
fn impossible(event: &str, state: State) -> ! {
    panic!("a task was {event} while {state:?}: this is a bug in coronet-exec")
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const ALL: [State; 7] = [
        State::Idle,
        State::Queued,
        State::Running,
        State::Rerun,
        State::Doomed,
        State::Dying,
        State::Finished,
    ];

    fn is_in_queue(state: State) -> bool {
        matches!(state, State::Queued | State::Doomed)
    }

    #[test]
    fn a_task_enters_the_run_queue_exactly_when_it_was_not_in_it() {
        for state in ALL {
            for (next, enqueue) in [transition_to_woken(state), transition_to_aborted(state)] {
                let entered = !is_in_queue(state) && is_in_queue(next);
                assert_eq!(enqueue == Enqueue::Yes, entered, "{state:?} -> {next:?}");
            }
        }
    }

    #[test]
    fn no_wake_or_abort_revives_a_finished_task_or_takes_one_out_of_the_queue() {
        for state in ALL {
            for next in [transition_to_woken(state).0, transition_to_aborted(state).0] {
                assert_eq!(next == State::Finished, state == State::Finished);
                assert!(!is_in_queue(state) || is_in_queue(next));
            }
        }
    }

    #[test]
    fn a_wake_during_the_poll_leads_to_another_poll() {
        let (state, _) = transition_to_woken(State::Running);
        assert_eq!(transition_to_resting(state), (State::Queued, Rest::Requeue));
    }

    #[test]
    fn an_abort_during_the_poll_cancels_after_it_and_a_wake_does_not_undo_it() {
        let (state, _) = transition_to_aborted(State::Running);
        let (state, _) = transition_to_woken(state);
        assert_eq!(transition_to_resting(state), (State::Dying, Rest::Cancel));
    }
}
