//! What a server and the kernel hold in memory at one moment.

use std::collections::BTreeMap;
use std::fs;
use std::io;

/// Memory in bytes.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Resident memory of the process; zero if none was named.
    pub rss: u64,
    /// Its proportional share.
    pub pss: u64,
    /// Memory of the kernel that it cannot give back.
    pub unreclaimable: u64,
    /// Stacks of threads in the kernel.
    pub stacks: u64,
    /// Bytes per slab cache; empty if they cannot be read.
    pub slabs: BTreeMap<String, u64>,
}

impl Sample {
    /// Reads all of it, for the process `server` if there is one.
    ///
    /// # Errors
    /// There is no such process, or no `/proc`.
    pub fn take(server: Option<u32>) -> io::Result<Self> {
        let rollup = match server {
            Some(pid) => fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?,
            None => String::new(),
        };
        let machine = fs::read_to_string("/proc/meminfo")?;
        Ok(Self {
            rss: kibibytes(&rollup, "Rss:"),
            pss: kibibytes(&rollup, "Pss:"),
            unreclaimable: kibibytes(&machine, "SUnreclaim:"),
            stacks: kibibytes(&machine, "KernelStack:"),
            // Only the administrator may read it.
            slabs: fs::read_to_string("/proc/slabinfo").map(|text| slabs(&text)).unwrap_or_default(),
        })
    }
}

fn kibibytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}

/// Objects in use times their size, per cache. The first two lines are a version and a heading.
fn slabs(text: &str) -> BTreeMap<String, u64> {
    let rows = text.lines().skip(2).filter_map(|line| {
        let mut fields = line.split_whitespace();
        let name = fields.next()?.to_owned();
        let active: u64 = fields.next()?.parse().ok()?;
        let size: u64 = fields.nth(1)?.parse().ok()?;
        Some((name, active * size))
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_the_lines_of_the_kernel() {
        assert_eq!(kibibytes("Rss:   12 kB\nPss:    3 kB\n", "Pss:"), 3072);
        assert_eq!(kibibytes("Rss:   12 kB\n", "Pss:"), 0);
        let text = "slabinfo - version: 2.1\n# name <active_objs> <num_objs> <objsize>\n\
                    TCP  10 20 2496 13 8 : tunables 0 0 0 : slabdata 2 2 0\n";
        assert_eq!(slabs(text), BTreeMap::from([("TCP".to_owned(), 24960)]));
    }
}
