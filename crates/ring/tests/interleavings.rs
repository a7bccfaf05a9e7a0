//! All interleavings of up to six events, through the real driver on a scripted backend,
//! beside a tiny model that says who owns the payload.
//!
//! `lifecycle/state.rs` enumerates its pure function; this walks everything around it.

mod support;

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use coronet_ring::{EarlyOp, OpStream};
use support::poll;
use support::script::{Cancels, MORE, NOTIFICATION};
use support::watched::{Many, One, Watch, World};

const DEPTH: usize = 6;
const NUMBER: u32 = 1;
const CANCELED: i32 = -libc::ECANCELED;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    HandOver,
    Item,
    Early,
    Last,
    Poll,
    /// Asks for the result, and stays.
    Look,
    Drop,
    Cancel,
}

const EVENTS: [Event; 8] = [
    Event::HandOver,
    Event::Item,
    Event::Early,
    Event::Last,
    Event::Poll,
    Event::Look,
    Event::Drop,
    Event::Cancel,
];

/// Who owns the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// The driver; the kernel never saw it.
    Backlog,
    /// The kernel: freeing it now is unsound.
    Kernel,
    /// The driver; the kernel is done with it.
    Driver,
    /// Whoever awaited it.
    Caller,
    Nobody,
}

#[derive(Clone, Debug)]
struct Model {
    multishot: bool,
    cancels_win: bool,
    owner: Owner,
    has_future: bool,
    accepted: bool,
    early: Option<i32>,
    /// Results for the one who waits, in order.
    waiting: VecDeque<i32>,
    /// Results that were given back because nobody waited.
    disposed: Vec<i32>,
    taken: Vec<i32>,
    cancels: usize,
    /// A cancel is in the queue; the next turn carries it out.
    cancel_pending: bool,
    results: i32,
}

impl Model {
    fn new(multishot: bool, cancels_win: bool) -> Self {
        Self {
            multishot,
            cancels_win,
            owner: Owner::Backlog,
            has_future: true,
            accepted: false,
            early: None,
            waiting: VecDeque::new(),
            disposed: Vec::new(),
            taken: Vec::new(),
            cancels: 0,
            cancel_pending: false,
            results: 0,
        }
    }

    fn allows(&self, event: Event) -> bool {
        let in_kernel = self.owner == Owner::Kernel;
        match event {
            Event::HandOver => self.owner == Owner::Backlog,
            Event::Item => self.multishot && in_kernel,
            Event::Early => !self.multishot && in_kernel && self.early.is_none(),
            Event::Last => in_kernel,
            Event::Look => !self.multishot && self.has_future,
            Event::Poll | Event::Drop | Event::Cancel => self.has_future,
        }
    }

    fn next_result(&mut self) -> i32 {
        self.results += 1;
        self.results
    }

    fn last(&mut self, result: i32) {
        // After an early result the last completion only says that the memory is back.
        let result = self.early.take().unwrap_or(result);
        if self.has_future {
            self.waiting.push_back(result);
            self.owner = Owner::Driver;
        } else {
            self.disposed.extend(self.waiting.drain(..));
            self.disposed.push(result);
            self.owner = Owner::Nobody;
        }
    }

    /// What a turn does besides: a cancel that waits in the queue takes its effect.
    fn turned(&mut self) {
        if std::mem::take(&mut self.cancel_pending) && self.owner == Owner::Kernel && self.cancels_win {
            self.last(CANCELED);
        }
    }

    fn cancel(&mut self) {
        match self.owner {
            Owner::Backlog => self.last(CANCELED),
            Owner::Kernel => {
                self.cancels += 1;
                self.cancel_pending = true;
            }
            Owner::Driver | Owner::Caller | Owner::Nobody => {}
        }
    }

    fn drop_future(&mut self) {
        self.has_future = false;
        match self.owner {
            Owner::Backlog => self.owner = Owner::Nobody,
            // What is only settling cannot be cancelled any more.
            Owner::Kernel if self.early.is_none() => self.cancel(),
            Owner::Driver => {
                self.disposed.extend(self.waiting.drain(..));
                self.owner = Owner::Nobody;
            }
            Owner::Kernel | Owner::Caller | Owner::Nobody => {}
        }
    }
}

enum Waits {
    One(EarlyOp<One>),
    Many(OpStream<Many<{ usize::MAX }>>),
}

struct Run {
    world: World,
    model: Model,
    waits: Option<Waits>,
    payload: Option<Watch>,
}

impl Run {
    fn new(multishot: bool, cancels_win: bool) -> Self {
        let world = World::full();
        world.script.borrow_mut().cancels = if cancels_win { Cancels::Win } else { Cancels::Lose };
        let waits = if multishot {
            Waits::Many(world.handle().submit_multi(world.many(NUMBER)))
        } else {
            Waits::One(world.handle().submit(world.one(NUMBER)).early())
        };
        Self { world, model: Model::new(multishot, cancels_win), waits: Some(waits), payload: None }
    }

    fn completion(&mut self, event: Event) {
        let result = self.model.next_result();
        let flags = match (event, self.model.early) {
            (Event::Item | Event::Early, _) => MORE,
            (_, Some(_)) => NOTIFICATION,
            (_, None) => 0,
        };
        self.world.finish(NUMBER, result, flags);
        match event {
            Event::Item if self.model.has_future => self.model.waiting.push_back(result),
            Event::Item => self.model.disposed.push(result),
            Event::Early => self.model.early = Some(result),
            _ => self.model.last(result),
        }
        self.model.turned();
    }

    /// Polls; takes one result at most.
    fn poll(&mut self) {
        let expected = if self.model.multishot || self.model.owner == Owner::Driver {
            self.model.waiting.pop_front()
        } else {
            None
        };
        let is_over = self.model.owner == Owner::Driver;
        match self.waits.as_mut().expect("the model has a future") {
            Waits::One(future) => match (poll(future), expected) {
                (Poll::Pending, None) => {}
                (Poll::Ready((product, payload)), Some(expected)) => {
                    assert_eq!(product.keep(), expected);
                    self.model.taken.push(expected);
                    (self.model.owner, self.model.has_future) = (Owner::Caller, false);
                    (self.payload, self.waits) = (Some(payload), None);
                }
                (polled, expected) => panic!("ready: {}, not {expected:?}", polled.is_ready()),
            },
            Waits::Many(stream) => {
                let polled = stream.poll_item(&mut Context::from_waker(Waker::noop()));
                match (polled.map(|item| item.map(|product| product.keep())), expected) {
                    (Poll::Pending, None) if !is_over => {}
                    (Poll::Ready(Some(result)), Some(expected)) => {
                        assert_eq!(result, expected);
                        self.model.taken.push(expected);
                    }
                    (Poll::Ready(None), None) if is_over => {
                        (self.model.owner, self.model.has_future) = (Owner::Nobody, false);
                        self.waits = None;
                    }
                    (polled, expected) => panic!("{polled:?}, not {expected:?}"),
                }
            }
        }
    }

    /// Looks; what is shown may be shown again, and disposed of later.
    fn look(&mut self) {
        let expected = self.model.early.or(self.model.waiting.front().copied());
        let Some(Waits::One(future)) = &mut self.waits else { panic!("the model has a future") };
        match (future.poll_result(&mut Context::from_waker(Waker::noop())), expected) {
            (Poll::Pending, None) => {}
            (Poll::Ready(done), Some(expected)) => assert_eq!(done.result, expected),
            (shown, expected) => panic!("{shown:?}, not {expected:?}"),
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::HandOver => {
                self.world.unblock();
                self.world.turn();
                (self.model.owner, self.model.accepted) = (Owner::Kernel, true);
            }
            Event::Item | Event::Early | Event::Last => self.completion(event),
            Event::Poll => self.poll(),
            Event::Look => self.look(),
            Event::Drop => {
                self.waits = None;
                self.model.drop_future();
            }
            Event::Cancel => {
                match self.waits.as_ref().expect("the model has a future") {
                    Waits::One(future) => future.request_cancel(),
                    Waits::Many(stream) => stream.request_cancel(),
                }
                self.model.cancel();
            }
        }
        self.check();
    }

    fn check(&self) {
        let (world, model) = (&self.world, &self.model);
        assert_eq!(world.freed(NUMBER), usize::from(model.owner == Owner::Nobody), "freed");
        assert_eq!(!world.script.borrow().accepted.is_empty(), model.accepted, "accepted");
        let in_flight = u64::from(matches!(model.owner, Owner::Backlog | Owner::Kernel));
        let stats = world.handle().stats();
        assert_eq!(stats.in_flight, in_flight, "in flight");
        assert_eq!(stats.stale, 0);
        let mut disposed = world.dropped();
        let last = disposed.last().copied();
        assert_eq!(last, model.disposed.last().copied(), "the last one is disposed of last");
        // Items that waited leave with the last completion, behind late ones.
        let mut expected = model.disposed.clone();
        disposed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(disposed, expected, "each product once");
    }

    /// Lets everything end, and adds it all up.
    fn settle(mut self) {
        if self.model.owner == Owner::Backlog && self.model.has_future {
            self.apply(Event::HandOver);
        }
        if self.model.has_future {
            self.apply(Event::Drop);
        }
        if self.model.owner == Owner::Kernel {
            self.apply(Event::Last);
        }
        drop(self.payload.take());
        self.world.unblock();
        self.world.turn();
        let (world, model) = (&self.world, &self.model);
        assert_eq!(world.freed(NUMBER), 1);
        assert_eq!(world.script.borrow().cancelled.len(), model.cancels, "each cancel was sent once");
        world.assert_rest();
    }
}

/// Replays `events`, then goes on with each event that the model allows. The number of walks.
fn walk(multishot: bool, cancels_win: bool, events: &mut Vec<Event>) -> usize {
    let mut run = Run::new(multishot, cancels_win);
    for event in events.iter() {
        run.apply(*event);
    }
    let next = EVENTS.map(|event| (event, run.model.allows(event)));
    run.settle();
    let mut walks = 1;
    if events.len() < DEPTH {
        for (event, _) in next.into_iter().filter(|(_, allowed)| *allowed) {
            events.push(event);
            walks += walk(multishot, cancels_win, events);
            events.pop();
        }
    }
    walks
}

/// Says which events led to the failure.
struct Story(Vec<Event>, &'static str);

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{} after {:?}", self.1, self.0);
        }
    }
}

fn walk_all(multishot: bool, kind: &'static str) -> usize {
    let mut walks = 0;
    for cancels_win in [false, true] {
        let mut story = Story(Vec::new(), kind);
        walks += walk(multishot, cancels_win, &mut story.0);
    }
    walks
}

#[test]
fn a_one_shot_is_freed_once_and_never_while_the_kernel_has_it() {
    let walks = walk_all(false, "a one-shot");
    println!("{walks} interleavings");
    assert!(walks > 1000, "only {walks} interleavings");
}

#[test]
fn a_multishot_is_freed_once_and_never_while_the_kernel_has_it() {
    let walks = walk_all(true, "a multishot");
    println!("{walks} interleavings");
    assert!(walks > 1000, "only {walks} interleavings");
}
