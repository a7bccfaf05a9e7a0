//! Operations whose payload is watched: it notes when it is freed, and whether the
//! backend still had it then.

use std::cell::{Cell, RefCell};
use std::os::fd::AsFd;
use std::rc::Rc;

use coronet_ring::{Completion, Done, Driver, Handle, MultiOp, OnDrop, Op, Request};

use super::script::{Script, driver};

/// What happened, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    /// The request of this operation was made.
    Asked(u32),
    /// The payload of this operation was freed.
    Freed(u32),
    /// The product with this result was dropped: disposed of, or dropped by the test.
    Dropped(i32),
}

pub type Log = Rc<RefCell<Vec<Did>>>;
type Work = Box<dyn FnMut(Did)>;
type Hook = Rc<RefCell<Option<Work>>>;

/// A driver on a script, and the log of what happens to the payloads.
pub struct World {
    pub script: Rc<RefCell<Script>>,
    pub driver: Rc<RefCell<Option<Driver>>>,
    pub log: Log,
    pub hook: Hook,
}

impl World {
    pub fn new(capacity: usize) -> Self {
        let script = Script::new(capacity);
        let driver = Rc::new(RefCell::new(Some(driver(&script))));
        Self { script, driver, log: Log::default(), hook: Hook::default() }
    }

    /// A world whose queue is full, so that operations wait in the backlog.
    pub fn full() -> Self {
        Self::new(0)
    }

    /// From now on the queue has room.
    pub fn unblock(&self) {
        self.script.borrow_mut().capacity = 1 << 20;
    }

    pub fn handle(&self) -> Handle {
        self.driver.borrow().as_ref().expect("a driver").handle()
    }

    /// One turn that does not wait.
    pub fn turn(&self) -> usize {
        let driver = self.driver.borrow();
        driver.as_ref().expect("a driver").turn(Some(std::time::Duration::ZERO)).expect("a turn")
    }

    pub fn complete(&self, number: u32, result: i32, flags: u32) {
        self.script.borrow_mut().complete(number, result, flags);
    }

    /// Completes an operation, and lets the driver see it.
    pub fn finish(&self, number: u32, result: i32, flags: u32) {
        self.complete(number, result, flags);
        self.turn();
    }

    pub fn watch(&self, number: u32) -> Watch {
        let (script, log, hook) = (self.script.clone(), self.log.clone(), self.hook.clone());
        Watch { script, log, hook, number, valid: Cell::new(true), stdin: std::io::stdin() }
    }

    /// A one-shot that is cancelled when its future is dropped.
    pub fn one(&self, number: u32) -> One {
        One(self.watch(number))
    }

    /// A multishot without a limit.
    pub fn many(&self, number: u32) -> Many<{ usize::MAX }> {
        Many(self.watch(number))
    }

    pub fn freed(&self, number: u32) -> usize {
        self.log.borrow().iter().filter(|did| **did == Did::Freed(number)).count()
    }

    /// Results of products that were dropped, in order.
    pub fn dropped(&self) -> Vec<i32> {
        let log = self.log.borrow();
        log.iter()
            .filter_map(|did| if let Did::Dropped(result) = did { Some(*result) } else { None })
            .collect()
    }

    /// Nothing is in flight, and the counters add up.
    #[track_caller]
    pub fn assert_rest(&self) {
        let stats = self.handle().stats();
        assert_eq!(stats.in_flight, 0, "{stats:?}");
        assert_eq!(stats.submitted, stats.delivered + stats.orphaned, "{stats:?}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.hook.take();
        drop(self.driver.take());
    }
}

/// The payload.
pub struct Watch {
    script: Rc<RefCell<Script>>,
    log: Log,
    hook: Hook,
    number: u32,
    valid: Cell<bool>,
    stdin: std::io::Stdin,
}

impl Watch {
    fn note(&self, did: Did) {
        self.log.borrow_mut().push(did);
        // Out of its place while it runs, so that it may lead here again.
        let hook = self.hook.take();
        if let Some(mut hook) = hook {
            hook(did);
            self.hook.borrow_mut().get_or_insert(hook);
        }
    }

    fn ask(&self) -> u32 {
        self.log.borrow_mut().push(Did::Asked(self.number));
        self.number
    }

    fn product(&self, done: Completion) -> Product {
        assert!(self.valid.get(), "operation {} was used after it was freed", self.number);
        Product { watch: Some(self.product_watch()), result: done.result }
    }

    fn product_watch(&self) -> Notes {
        Notes { log: self.log.clone(), hook: self.hook.clone() }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let lent = self.script.borrow().is_lent(self.number);
        assert!(!lent, "operation {} was freed while the backend had it", self.number);
        assert!(self.valid.replace(false), "operation {} was freed twice", self.number);
        self.note(Did::Freed(self.number));
    }
}

struct Notes {
    log: Log,
    hook: Hook,
}

/// What a completion stands for: a descriptor, or a buffer. Notes when it is dropped.
pub struct Product {
    watch: Option<Notes>,
    pub result: i32,
}

impl Product {
    /// Keeps it: its drop is not noted.
    pub fn keep(mut self) -> i32 {
        self.watch = None;
        self.result
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        if let Some(Notes { log, hook }) = self.watch.take() {
            let did = Did::Dropped(self.result);
            log.borrow_mut().push(did);
            let taken = hook.take();
            if let Some(mut work) = taken {
                work(did);
                hook.borrow_mut().get_or_insert(work);
            }
        }
    }
}

/// A one-shot; gives its payload back with the product.
pub struct One(pub Watch);

impl Op for One {
    type Output = (Product, Watch);

    fn request(&mut self) -> Request<'_> {
        Request::Poll { events: self.0.ask(), fd: self.0.stdin.as_fd() }
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        (self.0.product(*done), self.0)
    }
}

/// A one-shot that runs to its end, and does not fit a cell.
pub struct Patient {
    pub watch: Watch,
    pub bulk: [u8; 200],
}

impl Op for Patient {
    type Output = (Product, Watch);

    const ON_DROP: OnDrop = OnDrop::LetRun;

    fn request(&mut self) -> Request<'_> {
        Request::Poll { events: self.watch.ask(), fd: self.watch.stdin.as_fd() }
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        assert_eq!(self.bulk, [7; 200]);
        (self.watch.product(*done), self.watch)
    }
}

/// A multishot that lets `MAX` items wait.
pub struct Many<const MAX: usize>(pub Watch);

impl<const MAX: usize> MultiOp for Many<MAX> {
    type Item = Product;

    const ITEMS_MAX: usize = MAX;

    fn request(&mut self) -> Request<'_> {
        Request::PollMulti { events: self.0.ask(), fd: self.0.stdin.as_fd() }
    }

    fn item(&self, done: Done<Self>) -> Product {
        self.0.product(*done)
    }
}
