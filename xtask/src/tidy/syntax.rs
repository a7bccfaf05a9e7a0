//! Files that do not parse: no other check has seen their items.

use super::Finding;
use super::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let broken = tree.sources().filter_map(|(path, source)| {
        let error = source.ast.as_ref().err()?;
        let line = error.span().start().line;
        Some(Finding::new(path, line, format!("does not parse: {error}"), "correct the syntax"))
    });
    broken.collect()
}

#[cfg(test)]
mod tests {
    use super::super::lines_of;
    use super::*;

    #[test]
    fn a_file_that_does_not_parse_is_found() {
        let tree = Tree::of(&[("a.rs", "fn a() {}"), ("b.rs", "\nfn 1() {}"), ("c.rs", "fn c( {")]);
        let lines = lines_of(check, &tree);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(lines[0], "b.rs:2: does not parse: expected identifier; correct the syntax");
        assert!(lines[1].starts_with("c.rs:1: does not parse"), "{lines:?}");
    }
}
