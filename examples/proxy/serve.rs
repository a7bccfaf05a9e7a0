//! One core: it accepts from its listeners until it is asked to stop, and then drains.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use coronet::Core;
use coronet::net::TcpListener;
use futures_util::future::{Either, select, try_join_all};

use crate::connection::{Site, start};
use crate::drain::Connections;
use crate::shared::Shared;

/// The life of a core.
///
/// # Errors
/// When a listener is of no more use.
pub(crate) async fn serve(
    core: Core,
    listeners: Vec<std::net::TcpListener>,
    shared: Arc<Shared>,
) -> io::Result<()> {
    let counters = shared.metrics.of_core(core.index());
    let site = Rc::new(Site { shared, counters, connections: Connections::default() });
    let listeners = listeners.into_iter().map(TcpListener::from);
    try_join_all(listeners.map(|listener| accept(&core, listener, &site))).await?;
    site.connections.drain(site.shared.settings().drain_timeout).await;
    Ok(())
}

async fn accept(core: &Core, listener: TcpListener, site: &Rc<Site>) -> io::Result<()> {
    let limit = &site.shared.limit;
    let mut stop = pin!(core.shutdown_requested());
    loop {
        let client = match select(pin!(listener.accept()), stop.as_mut()).await {
            Either::Left((accepted, _)) => accepted?.0,
            Either::Right(_) => break,
        };
        // One more than may be waits here, at most 256 in the queue of the listener, the others in the
        // backlog of the kernel: no client is turned away.
        match select(pin!(limit.enter()), stop.as_mut()).await {
            Either::Left((permit, _)) => start(site, client, permit),
            Either::Right(_) => {
                start(site, client, limit.squeeze_in());
                break;
            }
        }
    }
    // Clients that the kernel had accepted are clients, too, and there is no more waiting for room.
    for client in listener.close().await {
        start(site, client, limit.squeeze_in());
    }
    Ok(())
}
