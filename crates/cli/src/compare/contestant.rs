//! Who takes part: names, the cargo packages they are built from, and how each is started.
//!
//! The contract of a server: it gets an address to listen on, prints one line that contains the address it
//! got, and ends on SIGTERM.

use crate::compare::cell::Workload;
use crate::compare::report::Kind;

/// The row that everything else is measured against.
pub(crate) const OURS: &str = "coronet";
/// The same program again.
pub(crate) const AGAIN: &str = "coronet (again)";

/// A program that cargo builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Program {
    /// The name of the file.
    pub(crate) file: &'static str,
    pub(crate) package: &'static str,
    pub(crate) target: Target,
}

/// What of a package to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// `--bin`, in the workspace.
    Bin,
    /// `--example`, in the workspace.
    Example,
    /// The program of a package of `benches/rivals`.
    Rival,
}

/// The load generator.
pub(crate) const GENERATOR: Program =
    Program { file: "load", package: "coronet-benches", target: Target::Bin };

const ECHO: Program = Program { file: "echo", package: "coronet-examples", target: Target::Example };
const PROXY: Program = Program { file: "proxy", package: "coronet-examples", target: Target::Example };
const SINK: Program = Program { file: "coronet-sink", package: "coronet-benches", target: Target::Bin };
const RAW_URING: Program = Program { file: "raw_uring", package: "coronet-benches", target: Target::Bin };
/// Also the far end of proxies.
pub(crate) const RAW_EPOLL: Program =
    Program { file: "raw_epoll", package: "coronet-benches", target: Target::Bin };

/// A row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) about: &'static str,
    program: Source,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    /// Three programs, one for each mode, and options for all.
    Ours(&'static [&'static str]),
    /// One program with all modes.
    Foreign(Program),
    /// One program that is a proxy and nothing else, and options.
    ForeignProxy(Program, &'static [&'static str]),
}

/// Every row there is, in the order of tables.
pub(crate) const ALL: &[Contestant] = &[
    ours(OURS, Kind::Ours, "this runtime, one core", &[]),
    ours(AGAIN, Kind::Again, "the same program once more: the noise floor", &[]),
    ours("coronet-epoll", Kind::Variant, "this runtime on its epoll backend", &["--backend", "epoll"]),
    raw("raw-uring", "an io_uring loop without a runtime: the limit", RAW_URING),
    raw("raw-epoll", "an epoll loop without a runtime", RAW_EPOLL),
    SPLICING,
    rival("tokio-ct", "tokio, current-thread scheduler", "rival-tokio-ct"),
    rival("tokio-mt", "tokio, multi-thread scheduler, one worker", "rival-tokio-mt"),
    rival("smol", "smol", "rival-smol"),
    rival("monoio", "monoio on io_uring", "rival-monoio"),
    rival("compio", "compio on io_uring", "rival-compio"),
    rival("glommio", "glommio", "rival-glommio"),
    rival("std-threads", "a thread per connection", "rival-std-threads"),
    proxy("haproxy", "haproxy as installed, one thread", "rival-haproxy"),
    proxy("nginx", "nginx's stream module as installed, one process", "rival-nginx"),
];

const SPLICING: Contestant = Contestant {
    name: "raw-epoll-splice",
    kind: Kind::Reference,
    about: "an epoll loop that moves bytes through a pipe by splice(2)",
    program: Source::ForeignProxy(RAW_EPOLL, &["--splice"]),
};

const fn ours(
    name: &'static str,
    kind: Kind,
    about: &'static str,
    options: &'static [&'static str],
) -> Contestant {
    Contestant { name, kind, about, program: Source::Ours(options) }
}

const fn raw(name: &'static str, about: &'static str, program: Program) -> Contestant {
    Contestant { name, kind: Kind::Reference, about, program: Source::Foreign(program) }
}

const fn rival(name: &'static str, about: &'static str, package: &'static str) -> Contestant {
    let program = Program { file: package, package, target: Target::Rival };
    Contestant { name, kind: Kind::Rival, about, program: Source::Foreign(program) }
}

const fn proxy(name: &'static str, about: &'static str, package: &'static str) -> Contestant {
    let program = Program { file: package, package, target: Target::Rival };
    Contestant { name, kind: Kind::Rival, about, program: Source::ForeignProxy(program, &[]) }
}

/// A program and what follows it, but for the address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) program: Program,
    pub(crate) arguments: Vec<String>,
}

impl Contestant {
    /// Whether it can do this at all.
    pub(crate) fn does(&self, workload: Workload) -> bool {
        match self.program {
            Source::Ours(_) | Source::Foreign(_) => true,
            Source::ForeignProxy(..) => workload.behind_the_proxy().is_some(),
        }
    }

    /// How to start it for `workload`; `to` is where a proxy connects.
    pub(crate) fn start(&self, workload: Workload, to: Option<&str>) -> Start {
        let words = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let mode = mode_of(workload);
        let (program, mut arguments) = match self.program {
            Source::Ours(options) => {
                let program = match mode {
                    "sink" => SINK,
                    "proxy" => PROXY,
                    _ => ECHO,
                };
                let mut arguments = words(&["--cores", "1"]);
                arguments.extend(words(options));
                (program, arguments)
            }
            Source::Foreign(program) => (program, words(&["--mode", mode])),
            Source::ForeignProxy(program, options) => {
                let mut arguments = words(&["--mode", mode]);
                arguments.extend(words(options));
                (program, arguments)
            }
        };
        if let (Some(_), Some(to)) = (workload.behind_the_proxy(), to) {
            arguments.extend(words(&["--to", to]));
        }
        Start { program, arguments }
    }
}

fn mode_of(workload: Workload) -> &'static str {
    match workload {
        Workload::Echo | Workload::Pipelined | Workload::Churn | Workload::Latency | Workload::Idle => "echo",
        Workload::Stream => "sink",
        Workload::Proxy | Workload::Relay => "proxy",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_once() {
        for (index, one) in ALL.iter().enumerate() {
            assert!(ALL[..index].iter().all(|other| other.name != one.name), "{}", one.name);
        }
    }

    #[test]
    fn the_modes_follow_the_contract() {
        let line = |name: &str, workload| {
            let one = ALL.iter().find(|one| one.name == name).unwrap();
            let start = one.start(workload, Some("127.0.0.1:9"));
            format!("{} {}", start.program.file, start.arguments.join(" "))
        };
        assert_eq!(line("coronet", Workload::Churn), "echo --cores 1");
        assert_eq!(line("coronet-epoll", Workload::Stream), "coronet-sink --cores 1 --backend epoll");
        assert_eq!(line("monoio", Workload::Proxy), "rival-monoio --mode proxy --to 127.0.0.1:9");
        assert_eq!(line("raw-uring", Workload::Stream), "raw_uring --mode sink");
        assert_eq!(line("nginx", Workload::Relay), "rival-nginx --mode proxy --to 127.0.0.1:9");
        let splicing = "raw_epoll --mode proxy --splice --to 127.0.0.1:9";
        assert_eq!(line("raw-epoll-splice", Workload::Proxy), splicing);
    }

    #[test]
    fn a_mere_proxy_takes_part_in_nothing_else() {
        let haproxy = ALL.iter().find(|one| one.name == "haproxy").unwrap();
        assert!(
            haproxy.does(Workload::Proxy) && !haproxy.does(Workload::Echo) && !haproxy.does(Workload::Idle)
        );
    }
}
