//! No Rust file is longer than one can keep in mind, tests included.

use super::Finding;
use super::tree::{CONFIG, Tree};

/// Lines, comments and blank ones too.
const LINES_MAX: usize = 500;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let allowed = &tree.config.long_files;
    let mut findings = Vec::new();
    for (path, source) in tree.sources() {
        let lines = source.text.lines().count();
        if lines > LINES_MAX && !allowed.contains_key(path) {
            findings.push(Finding::new(
                path,
                LINES_MAX + 1,
                format!("{lines} lines, more than {LINES_MAX}"),
                format!("split the file, or list it with a reason in {CONFIG} [long_files]"),
            ));
        }
    }
    for (path, reason) in allowed {
        let lines = tree.text(path).map_or(0, |text| text.lines().count());
        if lines <= LINES_MAX {
            let what = format!("{path} is listed as long and has {lines} lines");
            findings.push(Finding::new(CONFIG, tree.config_line(path), what, "remove the entry"));
        } else if reason.trim().is_empty() {
            let what = format!("{path} is listed without a reason");
            findings.push(Finding::new(CONFIG, tree.config_line(path), what, "say why"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::lines_of;
    use super::*;

    fn text_of(lines: usize) -> String {
        "//! X.\n".repeat(lines)
    }

    #[test]
    fn a_file_over_the_limit_is_found_unless_listed() {
        let (fits, long) = (text_of(LINES_MAX), text_of(LINES_MAX + 1));
        let files = [("a.rs", &*fits), ("b.rs", &*long), ("c.rs", &*long), ("d.md", &*long)];
        let tree = Tree::with_config("[long_files]\n\"c.rs\" = \"one table\"", &files);
        let expected = "b.rs:501: 501 lines, more than 500; \
                        split the file, or list it with a reason in xtask/tidy.toml [long_files]";
        assert_eq!(lines_of(check, &tree), [expected]);
    }

    #[test]
    fn an_entry_that_is_not_needed_or_not_explained_is_found() {
        let (fits, long) = (text_of(3), text_of(600));
        let config = "[long_files]\n\"a.rs\" = \"x\"\n\"b.rs\" = \"\"\n\"gone.rs\" = \"x\"";
        let tree = Tree::with_config(config, &[("a.rs", &*fits), ("b.rs", &*long)]);
        assert_eq!(
            lines_of(check, &tree),
            [
                "xtask/tidy.toml:2: a.rs is listed as long and has 3 lines; remove the entry",
                "xtask/tidy.toml:3: b.rs is listed without a reason; say why",
                "xtask/tidy.toml:4: gone.rs is listed as long and has 0 lines; remove the entry",
            ]
        );
    }
}
