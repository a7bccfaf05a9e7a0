//! The small examples print what their headers say, and end well.

mod support;

use std::time::{Duration, Instant};

use support::{Running, can_run, example};

fn lines_of(name: &str) -> Vec<String> {
    let output = example(name).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn hello_prints_what_the_server_says() {
    if can_run("hello_prints_what_the_server_says") {
        assert_eq!(lines_of("hello"), ["the server says: hello, coronet"]);
    }
}

#[test]
fn gather_waits_twice_in_the_time_of_once() {
    if !can_run("gather_waits_twice_in_the_time_of_once") {
        return;
    }
    let (start, running) = (Instant::now(), Running::start());
    let lines = lines_of("gather");
    let (took, ran) = (start.elapsed(), running.elapsed());
    assert_eq!(lines[..4], ["Hello", "Hello", "World", "World"]);
    assert!(lines.len() == 5 && lines[4].starts_with("took 1."), "{lines:?}");
    assert!(took >= Duration::from_secs(1) && ran < Duration::from_millis(1_900), "{took:?}, {ran:?}");
}
