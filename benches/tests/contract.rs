//! The reference servers keep the contract of all measured programs, in each of their variants.

use rival_contract::{Program, Verdict, swallow};

const RAW_EPOLL: &str = env!("CARGO_BIN_EXE_raw_epoll");
const RAW_URING: &str = env!("CARGO_BIN_EXE_raw_uring");
const CORONET_SINK: &str = env!("CARGO_BIN_EXE_coronet-sink");

/// Runs `check` with the io_uring server, or says why it cannot run here.
fn on_a_ring(options: &[&str], check: impl Fn(&Program) -> Verdict) {
    let program = Program::new(RAW_URING, options);
    let required = std::env::var("CORONET_REQUIRE").is_ok_and(|names| names.contains("uring"));
    if let Err(reason) = program.start(&[])
        && !required
    {
        assert!(reason.contains("set up the ring") || reason.contains("newer kernel"), "{reason}");
        println!("SKIP raw_uring {options:?}: needs io_uring: {reason}");
        return;
    }
    passes(options, check(&program));
}

fn passes(options: &[&str], verdict: Verdict) {
    if let Err(fault) = verdict {
        panic!("{options:?}: {fault}");
    }
}

#[test]
fn raw_epoll_echoes() {
    for options in [&[][..], &["--trigger", "level"], &["--threads", "2"], &["--buffer", "1000"]] {
        passes(options, Program::new(RAW_EPOLL, options).echoes());
    }
}

#[test]
fn raw_epoll_sinks() {
    for options in [&[][..], &["--trigger", "level"], &["--threads", "2"]] {
        passes(options, Program::new(RAW_EPOLL, options).sinks());
    }
}

#[test]
fn raw_epoll_proxies() {
    for options in [&[][..], &["--splice"], &["--threads", "2"], &["--splice", "--threads", "2"]] {
        passes(options, Program::new(RAW_EPOLL, options).proxies(&["--buffer", "1000"]));
    }
}

#[test]
fn raw_uring_echoes() {
    for variant in ["incremental", "multishot", "bundle", "hot"] {
        on_a_ring(&["--variant", variant], Program::echoes);
    }
    on_a_ring(&["--threads", "2"], Program::echoes);
    on_a_ring(&["--normal-descriptors"], Program::echoes);
}

#[test]
fn raw_uring_sinks() {
    for variant in ["incremental", "multishot", "bundle"] {
        on_a_ring(&["--variant", variant], Program::sinks);
    }
    on_a_ring(&["--threads", "2"], Program::sinks);
}

#[test]
fn raw_uring_proxies() {
    on_a_ring(&["--threads", "2"], |program| program.proxies(&[]));
    // The trap: few buffers, all held by the direction that cannot send.
    on_a_ring(&[], |program| program.proxies(&["--buffers", "8", "--buffer", "1024"]));
}

#[test]
fn a_bad_option_is_one_line_and_exit_code_two() {
    passes(&[], Program::new(RAW_EPOLL, &[]).refuses_bad_options());
    passes(&[], Program::new(RAW_URING, &[]).refuses_bad_options());
}

#[test]
fn coronet_sink_takes_a_stream_and_closes_at_its_end() {
    for options in [&[][..], &["--cores", "2"]] {
        let running = Program::new(CORONET_SINK, options).start(&[]).expect("it starts");
        passes(options, swallow(running.address));
        passes(options, running.ends());
    }
}
