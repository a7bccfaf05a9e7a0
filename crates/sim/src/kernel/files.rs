//! Files, and what a crash leaves of them.
//!
//! What was written is seen by every reader at once, and is on the disk only after a sync. Of
//! what was not synced, a crash keeps each write, loses it, or tears it between sectors.

use std::collections::BTreeMap;

use crate::tape::Tape;

/// A disk writes so many bytes at once.
const SECTOR_BYTES: usize = 512;

/// A descriptor of a file.
#[derive(Clone, Debug)]
pub(crate) struct OpenFile {
    pub(crate) name: String,
}

#[derive(Debug, Default)]
struct Content {
    /// What readers see.
    seen: Vec<u8>,
    /// What was synced.
    durable: Vec<u8>,
    /// What was written since, in order.
    unsynced: Vec<(usize, Vec<u8>)>,
}

/// The files of one host.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    files: BTreeMap<String, Content>,
}

impl Disk {
    pub(crate) fn open(&mut self, name: &str) -> OpenFile {
        self.files.entry(name.to_owned()).or_default();
        OpenFile { name: name.to_owned() }
    }

    fn content(&mut self, file: &OpenFile) -> &mut Content {
        self.files.entry(file.name.clone()).or_default()
    }

    pub(crate) fn len(&mut self, file: &OpenFile) -> usize {
        self.content(file).seen.len()
    }

    pub(crate) fn read(&mut self, file: &OpenFile, at: usize, count: usize) -> Vec<u8> {
        let seen = &self.content(file).seen;
        let seen = seen.get(at..).unwrap_or_default();
        seen[..count.min(seen.len())].to_vec()
    }

    pub(crate) fn write(&mut self, file: &OpenFile, at: usize, bytes: &[u8]) {
        let content = self.content(file);
        place(&mut content.seen, at, bytes);
        content.unsynced.push((at, bytes.to_vec()));
    }

    pub(crate) fn sync(&mut self, file: &OpenFile) {
        let content = self.content(file);
        content.durable.clone_from(&content.seen);
        content.unsynced.clear();
    }

    /// The power fails.
    pub(crate) fn crash(&mut self, tape: &mut Tape) {
        for content in self.files.values_mut() {
            for (at, bytes) in content.unsynced.drain(..) {
                match tape.below(3) {
                    0 => place(&mut content.durable, at, &bytes),
                    1 => {}
                    _ => tear(&mut content.durable, at, &bytes, tape),
                }
            }
            content.seen.clone_from(&content.durable);
        }
    }
}

fn place(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[at..end].copy_from_slice(bytes);
}

/// Keeps some of the sectors that a write touched, in no order.
fn tear(content: &mut Vec<u8>, at: usize, bytes: &[u8], tape: &mut Tape) {
    let mut start = 0;
    while start < bytes.len() {
        let end = bytes.len().min((at + start) / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES - at);
        if tape.below(2) == 0 {
            place(content, at + start, &bytes[start..end]);
        }
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_survives_every_crash_and_the_rest_may_be_kept_lost_or_torn() {
        let (mut kept, mut lost, mut torn) = (0, 0, 0);
        for seed in 0..100 {
            let mut disk = Disk::default();
            let file = disk.open("log");
            disk.write(&file, 0, &[1; 1024]);
            disk.sync(&file);
            disk.write(&file, 100, &[2; 900]);
            disk.crash(&mut Tape::from_seed(seed));
            let left = disk.read(&file, 0, 2000);
            assert_eq!(left.len(), 1024);
            assert!(left[..100].iter().chain(&left[1000..]).all(|byte| *byte == 1));
            match left[100..1000].iter().filter(|byte| **byte == 2).count() {
                900 => kept += 1,
                0 => lost += 1,
                count => {
                    assert!(count == 412 || count == 488, "torn between sectors, not at byte {count}");
                    torn += 1;
                }
            }
        }
        assert!(kept > 0 && lost > 0 && torn > 0, "{kept} kept, {lost} lost, {torn} torn");
    }
}
