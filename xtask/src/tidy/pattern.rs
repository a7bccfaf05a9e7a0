//! Paths with `*`, which stands for any part of one component.

/// Whether `path` is one that `pattern` describes.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some(pattern), Some(path)) if component_matches(pattern, path) => {}
            (Some(_), Some(_)) | (Some(_), None) | (None, Some(_)) => return false,
        }
    }
}

fn component_matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|tail| {
            let mut cuts = (0..=tail.len()).filter(|&cut| tail.is_char_boundary(cut));
            cuts.any(|cut| component_matches(rest, &tail[cut..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stays_within_its_component() {
        assert!(matches("a/*/c.rs", "a/b/c.rs"));
        assert!(!matches("a/*/c.rs", "a/b/b/c.rs"));
        assert!(!matches("a/*/c.rs", "a/c.rs"));
        assert!(!matches("a/*", "a"));
    }

    #[test]
    fn a_star_may_be_a_part_of_a_component() {
        assert!(matches("a/00*-*.md", "a/0001-name.md"));
        assert!(!matches("a/00*-*.md", "a/1-name.md"));
        assert!(matches("a.rs", "a.rs"));
    }
}
