//! The programs that go through the proxy, and what each is to say in the end.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::process::{Running, find, is_bound, output, wait_for};
use super::servers::{self, Server};

/// One program against its server.
pub(super) struct Classic {
    pub(super) name: &'static str,
    /// Programs that it takes.
    pub(super) needs: &'static [&'static str],
    /// Debian's package that has them.
    pub(super) package: &'static str,
    pub(super) serve: fn() -> Result<Server, String>,
    /// It closes connections with bytes unread, which is a reset, also without a proxy.
    pub(super) resets: bool,
    /// Uses the server through the port of the proxy; what there is to say of it.
    pub(super) use_it: fn(&Server, u16) -> Result<String, String>,
}

pub(super) const CLASSICS: &[Classic] = &[
    Classic {
        name: "redis-benchmark, 50 clients, set and get, one and 16 in flight",
        needs: &["redis-server", "redis-benchmark"],
        package: "redis-server",
        serve: servers::redis,
        resets: false,
        use_it: redis,
    },
    Classic {
        name: "pgbench, 20 clients, reads, writes, and a connection per transaction",
        needs: &["initdb", "postgres", "pgbench", "pg_isready"],
        package: "postgresql",
        serve: servers::postgres,
        resets: false,
        use_it: pgbench,
    },
    Classic {
        name: "iperf3 --bidir",
        needs: &["iperf3"],
        package: "iperf3",
        serve: servers::iperf3,
        // Its control connection overtakes the data.
        resets: true,
        use_it: |_, port| iperf3(port, &["--bidir"]),
    },
    Classic {
        name: "iperf3 -P 8",
        needs: &["iperf3"],
        package: "iperf3",
        serve: servers::iperf3,
        // Its control connection overtakes the data.
        resets: true,
        use_it: |_, port| iperf3(port, &["-P", "8"]),
    },
    Classic {
        name: "iperf3 -P 8 --reverse",
        needs: &["iperf3"],
        package: "iperf3",
        serve: servers::iperf3,
        // Its control connection overtakes the data.
        resets: true,
        use_it: |_, port| iperf3(port, &["-P", "8", "--reverse"]),
    },
    Classic {
        name: "nc, where both speak at once",
        needs: &["nc"],
        package: "netcat-openbsd",
        serve: servers::nobody_yet,
        resets: false,
        use_it: |server, port| netcat(server, port, "printf later", "printf words"),
    },
    Classic {
        name: "nc, whose server ends first",
        needs: &["nc"],
        package: "netcat-openbsd",
        serve: servers::nobody_yet,
        resets: false,
        use_it: |server, port| netcat(server, port, "printf later", "sleep 0.5; printf words"),
    },
];

fn redis(_: &Server, port: u16) -> Result<String, String> {
    let port = port.to_string();
    let program = find("redis-benchmark").unwrap_or_default();
    for pipeline in ["1", "16"] {
        let arguments = ["-p", &port, "-t", "set,get", "-n", "100000", "-c", "50", "-P", pipeline, "-q"];
        let said = output(&program, &arguments)?;
        if said.matches("requests per second").count() < 2 || said.contains("Error") {
            return Err(format!("redis-benchmark says: {}", said.trim()));
        }
    }
    Ok("400000 requests".to_owned())
}

fn pgbench(_: &Server, port: u16) -> Result<String, String> {
    let port = port.to_string();
    let program = find("pgbench").unwrap_or_default();
    let base = ["-h", "127.0.0.1", "-U", "postgres", "-p", port.as_str()];
    let with = |more: &[&'static str]| -> Vec<String> {
        base.iter().chain(more).map(|word| (*word).to_owned()).chain(["postgres".to_owned()]).collect()
    };
    let run =
        |arguments: Vec<String>| output(&program, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    run(with(&["-i", "-q"]))?;
    let mut transactions = 0;
    let runs: [&[&'static str]; 3] = [
        &["-S", "-c", "20", "-j", "2", "-T", "3"],
        &["-c", "20", "-j", "2", "-T", "3"],
        &["-S", "-C", "-c", "10", "-j", "2", "-T", "3"],
    ];
    for arguments in runs {
        let said = run(with(arguments))?;
        let done = number_behind(&said, "number of transactions actually processed:");
        match (done, number_behind(&said, "number of failed transactions:")) {
            (Some(done), None | Some(0)) if done > 0 => transactions += done,
            _ => return Err(format!("pgbench says: {}", said.trim())),
        }
    }
    Ok(format!("{transactions} transactions"))
}

fn iperf3(port: u16, options: &[&str]) -> Result<String, String> {
    let port = port.to_string();
    let arguments = [&["-c", "127.0.0.1", "-t", "3", "-p", &port], options].concat();
    let said = output(&find("iperf3").unwrap_or_default(), &arguments)?;
    let mut finished = said.lines().filter(|line| line.ends_with("receiver"));
    match (finished.next_back(), said.contains("error")) {
        (Some(last), false) => {
            Ok(last.rsplit(']').next().unwrap_or(last).split_whitespace().collect::<Vec<_>>().join(" "))
        }
        _ => Err(format!("iperf3 says: {}", said.trim())),
    }
}

/// Both say something, one of them after the other has ended its direction.
fn netcat(server: &Server, port: u16, serve: &str, ask: &str) -> Result<String, String> {
    let program: PathBuf = find("nc").unwrap_or_default();
    let nc = program.display();
    let files = [file("server", server.port), file("client", server.port)];
    let shell = |line: String| {
        let mut command = Command::new("sh");
        command.args(["-c", &line]).stdin(Stdio::null()).stderr(Stdio::null());
        command
    };
    let [heard, answered] = files.each_ref().map(|file| file.0.display());
    let listen = format!("({serve}) | {nc} -N -l 127.0.0.1 {} > {heard}", server.port);
    let child = shell(listen).spawn().map_err(|error| format!("cannot start sh: {error}"))?;
    let mut child = Running(child);
    wait_for("nc -l", || is_bound(server.port))?;
    let client = shell(format!("({ask}) | {nc} -N 127.0.0.1 {port} > {answered}")).status();
    let ended = child.0.wait();
    let heard = std::fs::read_to_string(&files[0].0).unwrap_or_default();
    let answered = std::fs::read_to_string(&files[1].0).unwrap_or_default();
    match (client, ended) {
        (Ok(client), Ok(server)) if client.success() && server.success() => {}
        (client, server) => return Err(format!("nc ended with {client:?}, its server with {server:?}")),
    }
    if (heard.as_str(), answered.as_str()) == ("words", "later") {
        Ok("both heard the other's words and its end".to_owned())
    } else {
        Err(format!("the server heard {heard:?}, the client {answered:?}"))
    }
}

/// A file that is gone with this value.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn file(of: &str, port: u16) -> Temporary {
    Temporary(std::env::temp_dir().join(format!("coronet-classics-{of}-{port}")))
}

fn number_behind(text: &str, words: &str) -> Option<u64> {
    let rest = &text[text.find(words)? + words.len()..];
    let digits = rest.trim_start();
    digits.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_pgbench_are_found_behind_their_words() {
        let said =
            "number of transactions actually processed: 1234\nnumber of failed transactions: 0 (0.000%)\n";
        assert_eq!(number_behind(said, "number of transactions actually processed:"), Some(1234));
        assert_eq!(number_behind(said, "number of failed transactions:"), Some(0));
        assert_eq!(number_behind(said, "number of retries:"), None);
    }
}
