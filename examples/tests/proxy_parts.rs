//! The parts of the proxy that need no network. Their tests stand beside them; an example that is a test
//! is not built as a program, so they are gathered here.

#![allow(dead_code, reason = "the program uses the rest of it")]

#[path = "../proxy/config.rs"]
mod config;
#[path = "../proxy/relay.rs"]
mod relay;

#[path = "../proxy/balance.rs"]
mod balance;
#[path = "../proxy/health.rs"]
mod health;
#[path = "../proxy/limit.rs"]
mod limit;
#[path = "../proxy/metrics.rs"]
mod metrics;
#[path = "../proxy/proxy_protocol.rs"]
mod proxy_protocol;
