//! `CORONET_MASK`: capabilities that are hidden on purpose, so that a new kernel can be
//! used like an old one. For tests.
//!
//! It is a list of names, separated by commas: fields of [`Capabilities`], flags of the
//! set-up, and versions of kernels, which hide all that came later. It is read once.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::backend::Capabilities;

const VARIABLE: &str = "CORONET_MASK";

/// One thing that can be hidden.
struct Feature {
    name: &'static str,
    /// The kernel that brought it.
    since: (u8, u8),
    /// Where it is reported; flags of the set-up have no field.
    field: Option<fn(&mut Capabilities) -> &mut bool>,
}

const FEATURES: [Feature; 15] = [
    Feature { name: "waits_nonblocking", since: (5, 11), field: Some(|can| &mut can.waits_nonblocking) },
    Feature { name: "poll_multi", since: (5, 13), field: Some(|can| &mut can.poll_multi) },
    Feature { name: "msg_ring", since: (5, 18), field: Some(|can| &mut can.msg_ring) },
    Feature { name: "buffer_groups", since: (5, 19), field: Some(|can| &mut can.buffer_groups) },
    Feature { name: "accept_multi", since: (5, 19), field: Some(|can| &mut can.accept_multi) },
    Feature { name: "coop_taskrun", since: (5, 19), field: None },
    Feature { name: "recv_multi", since: (6, 0), field: Some(|can| &mut can.recv_multi) },
    Feature { name: "send_zc", since: (6, 0), field: Some(|can| &mut can.send_zc) },
    Feature { name: "defer_taskrun", since: (6, 1), field: None },
    Feature { name: "send_zc_report", since: (6, 1), field: Some(|can| &mut can.send_zc_report) },
    Feature { name: "no_sqarray", since: (6, 6), field: None },
    Feature { name: "bundles", since: (6, 10), field: Some(|can| &mut can.bundles) },
    Feature { name: "incremental", since: (6, 12), field: Some(|can| &mut can.incremental) },
    Feature { name: "min_wait", since: (6, 12), field: Some(|can| &mut can.min_wait) },
    Feature { name: "file_table", since: (6, 13), field: Some(|can| &mut can.file_table) },
];

/// One capability by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capability {
    /// The name of its field in [`Capabilities`], and in `CORONET_MASK`.
    pub name: &'static str,
    /// The version of the kernel that brought it: major, minor.
    pub since: (u8, u8),
    /// It is there, here.
    pub there: bool,
}

impl Capabilities {
    /// All of them by name, the oldest first.
    pub fn each(self) -> impl Iterator<Item = Capability> {
        let mut can = self;
        FEATURES.iter().filter_map(move |feature| {
            let there = *feature.field?(&mut can);
            Some(Capability { name: feature.name, since: feature.since, there })
        })
    }
}

/// Kernels that can be asked for.
const PROFILES: [(&str, (u8, u8)); 4] =
    [("5.15", (5, 15)), ("6.1", (6, 1)), ("6.6", (6, 6)), ("6.12", (6, 12))];

/// What is hidden.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mask {
    text: String,
    hidden: [bool; FEATURES.len()],
}

impl Mask {
    /// The one of this process.
    ///
    /// # Errors
    /// `InvalidInput` for a name that does not exist.
    pub(crate) fn of_process() -> io::Result<&'static Self> {
        static MASK: OnceLock<Result<Mask, String>> = OnceLock::new();
        let mask = MASK.get_or_init(|| {
            let text = std::env::var_os(VARIABLE).unwrap_or_default();
            text.to_string_lossy().parse()
        });
        let named =
            |text| io::Error::new(io::ErrorKind::InvalidInput, format!("environment variable {text}"));
        mask.as_ref().map_err(named)
    }

    /// True if this name is hidden.
    pub(crate) fn hides(&self, name: &str) -> bool {
        let place = FEATURES.iter().position(|feature| feature.name == name);
        self.hidden[place.expect("the name of a feature")]
    }

    /// Hides what is hidden. What stands on a hidden capability goes with it.
    pub(crate) fn apply(&self, capabilities: &mut Capabilities) {
        for (feature, hidden) in FEATURES.iter().zip(self.hidden) {
            if let (Some(field), true) = (feature.field, hidden) {
                *field(capabilities) = false;
            }
        }
        capabilities.incremental &= capabilities.buffer_groups;
        capabilities.recv_multi &= capabilities.poll_multi;
        capabilities.send_zc_report &= capabilities.send_zc;
        capabilities.bundles &= capabilities.buffer_groups && capabilities.recv_multi;
    }
}

impl FromStr for Mask {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut mask = Self { text: text.into(), ..Self::default() };
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let profile = PROFILES.iter().find(|(profile, _)| *profile == name);
            let mut known = profile.is_some();
            for (feature, hidden) in FEATURES.iter().zip(&mut mask.hidden) {
                let is_it = feature.name == name;
                known |= is_it;
                *hidden |= is_it || profile.is_some_and(|(_, version)| feature.since > *version);
            }
            if !known {
                let names = FEATURES.iter().map(|feature| feature.name);
                let all: Vec<_> = names.chain(PROFILES.iter().map(|(name, _)| *name)).collect();
                return Err(format!("{VARIABLE}: nothing is called {name:?}: use {}", all.join(", ")));
            }
        }
        Ok(mask)
    }
}

impl fmt::Display for Mask {
    /// As the end of a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.hidden.contains(&true) { write!(f, "; {VARIABLE} hides {}", self.text) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Capabilities {
        Capabilities {
            waits_nonblocking: true,
            poll_multi: true,
            buffer_groups: true,
            accept_multi: true,
            recv_multi: true,
            msg_ring: true,
            send_zc: true,
            send_zc_report: true,
            bundles: true,
            incremental: true,
            min_wait: true,
            file_table: true,
        }
    }

    fn under(mask: &str) -> Capabilities {
        let mut capabilities = all();
        mask.parse::<Mask>().expect("known names").apply(&mut capabilities);
        capabilities
    }

    #[test]
    fn a_name_hides_one_capability_and_what_stands_on_it() {
        assert_eq!(under(""), all());
        assert_eq!(under("bundles, msg_ring"), Capabilities { bundles: false, msg_ring: false, ..all() });
        let without = Capabilities { buffer_groups: false, incremental: false, bundles: false, ..all() };
        assert_eq!(under("buffer_groups"), without);
        assert_eq!(under("send_zc"), Capabilities { send_zc: false, send_zc_report: false, ..all() });
        assert_eq!(under("defer_taskrun"), all(), "a flag of the set-up");
    }

    #[test]
    fn a_profile_hides_what_came_later() {
        assert_eq!(under("6.12"), Capabilities { file_table: false, ..all() });
        assert_eq!(
            under("6.6"),
            Capabilities { bundles: false, incremental: false, min_wait: false, file_table: false, ..all() }
        );
        assert_eq!(
            under("5.15"),
            Capabilities { waits_nonblocking: true, poll_multi: true, ..Capabilities::default() }
        );
        let hides = |profile: &str, name| profile.parse::<Mask>().expect("a profile").hides(name);
        assert!(hides("6.1", "no_sqarray") && !hides("6.1", "defer_taskrun") && !hides("6.6", "no_sqarray"));
    }

    #[test]
    fn each_capability_has_a_name_and_says_whether_it_is_there() {
        let of_6_1: Vec<_> = under("6.1").each().filter(|one| !one.there).map(|one| one.name).collect();
        assert_eq!(of_6_1, ["bundles", "incremental", "min_wait", "file_table"]);
        assert!(all().each().all(|one| one.there), "every field has a name");
        assert_eq!(all().each().count(), 12);
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
        let error = "recv_mutli".parse::<Mask>().unwrap_err();
        assert!(
            error.contains("\"recv_mutli\"") && error.contains("recv_multi") && error.contains("6.12"),
            "{error}"
        );
    }
}
