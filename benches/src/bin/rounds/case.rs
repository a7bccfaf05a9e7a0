//! A case: message size, connections, messages in flight.

use std::fmt;
use std::str::FromStr;

/// What the generator is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) size: usize,
    pub(crate) connections: usize,
    pub(crate) pipeline: usize,
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not SIZExCONNECTIONS or SIZExCONNECTIONSxPIPELINE");
        let parts: Vec<usize> = text.split('x').map(number).collect::<Option<_>>().ok_or_else(wrong)?;
        let (size, connections, pipeline) = match parts[..] {
            [size, connections] => (size, connections, 1),
            [size, connections, pipeline] => (size, connections, pipeline),
            _ => return Err(wrong()),
        };
        if size == 0 || connections == 0 || pipeline == 0 {
            return Err(wrong());
        }
        Ok(Self { size, connections, pipeline })
    }
}

fn number(text: &str) -> Option<usize> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1 << 10),
        b'm' | b'M' => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.size >= 1024 && self.size.is_multiple_of(1024) {
            write!(f, "{}K", self.size / 1024)?;
        } else {
            write!(f, "{}", self.size)?;
        }
        write!(f, "x{}x{}", self.connections, self.pipeline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_reads_as_it_prints() {
        for text in ["64x50x1", "16Kx8x16", "256Kx4x1"] {
            assert_eq!(text.parse::<Case>().map(|case| case.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("64x50".parse::<Case>(), "64x50x1".parse::<Case>());
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "64", "64x", "x50", "0x50", "64x50x0", "64x50x1x1", "64x50x-1", "Kx1"] {
            assert!(text.parse::<Case>().is_err(), "{text}");
        }
    }
}
