//! What must not be left in the code: `todo!`, `unimplemented!`, `dbg!`, and tests
//! that do not run.
//!
//! It looks at tokens, so comments and strings may name these words, and macros
//! hide nothing.

use proc_macro2::{Delimiter, Group, TokenTree};

use super::Finding;
use super::tokens::{for_each_level, is_sign, is_word, line_of};
use super::tree::Tree;

const MACROS: [(&str, &str); 3] = [
    ("todo", "write the code, or return an error that says what is missing"),
    ("unimplemented", "write the code, or return an error that says what is missing"),
    ("dbg", "remove it"),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in tree.sources() {
        for_each_level(&source.tokens, &mut |level| {
            for call in level.windows(3) {
                // A group after the sign tells `todo!()` from `todo != x`.
                for (name, cure) in MACROS {
                    if is_word(&call[0], name)
                        && is_sign(&call[1], '!')
                        && matches!(call[2], TokenTree::Group(_))
                    {
                        let line = line_of(&call[0]);
                        findings.push(Finding::new(path, line, format!("`{name}!`"), cure));
                    }
                }
            }
            for pair in level.windows(2) {
                let Some(attribute) = attribute(pair) else { continue };
                let line = line_of(&pair[0]);
                if ignores_test(attribute) {
                    let cure = "make the test pass everywhere, or print and count a SKIP";
                    findings.push(Finding::new(path, line, "`#[ignore]`", cure));
                } else if ignores_example(attribute) {
                    let what = "an example marked `ignore` is never compiled";
                    let cure = "let it compile, with `no_run` if it must not run";
                    findings.push(Finding::new(path, line, what, cure));
                }
            }
        });
    }
    findings
}

/// The brackets after `#`. An inner attribute, `#![...]`, is seen as `!` and brackets.
fn attribute(pair: &[TokenTree]) -> Option<&Group> {
    match &pair[1] {
        TokenTree::Group(group)
            if group.delimiter() == Delimiter::Bracket
                && (is_sign(&pair[0], '#') || is_sign(&pair[0], '!')) =>
        {
            Some(group)
        }
        TokenTree::Group(_) | TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => None,
    }
}

/// `#[ignore]`, `#[ignore = "..."]`, `#[cfg_attr(..., ignore)]`.
fn ignores_test(attribute: &Group) -> bool {
    let tokens: Vec<_> = attribute.stream().into_iter().collect();
    match tokens.as_slice() {
        [first, ..] if is_word(first, "ignore") => true,
        [first, TokenTree::Group(inner), ..] if is_word(first, "cfg_attr") => {
            inner.stream().into_iter().any(|token| is_word(&token, "ignore"))
        }
        _ => false,
    }
}

/// A doc comment that opens a code block with `ignore` among its words.
fn ignores_example(attribute: &Group) -> bool {
    let mut tokens = attribute.stream().into_iter();
    if !tokens.next().is_some_and(|first| is_word(&first, "doc")) {
        return false;
    }
    let Some(TokenTree::Literal(text)) = tokens.nth(1) else {
        return false;
    };
    let Ok(text) = syn::parse_str::<syn::LitStr>(&text.to_string()) else {
        return false;
    };
    text.value().lines().any(|line| {
        let words = line.trim().strip_prefix("```");
        words.is_some_and(|words| words.split([',', ' ']).any(|word| word.starts_with("ignore")))
    })
}

#[cfg(test)]
mod tests {
    use super::super::lines_of;
    use super::*;

    fn places(text: &str) -> Vec<String> {
        let lines = lines_of(check, &Tree::of(&[("a.rs", text)]));
        lines.into_iter().map(|line| line.split(';').next().unwrap().to_string()).collect()
    }

    #[test]
    fn unfinished_code_is_found_also_inside_macros() {
        assert_eq!(
            places("fn a() { todo!() }\nfn b() { vec![dbg!(1)]; }\nfn c() { unimplemented!(\"x\") }"),
            ["a.rs:1: `todo!`", "a.rs:2: `dbg!`", "a.rs:3: `unimplemented!`"]
        );
    }

    #[test]
    fn tests_that_do_not_run_are_found() {
        let text = "#[ignore]\nfn a() {}\n#[ignore = \"slow\"]\nfn b() {}\n\
                    #[cfg_attr(miri, ignore)]\nfn c() {}";
        let expected = ["a.rs:1: `#[ignore]`", "a.rs:3: `#[ignore]`", "a.rs:5: `#[ignore]`"];
        assert_eq!(places(text), expected);
    }

    #[test]
    fn examples_that_are_never_compiled_are_found() {
        let text = "//! A.\n//! ```ignore\n//! a\n//! ```\n/// ```rust,ignore\n/// ```\nfn a() {}";
        let what = "an example marked `ignore` is never compiled";
        assert_eq!(places(text), [format!("a.rs:2: {what}"), format!("a.rs:5: {what}")]);
    }

    #[test]
    fn words_in_comments_strings_and_names_are_fine() {
        let text = "//! No `todo!` and no `#[ignore]`.\n/// ```no_run\n/// ```\n\
                    fn todo() -> &'static str { let ignore = [1]; \"dbg!(#[ignore])\" }\n\
                    #[allow(unused)]\nfn ignore(dbg: bool) { if todo != ignore {} }";
        assert_eq!(places(text), [""; 0]);
    }
}
