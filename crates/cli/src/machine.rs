//! What the machine says about its CPUs. It decides nothing.

use std::fs;

use rustix::thread::{CpuSet, sched_getaffinity};

/// The CPUs that this process may use.
pub(crate) fn allowed_cpus() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

/// The CPUs that share a core with `cpu`, itself included.
pub(crate) fn siblings(cpu: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    let list = first_line(&path).map(|text| cpu_list(&text)).unwrap_or_default();
    if list.is_empty() { vec![cpu] } else { list }
}

/// `0,2-3` as numbers; what cannot be read is left out.
pub(crate) fn cpu_list(text: &str) -> Vec<usize> {
    let range = |part: &str| -> Option<std::ops::RangeInclusive<usize>> {
        match part.split_once('-') {
            Some((first, last)) => Some(first.parse().ok()?..=last.parse().ok()?),
            None => part.parse().ok().map(|one| one..=one),
        }
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

/// The first line of a file, if it can be read and says something.
pub(crate) fn first_line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().next().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
}

/// The value of `name` in the lines `name: value` of a file.
pub(crate) fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_cpus_reads_as_numbers() {
        assert_eq!(cpu_list("0,2-4\n"), [0, 2, 3, 4]);
        assert_eq!(cpu_list(""), [0usize; 0]);
    }
}
