//! Every Rust file starts with `//!`: what it is, what it promises, what it leaves
//! to others.

use super::Finding;
use super::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let bare = tree.sources().filter(|(_, source)| !has_header(&source.text));
    bare.map(|(path, _)| {
        let what = "the file does not start with a `//!` comment";
        Finding::new(path, 1, what, "say in the first line what the file is")
    })
    .collect()
}

fn has_header(text: &str) -> bool {
    text.strip_prefix("//!").is_some_and(|rest| {
        let line = rest.lines().next().unwrap_or_default();
        !line.trim().is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::super::lines_of;
    use super::*;

    #[test]
    fn a_file_without_a_first_sentence_is_found() {
        let tree = Tree::of(&[
            ("a.rs", "//! A file.\n"),
            ("b.rs", "use a;\n"),
            ("c.rs", "//!\n//! Late.\n"),
            ("d.rs", "/// Of the next item.\nfn d() {}\n"),
            ("e.rs", "\n//! After a line.\n"),
            ("f.rs", ""),
        ]);
        let cure = "the file does not start with a `//!` comment; \
                    say in the first line what the file is";
        let expected = ["b", "c", "d", "e", "f"].map(|name| format!("{name}.rs:1: {cure}"));
        assert_eq!(lines_of(check, &tree), expected);
    }
}
