//! One measurement: a server started anew, the generator against it, both ended.
//!
//! Server and generator are pinned to two CPUs. On a machine with one CPU nothing is pinned, and the
//! generator sleeps while it waits.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::compare::build::Built;
use crate::compare::cell::{Cell, Workload};
use crate::compare::child::{Child, Early, Stop};
use crate::compare::contestant::{Contestant, GENERATOR, Start};
use crate::compare::counters::{Counter, Counting, Rings};
use crate::compare::generator::{self, Request, Sample};
use crate::machine;

/// How long a server may take until it listens.
const START_MAX: Duration = Duration::from_secs(10);
/// How much longer than asked for a generator may run.
pub(crate) const OVERTIME_MAX: Duration = Duration::from_secs(30);
/// Seconds of the run in which system calls are counted, at least.
const COUNTED_MIN: f64 = 0.3;
/// Looks at a running generator between two looks at the server's rings.
const LOOKS_PER_RING_CHECK: u32 = 8;
/// The figures of a server whose completion queue overflowed are refused.
pub(crate) const OVERFLOWED: &str = "the completion queue overflowed";

/// Which CPU is whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) server: Option<usize>,
    pub(crate) generator: Option<usize>,
    /// Where a proxy's other end runs: a third CPU, or the generator's.
    pub(crate) upstream: Option<usize>,
}

impl Places {
    /// Chooses among `cpus`, siblings of one core last. `siblings` tells who shares a core.
    pub(crate) fn choose(cpus: &[usize], siblings: impl Fn(usize) -> Vec<usize>) -> Self {
        let Some(&server) = cpus.first().filter(|_| cpus.len() > 1) else {
            return Self { server: None, generator: None, upstream: None };
        };
        let apart = |taken: &[usize]| {
            let free = || cpus.iter().copied().filter(|cpu| !taken.contains(cpu));
            let own_core = free().find(|&cpu| taken.iter().all(|&other| !siblings(other).contains(&cpu)));
            own_core.or_else(|| free().next())
        };
        let generator = apart(&[server]);
        let third = generator.and_then(|generator| apart(&[server, generator]));
        Self { server: Some(server), generator, upstream: third.or(generator) }
    }

    /// Those of this process on this machine.
    pub(crate) fn here() -> Self {
        Self::choose(&machine::allowed_cpus(), machine::siblings)
    }
}

/// Why there is no sample.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The user asked for an end.
    Interrupted,
    /// This row cannot do this cell, for this reason.
    Row(String),
}

impl From<Early> for Failure {
    fn from(early: Early) -> Self {
        match early {
            Early::Interrupted => Self::Interrupted,
            Early::TimedOut => Self::Row("it took too long".to_owned()),
        }
    }
}

/// Everything that stays the same from one measurement to the next.
pub(crate) struct Bench<'run> {
    pub(crate) built: &'run Built,
    pub(crate) stop: &'run Stop,
    pub(crate) places: Places,
    pub(crate) duration: f64,
    pub(crate) warmup: f64,
}

/// A server that listens, and where.
pub(crate) struct Server {
    pub(crate) child: Child,
    address: String,
}

impl Bench<'_> {
    /// Measures `row` in `cell`, once.
    pub(crate) fn measure(&self, row: &Contestant, cell: Cell, rate: Option<f64>) -> Result<Sample, Failure> {
        self.with_server(row, cell, |server, crowded| {
            let mut load = self.start_generator(cell, server, rate, crowded, false)?;
            self.answer(&mut load, server)
        })
    }

    /// Runs `row` in `cell` once more, under the eyes of a tool; the times of this run do not count.
    /// Gives system calls per request, the set-up of the connections included.
    pub(crate) fn count(
        &self,
        counting: Counting,
        row: &Contestant,
        cell: Cell,
        rate: Option<f64>,
    ) -> Result<Option<f64>, Failure> {
        // All requests have to fall into the window that is counted.
        let bench = Bench { warmup: 0.001, duration: self.duration.max(COUNTED_MIN), ..*self };
        bench.with_server(row, cell, |server, crowded| {
            let told = |why| Failure::Row(format!("system calls were not counted: {why}"));
            let counter = Counter::attach(counting, server.child.id(), self.stop).map_err(told)?;
            let Some(counter) = counter else { return Ok(None) };
            let mut load = bench.start_generator(cell, server, rate, crowded, false)?;
            let sample = bench.answer(&mut load, server)?;
            let counts = counter.finish(self.stop).map_err(told)?;
            if counts.overflows > 0 {
                return Err(Failure::Row(format!("{OVERFLOWED}: {} completions", counts.overflows)));
            }
            Ok((sample.requests > 0.0).then(|| counts.syscalls as f64 / sample.requests))
        })
    }

    fn with_server<T>(
        &self,
        row: &Contestant,
        cell: Cell,
        action: impl FnOnce(&mut Server, bool) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (mut server, _upstream, crowded) = self.start_row(row, cell)?;
        action(&mut server, crowded)
    }

    /// Starts `row`, behind a proxy its far end too, and says whether the generator shares its CPU.
    pub(crate) fn start_row(
        &self,
        row: &Contestant,
        cell: Cell,
    ) -> Result<(Server, Option<Server>, bool), Failure> {
        let mut crowded = self.places.server.is_none();
        let upstream = match cell.workload.behind_the_proxy() {
            Some(workload) => {
                crowded = crowded || self.places.upstream == self.places.generator;
                Some(self.start_upstream(workload)?)
            }
            None => None,
        };
        let to = upstream.as_ref().map(|server| server.address.as_str());
        let start = row.start(cell.workload, to);
        let server = self.start_server(&start, self.places.server)?;
        Ok((server, upstream, crowded))
    }

    /// The far end of a proxy: the same one for all rows.
    fn start_upstream(&self, workload: Workload) -> Result<Server, Failure> {
        let candidates = ["raw-epoll", "raw-uring", "tokio-ct", "std-threads", "coronet"];
        let starts = candidates.iter().filter_map(|name| {
            let row = crate::compare::contestant::ALL.iter().find(|row| row.name == *name)?;
            Some(row.start(workload, None))
        });
        for start in starts {
            if matches!(self.built.get(&start.program), Some(Ok(_))) {
                return self.start_server(&start, self.places.upstream);
            }
        }
        Err(Failure::Row("there is no server that a proxy could connect to".to_owned()))
    }

    fn start_server(&self, start: &Start, cpu: Option<usize>) -> Result<Server, Failure> {
        let program = program(self.built, start)?;
        let mut arguments = vec!["--listen".to_owned(), "127.0.0.1:0".to_owned()];
        arguments.extend(start.arguments.iter().cloned());
        let mut child = Child::start(program.as_os_str(), &arguments, cpu)
            .map_err(|error| Failure::Row(format!("did not start: {error}")))?;
        let found = self.stop.wait_for(START_MAX, || match address_in(&child.printed()) {
            Some(address) => Some(Ok(address)),
            None => child.ended().map(Err),
        });
        match found {
            Ok(Ok(address)) => Ok(Server { child, address: address.to_string() }),
            Ok(Err(status)) => Err(Failure::Row(format!("did not start ({status}): {}", child.first_line()))),
            Err(Early::Interrupted) => Err(Failure::Interrupted),
            Err(Early::TimedOut) => {
                let said = child.first_line();
                Err(Failure::Row(format!("did not say where it listens within {START_MAX:?}: {said}")))
            }
        }
    }

    /// Starts the generator; one that measures `again` listens.
    pub(crate) fn start_generator(
        &self,
        cell: Cell,
        server: &Server,
        rate: Option<f64>,
        crowded: bool,
        again: bool,
    ) -> Result<Child, Failure> {
        let program = match self.built.get(&GENERATOR) {
            Some(Ok(path)) => path,
            Some(Err(why)) => return Err(Failure::Row(why.clone())),
            None => return Err(Failure::Row("there is no generator".to_owned())),
        };
        let request = Request {
            address: server.address.clone(),
            server: server.child.id(),
            duration: self.duration,
            warmup: self.warmup,
            rate,
            crowded,
            again,
        };
        let arguments = generator::arguments(cell, &request);
        let start = if again { Child::start_that_listens } else { Child::start };
        start(program.as_os_str(), &arguments, self.places.generator)
            .map_err(|error| Failure::Row(format!("the generator did not start: {error}")))
    }

    fn answer(&self, load: &mut Child, server: &mut Server) -> Result<Sample, Failure> {
        let patience = Duration::from_secs_f64(self.duration + self.warmup) + OVERTIME_MAX;
        let rings = Rings::of(server.child.id());
        let (mut looks, mut overflowed) = (0_u32, false);
        let ended = self.stop.wait_for(patience, || {
            looks += 1;
            overflowed = overflowed || (looks.is_multiple_of(LOOKS_PER_RING_CHECK) && rings.overflow());
            load.ended()
        });
        let status = match ended {
            Ok(status) => status,
            Err(Early::Interrupted) => return Err(Failure::Interrupted),
            Err(Early::TimedOut) => {
                return Err(Failure::Row("the generator did not come to an end".to_owned()));
            }
        };
        if overflowed {
            return Err(Failure::Row(OVERFLOWED.to_owned()));
        }
        // A generator that failed may still say in its answer what it met.
        match generator::parse(&load.printed()) {
            Ok(sample) if status.success() => Ok(sample),
            Ok(_) => Err(Failure::Row(format!("the generator failed: {}", load.first_line()))),
            Err(why) => Err(Failure::Row(match server.child.ended() {
                Some(end) => format!("the server ended ({end}): {}", server.child.first_line()),
                None if status.success() || why.contains("verif") || why.contains("errors") => why,
                None => format!("the generator failed: {}", load.first_line()),
            })),
        }
    }
}

fn program<'run>(built: &'run Built, start: &Start) -> Result<&'run Path, Failure> {
    match built.get(&start.program) {
        Some(Ok(path)) => Ok(path),
        Some(Err(why)) => Err(Failure::Row(why.clone())),
        None => Err(Failure::Row(format!("{} was not built", start.program.file))),
    }
}

/// The first socket address in what a server printed.
fn address_in(text: &str) -> Option<SocketAddr> {
    // Whole lines only: the end of an address may not be there yet.
    let whole = &text[..=text.rfind('\n')?];
    whole.split_whitespace().find_map(|word| word.trim_end_matches([',', '.', ';']).parse().ok())
}

/// The command lines that repeat a measurement by hand, as a shell takes them.
pub(crate) fn command_lines(
    bench: &Bench<'_>,
    row: &Contestant,
    cell: Cell,
    rate: Option<f64>,
) -> (String, String) {
    let pinned = |cpu: Option<usize>| cpu.map_or(String::new(), |cpu| format!("taskset -c {cpu} "));
    let path = |path: Option<&Result<PathBuf, String>>, file: &str| match path {
        Some(Ok(path)) => shell_word(from_here(path).as_os_str()),
        _ => file.to_owned(),
    };
    let start = row.start(cell.workload, Some("127.0.0.1:7001"));
    let server = format!(
        "{}{} --listen 127.0.0.1:7000 {}",
        pinned(bench.places.server),
        path(bench.built.get(&start.program), start.program.file),
        start.arguments.join(" ")
    );
    let request = Request {
        address: "127.0.0.1:7000".to_owned(),
        server: 0,
        duration: bench.duration,
        warmup: bench.warmup,
        rate,
        crowded: bench.places.server.is_none(),
        again: false,
    };
    let words = generator::arguments(cell, &request).join(" ").replace("--server-pid 0", "--server-pid PID");
    let generator = format!(
        "{}{} {words}",
        pinned(bench.places.generator),
        path(bench.built.get(&GENERATOR), GENERATOR.file)
    );
    (server.trim_end().to_owned(), generator)
}

/// `path` as it is seen from the current directory, if it is below it.
fn from_here(path: &Path) -> &Path {
    let here = std::env::current_dir().ok();
    here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path)
}

fn shell_word(word: &OsStr) -> String {
    let text = OsString::from(word).to_string_lossy().into_owned();
    let plain = text.chars().all(|letter| letter.is_alphanumeric() || "/._-+".contains(letter));
    if plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_either_sentence_once_its_line_is_whole() {
        let want = Some("127.0.0.1:8888".parse().unwrap());
        assert_eq!(address_in("echo on 127.0.0.1:8888, io_uring (x), 1 core\n"), want);
        assert_eq!(address_in("listening on 127.0.0.1:8888\n"), want);
        assert_eq!(address_in("listening on 127.0.0.1:8888"), None);
        assert_eq!(address_in("Listening.\n"), None);
    }

    #[test]
    fn server_and_generator_do_not_share_a_core_if_there_are_two() {
        let pairs = |cpu: usize| vec![cpu & !1, cpu | 1];
        let places = Places::choose(&[0, 1, 2, 3], pairs);
        assert_eq!((places.server, places.generator, places.upstream), (Some(0), Some(2), Some(1)));
        let places = Places::choose(&[0, 1], pairs);
        assert_eq!((places.server, places.generator, places.upstream), (Some(0), Some(1), Some(1)));
    }

    #[test]
    fn on_one_cpu_nothing_is_pinned() {
        let places = Places::choose(&[3], |cpu| vec![cpu]);
        assert_eq!(places, Places { server: None, generator: None, upstream: None });
    }

    #[test]
    fn a_path_with_a_blank_is_quoted() {
        assert_eq!(shell_word(OsStr::new("/a b/c'd")), r"'/a b/c'\''d'");
        assert_eq!(shell_word(OsStr::new("/a/b-c_1")), "/a/b-c_1");
    }
}
