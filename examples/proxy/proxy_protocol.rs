//! The PROXY protocol, versions 1 and 2: who the client is, told in front of its bytes.
//!
//! The formats are those of the `ppp` crate; here is how much of a stream belongs to a header, and
//! what is said of a client whose addresses are of two families. Waiting for the bytes is left to others.

use std::io;
use std::net::SocketAddr;

use clap::ValueEnum;
use ppp::{PartialResult, v1, v2};
use serde::Deserialize;

/// On which side a header is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ProxyProtocol {
    /// On neither.
    #[default]
    Off,
    /// Clients have to begin with a header.
    In,
    /// Upstreams get a header.
    Out,
    /// Both.
    Both,
}

impl ProxyProtocol {
    pub(crate) fn is_in(self) -> bool {
        matches!(self, Self::In | Self::Both)
    }

    pub(crate) fn is_out(self) -> bool {
        matches!(self, Self::Out | Self::Both)
    }
}

/// The version that upstreams get; clients may use either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
pub(crate) enum Version {
    /// A line of text.
    #[value(name = "v1")]
    #[serde(rename = "v1")]
    V1,
    /// Binary.
    #[default]
    #[value(name = "v2")]
    #[serde(rename = "v2")]
    V2,
}

/// The two ends of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
}

/// What the bytes at the start of a stream are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A header of `len` bytes; without addresses, those of the connection hold.
    Header { len: usize, ends: Option<Ends> },
    /// The start of one, maybe.
    More,
    /// No header.
    Bad,
}

/// The signature of version 2.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The start of version 1.
const PREFIX: &[u8] = b"PROXY ";
/// A line of version 1, its end included, has at most 107 bytes.
const LINE_MAX: usize = 107;
/// The format allows 64 KiB of extras; a client that needs more than this has something else in mind.
pub(crate) const HEADER_MAX: usize = 4096;

/// Reads the header at the start of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(one, other)| one == other);
    if begins(SIGNATURE) {
        parse_binary(bytes)
    } else if begins(PREFIX) {
        parse_line(bytes)
    } else {
        Parsed::Bad
    }
}

fn parse_binary(bytes: &[u8]) -> Parsed {
    let header = v2::Header::try_from(bytes);
    if header.is_incomplete() {
        return if bytes.len() < HEADER_MAX { Parsed::More } else { Parsed::Bad };
    }
    let Ok(header) = header else { return Parsed::Bad };
    let ends = match (header.command, header.addresses) {
        (v2::Command::Proxy, v2::Addresses::IPv4(ip)) => Some(Ends {
            source: (ip.source_address, ip.source_port).into(),
            destination: (ip.destination_address, ip.destination_port).into(),
        }),
        (v2::Command::Proxy, v2::Addresses::IPv6(ip)) => Some(Ends {
            source: (ip.source_address, ip.source_port).into(),
            destination: (ip.destination_address, ip.destination_port).into(),
        }),
        // A check of the sender's own, or a client that is not on the internet.
        (v2::Command::Local, _)
        | (v2::Command::Proxy, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => None,
    };
    Parsed::Header { len: header.len(), ends }
}

fn parse_line(bytes: &[u8]) -> Parsed {
    // Only a whole line is parsed: what is incomplete in the middle of one cannot be told from wrong.
    let Some(end) = bytes.iter().take(LINE_MAX).position(|&byte| byte == b'\n') else {
        return if bytes.len() < LINE_MAX { Parsed::More } else { Parsed::Bad };
    };
    let len = end + 1;
    let Ok(header) = v1::Header::try_from(&bytes[..len]) else { return Parsed::Bad };
    let ends = match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(ip) => Some(Ends {
            source: (ip.source_address, ip.source_port).into(),
            destination: (ip.destination_address, ip.destination_port).into(),
        }),
        v1::Addresses::Tcp6(ip) => Some(Ends {
            source: (ip.source_address, ip.source_port).into(),
            destination: (ip.destination_address, ip.destination_port).into(),
        }),
    };
    Parsed::Header { len, ends }
}

/// The header for an upstream.
///
/// # Errors
/// None that is known: those of the format's builder.
pub(crate) fn header(version: Version, ends: Ends) -> io::Result<Vec<u8>> {
    // An IPv4 client of an IPv6 socket and the like: one family for both, or no addresses at all.
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let ends = (canonical(ends.source), canonical(ends.destination));
    match version {
        // Without the words for each case, mixed families come out as "UNKNOWN".
        Version::V1 => {
            let addresses = v1::Addresses::from(ends).to_string();
            Ok(format!("{}\r\n", addresses.trim_end()).into_bytes())
        }
        Version::V2 => {
            v2::Builder::with_addresses(v2::Version::Two | v2::Command::Proxy, v2::Protocol::Stream, ends)
                .build()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(source: &str, destination: &str) -> Ends {
        Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    #[test]
    fn both_versions_come_back_as_they_went_whatever_follows_and_however_they_are_cut() {
        for ends in [ends("10.0.0.1:1234", "10.0.0.2:80"), ends("[2001:db8::1]:1", "[2001:db8::2]:65535")] {
            for version in [Version::V1, Version::V2] {
                let header = header(version, ends).unwrap();
                let expected = Parsed::Header { len: header.len(), ends: Some(ends) };
                assert_eq!(parse(&header), expected, "{header:?}");
                let followed = [&header[..], b"\r\n\xff\0 bytes"].concat();
                assert_eq!(parse(&followed), expected);
                for cut in 0..header.len() {
                    assert_eq!(parse(&header[..cut]), Parsed::More, "{cut} bytes of {header:?}");
                }
            }
        }
    }

    #[test]
    fn version_1_is_the_line_of_the_specification() {
        let header = header(Version::V1, ends("192.168.0.1:56324", "192.168.0.11:443")).unwrap();
        assert_eq!(String::from_utf8(header).unwrap(), "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n");
    }

    #[test]
    fn a_mapped_address_counts_as_the_family_it_stands_for() {
        let mapped = ends("[::ffff:10.0.0.1]:1", "10.0.0.2:2");
        for version in [Version::V1, Version::V2] {
            let Parsed::Header { ends: parsed, .. } = parse(&header(version, mapped).unwrap()) else {
                panic!()
            };
            assert_eq!(parsed, Some(ends("10.0.0.1:1", "10.0.0.2:2")));
        }
    }

    #[test]
    fn without_usable_addresses_there_is_a_header_all_the_same() {
        let mixed = ends("10.0.0.1:1", "[2001:db8::2]:2");
        for version in [Version::V1, Version::V2] {
            let header = header(version, mixed).unwrap();
            assert_eq!(parse(&header), Parsed::Header { len: header.len(), ends: None }, "{header:?}");
        }
        let line = b"PROXY UNKNOWN ffff:f...f:ffff 65535 65535\r\n";
        assert_eq!(parse(line), Parsed::Header { len: line.len(), ends: None });
        let local = [SIGNATURE, &[0x20, 0, 0, 0]].concat();
        assert_eq!(parse(&local), Parsed::Header { len: 16, ends: None });
    }

    #[test]
    fn extras_belong_to_the_header() {
        let mut header = header(Version::V2, ends("10.0.0.1:1", "10.0.0.2:2")).unwrap();
        header[15] += 5;
        header.extend([4, 0, 2, 9, 9]);
        let len = header.len();
        header.extend(b"data");
        assert!(matches!(parse(&header), Parsed::Header { len: parsed, .. } if parsed == len));
    }

    #[test]
    fn what_is_no_header_is_bad_at_once() {
        let long_line = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
        let mut claims_much = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
        claims_much.resize(HEADER_MAX, 0);
        for bad in [
            b"GET / HTTP/1.1\r\n".as_slice(),
            b"PROXY TCP4 nonsense\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 70000\r\n",
            b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c000000000000",
            b"\r\n\r\nX",
            b"x",
            &long_line,
            &claims_much,
        ] {
            assert_eq!(parse(bad), Parsed::Bad, "{:?}", String::from_utf8_lossy(bad));
        }
    }
}
