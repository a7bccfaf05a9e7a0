//! What the proxy is told: the keys of the configuration file and of the command line, and the settings
//! that come out of them. A mistake is one line that names the file, the line and the key.

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use coronet::Backend;
use serde::{Deserialize, Deserializer};

use crate::balance::Balance;
use crate::proxy_protocol::{ProxyProtocol, Version};

/// What can be set, in the file and on the command line. Absent means the default.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Keys {
    /// The address to listen on
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// The upstreams, each host:port
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub(crate) to: Option<Vec<String>>,
    /// Who gets the next connection [default: round-robin]
    #[arg(long)]
    pub(crate) balance: Option<Balance>,
    /// How many cores [default: all that the process may use]
    #[arg(long)]
    pub(crate) cores: Option<NonZeroU16>,
    /// auto, uring or epoll [default: auto]
    #[arg(long)]
    #[serde(deserialize_with = "from_text")]
    pub(crate) backend: Option<Backend>,
    /// On which side PROXY headers are spoken [default: off]
    #[arg(long)]
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
    /// The version that upstreams get [default: v2]
    #[arg(long)]
    pub(crate) proxy_protocol_version: Option<Version>,
    /// How long one connect to an upstream may take [default: 5s]
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "from_text")]
    pub(crate) connect_timeout: Option<Period>,
    /// How long a connection may carry nothing, either way; off for ever [default: 10m]
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "from_text")]
    pub(crate) idle_timeout: Option<Period>,
    /// How long a client may take for its PROXY header [default: 5s]
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "from_text")]
    pub(crate) header_timeout: Option<Period>,
    /// How long sent bytes may stay unacknowledged; off for the kernel's limit [default: 30s]
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "from_text")]
    pub(crate) user_timeout: Option<Period>,
    /// How long open connections may go on after SIGTERM [default: 30s]
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "from_text")]
    pub(crate) drain_timeout: Option<Period>,
    /// How many connections at once; others wait [default: as the descriptors allow]
    #[arg(long, value_name = "COUNT")]
    pub(crate) max_conns: Option<NonZeroU32>,
    /// Where metrics can be read; nowhere by default
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics: Option<SocketAddr>,
    /// How often names are looked up again; off for never [default: 30s]
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "from_text")]
    pub(crate) resolve_interval: Option<Period>,
    /// How often upstreams are checked; off for never [default: 5s]
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "from_text")]
    pub(crate) health_interval: Option<Period>,
    /// How many checks in a row must fail to take an upstream out [default: 3]
    #[arg(long, value_name = "COUNT")]
    pub(crate) health_fails: Option<NonZeroU16>,
    /// How many checks in a row must pass to take it back [default: 2]
    #[arg(long, value_name = "COUNT")]
    pub(crate) health_passes: Option<NonZeroU16>,
}

/// A time such as `500ms`, `30s` or `1h`; `off` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period(Option<Duration>);

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        match humantime::parse_duration(text) {
            Ok(time) if !time.is_zero() => Ok(Self(Some(time))),
            Ok(_) => Err(format!("{text:?} is no time at all: write \"off\" if that is meant")),
            Err(_) => Err(format!("{text:?} is no time: write \"500ms\", \"30s\", \"5m\" or \"off\"")),
        }
    }
}

fn from_text<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// What holds: every key with its value or default.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) to: Vec<String>,
    pub(crate) balance: Balance,
    pub(crate) cores: Option<NonZeroU16>,
    pub(crate) backend: Backend,
    pub(crate) proxy_protocol: ProxyProtocol,
    pub(crate) proxy_protocol_version: Version,
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) header_timeout: Duration,
    pub(crate) user_timeout: Option<Duration>,
    pub(crate) drain_timeout: Duration,
    pub(crate) max_conns: Option<usize>,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) resolve_interval: Option<Duration>,
    pub(crate) health_interval: Option<Duration>,
    pub(crate) health_fails: u16,
    pub(crate) health_passes: u16,
}

/// What is wrong with the configuration, in one line.
#[derive(Debug)]
pub(crate) struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads the file, if there is one, and puts the command line over it.
///
/// # Errors
/// What cannot be read, or makes no sense.
pub(crate) fn load(file: Option<&Path>, command_line: &Keys) -> Result<Settings, Wrong> {
    let Some(file) = file else { return Settings::of(command_line.clone(), "command line") };
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| Wrong(format!("{name}: {error}")))?;
    let keys = parse(&name, &text)?;
    Settings::of(command_line.clone().over(keys), &name)
}

/// The keys of a file.
pub(crate) fn parse(name: &str, text: &str) -> Result<Keys, Wrong> {
    let line_of = |error: &toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        1 + text[..at].matches('\n').count()
    };
    let wrong = |line, key: &str, message: &str| {
        let message = message.lines().next().unwrap_or_default();
        let key = if key.is_empty() || key == "." { String::new() } else { format!("key `{key}`: ") };
        Wrong(format!("{name}:{line}: {key}{message}"))
    };
    let document =
        toml::Deserializer::parse(text).map_err(|error| wrong(line_of(&error), "", error.message()))?;
    serde_path_to_error::deserialize(document).map_err(|error| {
        let key = error.path().to_string();
        wrong(line_of(error.inner()), &key, error.inner().message())
    })
}

impl Keys {
    /// These, and where one is absent that of `below`.
    fn over(self, below: Self) -> Self {
        Self {
            listen: self.listen.or(below.listen),
            to: self.to.or(below.to),
            balance: self.balance.or(below.balance),
            cores: self.cores.or(below.cores),
            backend: self.backend.or(below.backend),
            proxy_protocol: self.proxy_protocol.or(below.proxy_protocol),
            proxy_protocol_version: self.proxy_protocol_version.or(below.proxy_protocol_version),
            connect_timeout: self.connect_timeout.or(below.connect_timeout),
            idle_timeout: self.idle_timeout.or(below.idle_timeout),
            header_timeout: self.header_timeout.or(below.header_timeout),
            user_timeout: self.user_timeout.or(below.user_timeout),
            drain_timeout: self.drain_timeout.or(below.drain_timeout),
            max_conns: self.max_conns.or(below.max_conns),
            metrics: self.metrics.or(below.metrics),
            resolve_interval: self.resolve_interval.or(below.resolve_interval),
            health_interval: self.health_interval.or(below.health_interval),
            health_fails: self.health_fails.or(below.health_fails),
            health_passes: self.health_passes.or(below.health_passes),
        }
    }
}

const fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

impl Settings {
    fn of(keys: Keys, place: &str) -> Result<Self, Wrong> {
        let wrong = |key: &str, message: &str| Wrong(format!("{place}: key `{key}`: {message}"));
        let period = |value: Option<Period>, default| value.map_or(default, |Period(value)| value);
        let needed = |key, value: Option<Period>, default: u64| {
            period(value, seconds(default)).ok_or_else(|| wrong(key, "\"off\" is not possible here"))
        };
        let to = keys.to.unwrap_or_default();
        if to.is_empty() {
            return Err(wrong("to", "no upstream is given"));
        }
        if let Some(bad) = to.iter().find(|name| !is_host_and_port(name)) {
            return Err(wrong("to", &format!("{bad:?} is no host:port")));
        }
        Ok(Self {
            listen: keys.listen.ok_or_else(|| wrong("listen", "no address is given"))?,
            to,
            balance: keys.balance.unwrap_or_default(),
            cores: keys.cores,
            backend: keys.backend.unwrap_or_default(),
            proxy_protocol: keys.proxy_protocol.unwrap_or_default(),
            proxy_protocol_version: keys.proxy_protocol_version.unwrap_or_default(),
            connect_timeout: needed("connect-timeout", keys.connect_timeout, 5)?,
            idle_timeout: period(keys.idle_timeout, seconds(600)),
            header_timeout: needed("header-timeout", keys.header_timeout, 5)?,
            user_timeout: period(keys.user_timeout, seconds(30)),
            drain_timeout: needed("drain-timeout", keys.drain_timeout, 30)?,
            max_conns: keys.max_conns.map(|count| count.get() as usize),
            metrics: keys.metrics,
            resolve_interval: period(keys.resolve_interval, seconds(30)),
            health_interval: period(keys.health_interval, seconds(5)),
            health_fails: keys.health_fails.map_or(3, NonZeroU16::get),
            health_passes: keys.health_passes.map_or(2, NonZeroU16::get),
        })
    }

    /// The keys that differ from `new` and take effect only in a new process.
    pub(crate) fn fixed_that_differ(&self, new: &Self) -> Vec<&'static str> {
        let keys = [
            ("listen", self.listen != new.listen),
            ("cores", self.cores != new.cores),
            ("backend", self.backend != new.backend),
            ("metrics", self.metrics != new.metrics),
        ];
        keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }
}

fn is_host_and_port(name: &str) -> bool {
    name.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        let loaded = parse("proxy.toml", text).and_then(|keys| Settings::of(keys, "proxy.toml"));
        let said = loaded.expect_err(text).to_string();
        assert_eq!(said.lines().count(), 1, "{said}");
        said
    }

    #[test]
    fn a_mistake_is_one_line_with_file_and_key() {
        let start = "listen = \"127.0.0.1:1\"\nto = [\"a:1\"]\n";
        let said: Vec<_> = [
            "tos = 3",
            "cores = 0",
            "balance = \"best\"",
            "idle-timeout = \"5 parsecs\"",
            "idle-timeout = \"0s\"",
            "idle-timeout = 5",
            "connect-timeout = \"off\"",
            "proxy-protocol = true",
            "backend = \"kqueue\"",
            "metrics = \"here\"",
            "max-conns = 0",
            "balance =",
            "[upstreams]",
        ]
        .map(|line| complaint(&format!("{start}{line}\n")))
        .into_iter()
        .chain(
            [
                "to = [\"a:1\"]",
                "listen = \"127.0.0.1:1\"",
                "listen = \"127.0.0.1:1\"\nto = [\n\"a:1\",\n7]\n",
            ]
            .map(complaint),
        )
        .chain(
            ["a", "a:", ":1", "a:0", "a:70000"]
                .map(|name| complaint(&format!("listen = \"127.0.0.1:1\"\nto = [\"b:2\", \"{name}\"]"))),
        )
        .collect();
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn defaults_stand_where_nothing_is_said_and_the_command_line_wins() {
        let file =
            parse("f", "listen = \"127.0.0.1:1\"\nto = [\"a:1\"]\nidle-timeout = \"off\"\nmax-conns = 9")
                .unwrap();
        let command_line = Keys {
            to: Some(vec!["b:2".into(), "[::1]:3".into()]),
            balance: Some(Balance::P2c),
            ..Keys::default()
        };
        let settings = Settings::of(command_line.over(file), "f").unwrap();
        assert_eq!(settings.to, ["b:2", "[::1]:3"]);
        assert_eq!((settings.balance, settings.idle_timeout), (Balance::P2c, None));
        assert_eq!((settings.max_conns, settings.connect_timeout), (Some(9), Duration::from_secs(5)));
    }

    #[test]
    fn what_needs_a_new_process_is_named() {
        let of = |text: &str| Settings::of(parse("f", text).unwrap(), "f").unwrap();
        let old = of("listen = \"127.0.0.1:1\"\nto = [\"a:1\"]");
        let new = of("listen = \"127.0.0.1:2\"\nto = [\"b:1\"]\ncores = 7\nbalance = \"least\"");
        assert_eq!(old.fixed_that_differ(&new), ["listen", "cores"]);
        assert!(old.fixed_that_differ(&old).is_empty());
    }
}
