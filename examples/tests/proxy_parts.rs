//! The pure parts of the proxy: balance, configuration, PROXY header. Their tests stand beside them; the
//! binary of an example that is a test is not built as a program, so they are gathered here.

#![allow(dead_code, reason = "the program uses the rest of it")]

#[path = "../proxy/config.rs"]
mod config;

#[path = "../proxy/balance.rs"]
mod balance;
#[path = "../proxy/health.rs"]
mod health;
#[path = "../proxy/proxy_protocol.rs"]
mod proxy_protocol;
