//! `unsafe` only in files that say why, citing invariants that are written down.
//!
//! The inventory is `[unsafe_files]` in `xtask/tidy.toml`. In each listed file a
//! `// SAFETY:` comment or a `# Safety` section cites at least one `[invariant]`, and
//! every one it cites is defined in docs/SAFETY.md, in a heading or in bold. That
//! each block *has* a comment is clippy's job (`undocumented_unsafe_blocks`).

use std::collections::BTreeSet;

use proc_macro2::TokenTree;

use super::Finding;
use super::tokens::{for_each_level, is_word, line_of};
use super::tree::{CONFIG, Source, Tree};

/// Where invariants are defined.
const DEFINITIONS: &str = "docs/SAFETY.md";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let listed = &tree.config.unsafe_files;
    let defined = tree.text(DEFINITIONS).map(definitions);
    let mut findings = Vec::new();
    for (path, source) in tree.sources() {
        let Some(line) = first_unsafe(source) else { continue };
        if !listed.contains_key(path) {
            let cure = format!("find a safe way, or list the file with a reason in {CONFIG} [unsafe_files]");
            findings.push(Finding::new(path, line, "`unsafe` in a file that is not listed", cure));
        }
        let cited = citations(&source.text);
        if cited.is_empty() {
            let what = "no SAFETY comment cites an invariant";
            let cure = format!("name the one in {DEFINITIONS} that makes this sound, in brackets");
            findings.push(Finding::new(path, line, what, cure));
        }
        for (line, name) in cited {
            if defined.as_ref().is_some_and(|defined| !defined.contains(&name)) {
                let what = format!("[{name}] is not defined in {DEFINITIONS}");
                let cure = "define it there, as a heading or in bold, or cite one that is";
                findings.push(Finding::new(path, line, what, cure));
            }
        }
    }
    for (path, reason) in listed {
        let line = tree.config_line(path);
        if tree.source(path).and_then(first_unsafe).is_none() {
            let what = format!("{path} is listed and has no `unsafe`");
            findings.push(Finding::new(CONFIG, line, what, "remove the entry"));
        } else if reason.trim().is_empty() {
            let what = format!("{path} is listed without a reason");
            findings.push(Finding::new(CONFIG, line, what, "say why"));
        }
    }
    if defined.is_none() && !listed.is_empty() {
        let what = "the file that defines the invariants is missing";
        findings.push(Finding::new(DEFINITIONS, 1, what, "write it"));
    }
    findings
}

/// The first line with the keyword, macros included, comments and strings not.
fn first_unsafe(source: &Source) -> Option<usize> {
    let mut lines = Vec::new();
    for_each_level(&source.tokens, &mut |level: &[TokenTree]| {
        lines.extend(level.iter().filter(|token| is_word(token, "unsafe")).map(line_of));
    });
    lines.into_iter().min()
}

/// The invariants that SAFETY comments and `# Safety` sections cite, with lines.
fn citations(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut place = Place::Elsewhere;
    for (index, line) in text.lines().enumerate() {
        let (comment, rest) = line_kind(line);
        place = match (comment, place) {
            (Comment::Plain, _) if rest.starts_with("SAFETY:") => Place::Comment,
            (Comment::Plain, Place::Comment) => Place::Comment,
            (Comment::Doc, _) if rest == "# Safety" => Place::Section,
            (Comment::Doc, Place::Section) if !rest.starts_with("# ") => Place::Section,
            (Comment::Plain | Comment::Doc | Comment::None, _) => Place::Elsewhere,
        };
        if place != Place::Elsewhere {
            found.extend(names(rest).map(|name| (index + 1, name)));
        }
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Comment,
    Section,
    Elsewhere,
}

#[derive(Clone, Copy)]
enum Comment {
    Plain,
    Doc,
    None,
}

/// The kind of comment on a line, and what it says. A comment after code counts if
/// it starts with `SAFETY:`.
fn line_kind(line: &str) -> (Comment, &str) {
    let line = line.trim_start();
    if let Some(rest) = line.strip_prefix("///").or(line.strip_prefix("//!")) {
        (Comment::Doc, rest.trim())
    } else if let Some(rest) = line.strip_prefix("//") {
        (Comment::Plain, rest.trim())
    } else if let Some(start) = line.find("// SAFETY:") {
        (Comment::Plain, line[start + 2..].trim())
    } else {
        (Comment::None, "")
    }
}

/// Names in brackets: lower case words joined by hyphens, which no Rust index and
/// no documentation link is.
fn names(text: &str) -> impl Iterator<Item = String> {
    text.split('[').skip(1).filter_map(|rest| {
        let (name, _) = rest.split_once(']')?;
        let words = name.split('-').all(|word| {
            word.starts_with(|c: char| c.is_ascii_lowercase())
                && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        });
        (words && name.contains('-')).then(|| name.to_string())
    })
}

/// Names in brackets that a heading or bold text introduces.
fn definitions(markdown: &str) -> BTreeSet<String> {
    let mut defined = BTreeSet::new();
    for line in markdown.lines() {
        if line.starts_with('#') {
            defined.extend(names(line));
        }
        // Every second part between `**` is bold.
        for bold in line.split("**").skip(1).step_by(2) {
            defined.extend(names(bold));
        }
    }
    defined
}

#[cfg(test)]
mod tests {
    use super::super::lines_of;
    use super::*;

    const LIST: &str = "[unsafe_files]\n\"a.rs\" = \"the loan\"";
    const SAFETY: (&str, &str) = (DEFINITIONS, "# Safety\n## [loan-pinned]\n- **[token-unique]** one\n");
    const GOOD: &str = "// SAFETY: by [loan-pinned] and\n// also [token-unique].\nunsafe { f() }";

    fn found(config: &str, files: &[(&str, &str)]) -> Vec<String> {
        let in_function = |text: &str| format!("fn f() {{\n{text}\n}}");
        let texts: Vec<_> = files
            .iter()
            .map(|&(path, text)| (path, if path.ends_with(".rs") { in_function(text) } else { text.into() }))
            .collect();
        let files: Vec<_> = texts.iter().map(|(path, text)| (*path, text.as_str())).collect();
        lines_of(check, &Tree::with_config(config, &files))
    }

    #[test]
    fn a_listed_file_that_cites_defined_invariants_is_fine() {
        assert_eq!(found(LIST, &[("a.rs", GOOD), SAFETY]), [""; 0]);
        let after_code = "unsafe { f() } // SAFETY: [loan-pinned]";
        assert_eq!(found(LIST, &[("a.rs", after_code), SAFETY]), [""; 0]);
        let section =
            "/// # Safety\n/// - Alone. [token-unique]\n/// # Panics\n/// In [no-case].\nunsafe fn g() {}";
        assert_eq!(found(LIST, &[("a.rs", section), SAFETY]), [""; 0]);
    }

    #[test]
    fn unsafe_that_is_not_listed_is_found_also_inside_macros() {
        let expected = "b.rs:4: `unsafe` in a file that is not listed; find a safe way, or list \
                        the file with a reason in xtask/tidy.toml [unsafe_files]";
        assert_eq!(found(LIST, &[("a.rs", GOOD), ("b.rs", GOOD), SAFETY]), [expected]);
        let hidden = "// SAFETY: [loan-pinned]\nm! { (\nunsafe { f() }) }";
        assert_eq!(found(LIST, &[("a.rs", GOOD), ("b.rs", hidden), SAFETY]), [expected]);
    }

    #[test]
    fn words_in_strings_and_comments_are_not_unsafe_code() {
        let text = "// unsafe\nlet a = \"unsafe { }\"; let unsafe_code = 1;";
        assert_eq!(found("", &[("b.rs", text)]), [""; 0]);
    }

    #[test]
    fn an_entry_without_unsafe_or_without_a_reason_is_found() {
        let config = "[unsafe_files]\n\"a.rs\" = \"\"\n\"b.rs\" = \"x\"";
        assert_eq!(
            found(config, &[("a.rs", GOOD), ("b.rs", "g()"), SAFETY]),
            [
                "xtask/tidy.toml:2: a.rs is listed without a reason; say why",
                "xtask/tidy.toml:3: b.rs is listed and has no `unsafe`; remove the entry",
            ]
        );
    }

    #[test]
    fn a_file_that_cites_nothing_is_found() {
        let text = "// [loan-pinned] is named too early.\n\n// SAFETY: index [0] of [u8].\nunsafe { f() }";
        let expected = "a.rs:5: no SAFETY comment cites an invariant; \
                        name the one in docs/SAFETY.md that makes this sound, in brackets";
        assert_eq!(found(LIST, &[("a.rs", text), SAFETY]), [expected]);
    }

    #[test]
    fn an_invariant_that_nobody_defined_is_found() {
        let text = "// SAFETY: [loan-pinned] and\n// [loan-lost].\nunsafe { f() }";
        let expected = "a.rs:3: [loan-lost] is not defined in docs/SAFETY.md; \
                        define it there, as a heading or in bold, or cite one that is";
        assert_eq!(found(LIST, &[("a.rs", text), SAFETY]), [expected]);
    }

    #[test]
    fn mentioning_an_invariant_does_not_define_it() {
        let defined = definitions("See [a-b].\n# [c-d] x\n**[e-f]** and [g-h] **bold `[i-j]`**\n");
        assert_eq!(defined.into_iter().collect::<Vec<_>>(), ["c-d", "e-f", "i-j"]);
    }

    #[test]
    fn a_missing_safety_page_is_one_finding() {
        let expected = "docs/SAFETY.md:1: the file that defines the invariants is missing; write it";
        assert_eq!(found(LIST, &[("a.rs", GOOD)]), [expected]);
    }
}
