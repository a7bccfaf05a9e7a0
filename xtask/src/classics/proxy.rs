//! The proxy example in front of a server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::process::Running;
use crate::toolchain::succeeds;

/// The proxy, which ends with this value.
pub(super) struct Proxy {
    process: Running,
    pub(super) port: u16,
    metrics: u16,
}

impl Proxy {
    /// In front of `upstream`.
    pub(super) fn start(root: &Path, upstream: u16) -> Result<Self, String> {
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
        let mut command = Command::new(root.join(target).join("debug/examples/proxy"));
        // Checks would be connections that the server under it does not expect.
        command.args(["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--health-interval", "off"]);
        command.args(["--to", &format!("127.0.0.1:{upstream}")]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut process = Running(child.map_err(|error| format!("cannot start the proxy: {error}"))?);
        let mut line = String::new();
        let printed = process.0.stdout.as_mut().expect("it is piped");
        BufReader::new(printed)
            .read_line(&mut line)
            .map_err(|error| format!("the proxy says nothing: {error}"))?;
        let (port, metrics) = ports(&line).ok_or_else(|| format!("the proxy says {line:?}"))?;
        Ok(Self { process, port, metrics })
    }

    /// What its metrics count as errors, as `kind: count`.
    pub(super) fn errors(&self) -> Result<Vec<String>, String> {
        let asked = TcpStream::connect(("127.0.0.1", self.metrics)).and_then(|mut stream| {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n")?;
            let mut page = String::new();
            stream.read_to_string(&mut page)?;
            Ok(page)
        });
        let page = asked.map_err(|error| format!("the proxy's metrics: {error}"))?;
        if page.contains("errors_total{") {
            Ok(errors(&page))
        } else {
            Err("its metrics name no errors".into())
        }
    }

    /// Ends it as a service manager does; an error if it does not end well.
    pub(super) fn end(mut self) -> Result<(), String> {
        if !succeeds("kill", &["-TERM", &self.process.0.id().to_string()]) {
            return Err("SIGTERM cannot be sent to the proxy".to_owned());
        }
        let status = self.process.0.wait().map_err(|error| format!("the proxy's end: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("the proxy ended with {status}")) }
    }
}

/// Its own port and that of its metrics, from the line that it prints.
fn ports(line: &str) -> Option<(u16, u16)> {
    let port = |before: &str| {
        let rest = &line[line.find(before)? + before.len()..];
        rest.split([',', ' ']).next()?.rsplit(':').next()?.parse().ok()
    };
    Some((port("proxy on ")?, port("metrics on ")?))
}

fn errors(page: &str) -> Vec<String> {
    let counted = page.lines().filter(|line| !line.starts_with('#') && line.contains("errors_total{"));
    counted.filter(|line| !line.ends_with(" 0")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_line_names_both_ports() {
        let line = "proxy on 127.0.0.1:41581, epoll (asked for), 2 cores, to 127.0.0.1:9, metrics on 127.0.0.1:44125, pid 7\n";
        assert_eq!(ports(line), Some((41581, 44125)));
        assert_eq!(ports("proxy: no such option\n"), None);
    }

    #[test]
    fn errors_are_those_that_were_counted() {
        let page = "# TYPE proxy_errors_total counter\nproxy_errors_total{kind=\"connect\"} 0\nproxy_errors_total{kind=\"reset\"} 3\n";
        assert_eq!(errors(page), ["proxy_errors_total{kind=\"reset\"} 3"]);
    }
}
