//! Makes a failing tape smaller: shorter, and with more zeros, which are harmless choices.

/// Cuts the end off and sets parts to zero as long as `fails` still says so. Calls it about
/// `entries.len() * 2` times at the most, fewer if whole parts do not matter.
///
/// # Panics
/// If the tape does not fail to begin with.
///
/// # Examples
/// ```
/// let fails = |entries: &[u32]| entries.get(2).is_some_and(|entry| *entry > 10);
/// assert_eq!(coronet_sim::shrink(vec![5, 6, 70, 8, 9], fails), [0, 0, 70]);
/// ```
pub fn shrink(mut entries: Vec<u32>, mut fails: impl FnMut(&[u32]) -> bool) -> Vec<u32> {
    assert!(fails(&entries), "a tape that does not fail cannot be made smaller");
    let mut part = entries.len();
    while part > 0 {
        while part <= entries.len() && fails(&entries[..entries.len() - part]) {
            entries.truncate(entries.len() - part);
        }
        part /= 2;
    }
    part = entries.len() / 2;
    while part > 0 {
        for start in (0..entries.len()).step_by(part) {
            let end = entries.len().min(start + part);
            if entries[start..end].iter().all(|entry| *entry == 0) {
                continue;
            }
            let mut simpler = entries.clone();
            simpler[start..end].fill(0);
            if fails(&simpler) {
                entries = simpler;
            }
        }
        part /= 2;
    }
    entries
}
