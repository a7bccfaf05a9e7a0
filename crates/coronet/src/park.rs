//! The bridge: the ring's driver is what the executor waits in.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use coronet_exec::{Park, Unpark};
use coronet_io::context::Context;
use coronet_ring::backend::Unparker;
use coronet_ring::{Config, Driver};

use crate::limit::raise_open_files;

/// A driver as a park, and the context in which its sockets are made.
pub(crate) struct DriverPark(Driver);

impl DriverPark {
    pub(crate) fn new(config: Config) -> io::Result<(Self, Rc<Context>)> {
        raise_open_files();
        let driver = Driver::new(config)?;
        let context = Rc::new(Context::new(driver.handle()));
        Ok((Self(driver), context))
    }
}

impl Park for DriverPark {
    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.turn(timeout).map(drop)
    }

    fn has_pending(&self) -> bool {
        self.0.has_pending()
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::new(DriverUnpark(self.0.handle().unparker()))
    }

    fn shut_down(&mut self, timeout: Duration) {
        let leaked = self.0.shut_down(timeout);
        if leaked > 0 {
            // The one thing that a user has to know and nobody can be told by a result.
            eprintln!(
                "coronet: {leaked} operations did not end within {timeout:?}; their memory is kept for ever"
            );
        }
    }
}

struct DriverUnpark(Unparker);

impl Unpark for DriverUnpark {
    fn unpark(&self) {
        self.0.unpark();
    }
}
