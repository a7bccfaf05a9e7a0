//! What some kernels do wrong although the operation works when it is tried: by their version, in one table.
//!
//! A faulty capability counts as absent. Reads again and again (`IORING_OP_READ_MULTISHOT`) on incremental groups
//! are known to be faulty, too; nothing here submits one.

use crate::backend::Capabilities;

/// Major, minor, patch.
type Version = (u16, u16, u16);

/// A fault, and what is left unused because of it.
struct Quirk {
    /// The first version that has it.
    from: Version,
    /// The first one after it that has not.
    before: Version,
    hide: fn(&mut Capabilities),
}

const QUIRKS: [Quirk; 1] = [
    // The buffers of one bundle are filled in another order than they are reported in.
    Quirk { from: (6, 13, 11), before: (6, 15, 0), hide: |can| can.bundles = false },
];

/// Takes away what this kernel does wrong. A release that cannot be read has no quirks.
pub(crate) fn apply(release: &str, capabilities: &mut Capabilities) {
    let Some(version) = version_of(release) else { return };
    for quirk in QUIRKS.iter().filter(|quirk| (quirk.from..quirk.before).contains(&version)) {
        (quirk.hide)(capabilities);
    }
}

/// The numbers that a release such as `6.14.0-rc3` or `6.13.11+deb13-amd64` begins with.
fn version_of(release: &str) -> Option<Version> {
    let numbers = release.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
    let mut numbers = numbers.split('.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    let patch = numbers.next().and_then(|patch| patch.parse().ok()).unwrap_or(0);
    Some((major, minor, patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_begins_with_its_version() {
        assert_eq!(version_of("6.18.2"), Some((6, 18, 2)));
        assert_eq!(version_of("6.14.0-rc3"), Some((6, 14, 0)));
        assert_eq!(version_of("6.13.11+deb13-amd64"), Some((6, 13, 11)));
        assert_eq!(version_of("6.14"), Some((6, 14, 0)));
        assert_eq!(version_of("5.15-generic"), Some((5, 15, 0)));
        assert_eq!(version_of("unknown"), None);
        assert_eq!(version_of(""), None);
    }

    #[test]
    fn bundles_are_left_alone_where_they_come_out_of_order() {
        let has_bundles = |release| {
            let mut can = Capabilities { bundles: true, incremental: true, ..Capabilities::default() };
            apply(release, &mut can);
            assert!(can.incremental, "nothing else goes with it");
            can.bundles
        };
        assert!(["6.10.0", "6.12.40", "6.13.10", "6.15.0", "6.18.2", "odd"].into_iter().all(has_bundles));
        assert!(!["6.13.11", "6.13.12-arch1", "6.14.0", "6.14.11"].into_iter().any(has_bundles));
    }
}
