//! `cargo xtask classics`: programs that everybody knows, through the proxy example.
//!
//! redis-benchmark, pgbench, iperf3 and nc know nothing of Coronet and are merciless about bytes, half-closes
//! and resets. Each runs against its server through the proxy; it has to succeed, the proxy's metrics must name no
//! error (iperf3 resets its own connections), and the proxy has to end well on SIGTERM. What is not installed is a printed, counted SKIP.

mod clients;
mod servers;
mod proxy;
mod process;

use std::path::Path;

use crate::command_line;
use crate::tally::Tally;
use clients::CLASSICS;
use proxy::Proxy;

const BUILD: &str = "cargo build --quiet -p coronet-examples --example proxy";

/// Runs all of them; true if none failed.
pub(crate) fn run(root: &Path) -> bool {
    if !command_line::run(root, BUILD) {
        return false;
    }
    let mut tally = Tally::default();
    for classic in CLASSICS {
        if let Some(missing) = classic.needs.iter().find(|program| process::find(program).is_none()) {
            tally.skip(classic.name, &format!("no {missing}; it is in Debian's package {}", classic.package));
            continue;
        }
        tally.run(classic.name, || match through_the_proxy(root, classic) {
            Ok(said) => (true, said),
            Err(why) => (false, why),
        });
    }
    tally.finish()
}

fn through_the_proxy(root: &Path, classic: &clients::Classic) -> Result<String, String> {
    let server = (classic.serve)()?;
    let proxy = Proxy::start(root, server.port)?;
    let said = (classic.use_it)(&server, proxy.port)?;
    let mut errors = proxy.errors()?;
    proxy.end()?;
    errors.retain(|error| !(classic.resets && error.contains("_reset\"")));
    if errors.is_empty() { Ok(said) } else { Err(format!("the proxy counted {}", errors.join(", "))) }
}
