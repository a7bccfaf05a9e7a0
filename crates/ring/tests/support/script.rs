//! A backend whose every answer the test decides, through the public API only.
//!
//! It checks its own side of the contract: one last completion for each accepted request,
//! reported by `park` alone. An operation counts as lent from `Accepted` until the `park`
//! that reports its last completion.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use coronet_ring::backend::{Backend, Batch, Counters, Lent, Submitted, Unparker};
use coronet_ring::pool::{GroupId, GroupMemory};
use coronet_ring::{BackendReport, Capabilities, Completion, Driver, Request, Token};

pub const MORE: u32 = 1 << 1;
pub const NOTIFICATION: u32 = 1 << 3;

/// How cancels end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancels {
    /// The operation ends with `ECANCELED`.
    Win,
    /// Not found, or running already (`EALREADY`): the operation goes on.
    Lose,
    /// The operation ends at that moment, with a success of its own.
    Tie(i32),
}

enum Entry {
    Start(u32),
    Cancel(Token),
}

type OnPark = Box<dyn FnMut(&mut Script)>;

/// What a test may look at and change at any time.
pub struct Script {
    /// Entries that the queue takes between two parks.
    pub capacity: usize,
    /// `park` consumes the queue. False is a kernel that says `EBUSY`.
    pub consumes: bool,
    pub cancels: Cancels,
    /// What was accepted, by the number in its request, in order.
    pub accepted: Vec<u32>,
    /// Cancels that were consumed, by the number of the operation; `None` for a stranger's.
    pub cancelled: Vec<Option<u32>>,
    /// The time limit of every park.
    pub parks: Vec<Option<Duration>>,
    /// Runs at the start of every park.
    pub on_park: Option<OnPark>,
    /// `park` reports what is due, then fails with this.
    pub fails: Option<io::ErrorKind>,
    pub groups_closed: usize,
    queue: VecDeque<Entry>,
    lent: HashMap<u32, Token>,
    ending: Vec<u32>,
    due: Batch,
}

impl Script {
    pub fn new(capacity: usize) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            capacity,
            consumes: true,
            cancels: Cancels::Win,
            accepted: Vec::new(),
            cancelled: Vec::new(),
            parks: Vec::new(),
            on_park: None,
            fails: None,
            groups_closed: 0,
            queue: VecDeque::new(),
            lent: HashMap::new(),
            ending: Vec::new(),
            due: Batch::new(),
        }))
    }

    /// True from `Accepted` until the last completion was reported.
    pub fn is_lent(&self, number: u32) -> bool {
        self.lent.contains_key(&number)
    }

    /// The token of an operation that is lent.
    pub fn token(&self, number: u32) -> Token {
        self.lent[&number]
    }

    /// Completes an operation with the next park; without `MORE` for the last time.
    #[track_caller]
    pub fn complete(&mut self, number: u32, result: i32, flags: u32) {
        let token = self.lent[&number];
        assert!(!self.ending.contains(&number), "the script ends operation {number} twice");
        if flags & MORE == 0 {
            self.ending.push(number);
        }
        self.due.push((token, Completion::new(result, flags)));
    }

    /// Reports whatever, for whomever: a backend that breaks the contract.
    pub fn forge(&mut self, token: Token, result: i32, flags: u32) {
        self.due.push((token, Completion::new(result, flags)));
    }

    fn consume(&mut self) {
        for entry in std::mem::take(&mut self.queue) {
            let Entry::Cancel(token) = entry else { continue };
            let target = self.lent.iter().find(|(_, lent)| **lent == token).map(|(number, _)| *number);
            self.cancelled.push(target);
            let Some(number) = target.filter(|number| !self.ending.contains(number)) else { continue };
            match self.cancels {
                Cancels::Win => self.complete(number, -libc::ECANCELED, 0),
                Cancels::Tie(result) => self.complete(number, result, 0),
                Cancels::Lose => {}
            }
        }
    }

    fn has_room(&self) -> bool {
        self.queue.len() < self.capacity
    }
}

/// A driver on a scripted backend.
pub fn driver(script: &Rc<RefCell<Script>>) -> Driver {
    driver_within(script, Duration::from_secs(5))
}

/// A driver that waits so long at most when it is dropped.
pub fn driver_within(script: &Rc<RefCell<Script>>, drain_timeout: Duration) -> Driver {
    let report =
        BackendReport { name: "script", why: "a test".to_owned(), capabilities: Capabilities::default() };
    let unparker = Unparker::new().expect("an eventfd");
    Driver::with_backend(Box::new(Scripted { script: script.clone(), report, unparker }), drain_timeout)
}

struct Scripted {
    script: Rc<RefCell<Script>>,
    report: BackendReport,
    unparker: Unparker,
}

fn number(request: &Request<'_>) -> u32 {
    match request {
        Request::Poll { events, .. } | Request::PollMulti { events, .. } => *events,
        other => panic!("the script knows polls only, not {other:?}"),
    }
}

#[allow(unsafe_code, reason = "implements the trait")]
// SAFETY: [loan-pinned] it keeps a number of each request, never a pointer; [done-genuine] it answers polls
// only, whose results are masks; [ring-open] the unparker owns the descriptor of `as_fd`.
unsafe impl Backend for Scripted {
    fn submit(&mut self, token: Token, lent: Lent) -> Submitted {
        let mut script = self.script.borrow_mut();
        if !script.has_room() {
            return Submitted::Full;
        }
        let number = number(lent.request());
        script.queue.push_back(Entry::Start(number));
        script.accepted.push(number);
        let known = script.lent.insert(number, token);
        assert!(known.is_none(), "operation {number} was accepted twice");
        Submitted::Accepted
    }

    fn cancel(&mut self, token: Token) -> Submitted {
        let mut script = self.script.borrow_mut();
        if !script.has_room() {
            return Submitted::Full;
        }
        script.queue.push_back(Entry::Cancel(token));
        Submitted::Accepted
    }

    fn park(&mut self, timeout: Option<Duration>, batch: &mut Batch) -> io::Result<()> {
        let mut script = self.script.borrow_mut();
        script.parks.push(timeout);
        if let Some(mut hook) = script.on_park.take() {
            hook(&mut script);
            script.on_park.get_or_insert(hook);
        }
        if script.consumes {
            script.consume();
        }
        let over = std::mem::take(&mut script.ending);
        script.lent.retain(|number, _| !over.contains(number));
        batch.append(&mut script.due);
        script.fails.map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn has_pending(&mut self) -> bool {
        let script = self.script.borrow();
        !script.queue.is_empty() || !script.due.is_empty()
    }

    fn unparker(&self) -> Unparker {
        self.unparker.clone()
    }

    fn open_group(&mut self, _: GroupId, _: &GroupMemory, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn close_group(&mut self, _: GroupId) {
        self.script.borrow_mut().groups_closed += 1;
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.unparker.as_fd()
    }

    fn report(&self) -> &BackendReport {
        &self.report
    }

    fn counters(&self) -> Counters {
        let enters = self.script.borrow().parks.len() as u64;
        Counters { enters, ..Counters::default() }
    }
}
