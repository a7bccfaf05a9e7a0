//! No wildcard arm where a new variant must be a compile error.
//!
//! The op tables and the lifecycle are `match` expressions over closed enums: the
//! compiler lists every place that a new request, state or event needs, as long as
//! no arm catches what is not named. An arm is a finding if it catches all with `_`
//! or a name while another arm names variants; in a tuple, each position counts by
//! itself. Arms with a guard do not count for exhaustiveness. Integers, strings and
//! booleans are exempt, because only literals stand in the other arms; a `match` on
//! named constants needs an entry in `[exhaustive.except]`.

use std::collections::BTreeSet;

use syn::visit::{self, Visit};
use syn::{Arm, ExprMatch, ImplItem, Item, Pat};

use super::tree::{CONFIG, Tree};
use super::{Finding, attributes, pattern};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let config = &tree.config.exhaustive;
    let mut findings = Vec::new();
    let mut used = BTreeSet::new();
    for wanted in &config.files {
        let mut files = tree.sources().filter(|(path, _)| pattern::matches(wanted, path)).peekable();
        if files.peek().is_none() {
            let what = format!("no file matches {wanted}");
            let cure = "correct the pattern, or nothing is checked";
            findings.push(Finding::new(CONFIG, tree.config_line(wanted), what, cure));
        }
        for (path, source) in files {
            let Ok(ast) = &source.ast else { continue };
            let mut matches = Matches::default();
            matches.visit_file(ast);
            for (line, function) in matches.found {
                let place = format!("{path}::{function}");
                if config.except.contains_key(&place) {
                    used.insert(place);
                    continue;
                }
                let what = format!("an arm of `{function}` catches what is not named");
                findings.push(Finding::new(path, line, what, "name every variant"));
            }
        }
    }
    for (place, reason) in &config.except {
        if !used.contains(place) {
            let what = format!("{place} has no wildcard arm");
            findings.push(Finding::new(CONFIG, tree.config_line(place), what, "remove the entry"));
        } else if reason.trim().is_empty() {
            let what = format!("{place} is listed without a reason");
            findings.push(Finding::new(CONFIG, tree.config_line(place), what, "say why"));
        }
    }
    findings
}

/// Collects the line and the function of every wildcard arm.
#[derive(Default)]
struct Matches {
    functions: Vec<String>,
    found: Vec<(usize, String)>,
}

impl<'ast> Visit<'ast> for Matches {
    fn visit_item(&mut self, item: &'ast Item) {
        if !attributes::is_test_only(attributes::of_item(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if !attributes::is_test_only(attributes::of_impl_item(item)) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.functions.push(function.sig.ident.to_string());
        visit::visit_item_fn(self, function);
        self.functions.pop();
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.functions.push(function.sig.ident.to_string());
        visit::visit_impl_item_fn(self, function);
        self.functions.pop();
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        self.functions.push(function.sig.ident.to_string());
        visit::visit_trait_item_fn(self, function);
        self.functions.pop();
    }

    fn visit_expr_match(&mut self, expression: &'ast ExprMatch) {
        let function = self.functions.last().map_or("a constant", String::as_str);
        let lines = wildcard_arms(&expression.arms);
        self.found.extend(lines.into_iter().map(|line| (line, function.to_string())));
        visit::visit_expr_match(self, expression);
    }
}

/// The lines of the arms that catch what is not named.
fn wildcard_arms(arms: &[Arm]) -> Vec<usize> {
    let rows: Vec<(&Arm, Vec<&Pat>)> = arms
        .iter()
        .flat_map(|arm| alternatives(&arm.pat).into_iter().map(move |pat| (arm, columns(pat))))
        .collect();
    let width = rows.iter().map(|(_, row)| row.len()).max().unwrap_or(0);
    // A row that is one catch-all catches every position of the tuples around it.
    let cell = |row: &[&'_ Pat], column: usize| -> Kind {
        match row {
            [only] if kind(only) == Kind::CatchAll => Kind::CatchAll,
            _ => row.get(column).map_or(Kind::Literal, |pat| kind(pat)),
        }
    };
    let mut lines = BTreeSet::new();
    for column in 0..width {
        if !rows.iter().any(|(_, row)| cell(row, column) == Kind::Variant) {
            continue;
        }
        for (arm, row) in &rows {
            if arm.guard.is_none() && cell(row, column) == Kind::CatchAll {
                lines.insert(line_of(arm));
            }
        }
    }
    lines.into_iter().collect()
}

fn line_of(arm: &Arm) -> usize {
    syn::spanned::Spanned::span(&arm.pat).start().line
}

/// What a pattern says about the value it stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `_`, a name, `..`
    CatchAll,
    /// A number, a text, a range: such a `match` cannot do without a wildcard.
    Literal,
    /// A variant, a struct, a named constant.
    Variant,
}

fn kind(pat: &Pat) -> Kind {
    match pat {
        Pat::Wild(_) | Pat::Rest(_) => Kind::CatchAll,
        Pat::Ident(ident) => match &ident.subpat {
            Some((_, inner)) => kind(inner),
            // A name in upper case is a variant or a constant in scope.
            None if ident.ident.to_string().starts_with(|c: char| c.is_uppercase()) => Kind::Variant,
            None => Kind::CatchAll,
        },
        Pat::Paren(paren) => kind(&paren.pat),
        Pat::Reference(reference) => kind(&reference.pat),
        Pat::Lit(_) | Pat::Range(_) => Kind::Literal,
        Pat::Or(or) => {
            let kinds: Vec<_> = or.cases.iter().map(kind).collect();
            let first = |wanted| kinds.contains(&wanted).then_some(wanted);
            first(Kind::CatchAll).or(first(Kind::Variant)).unwrap_or(Kind::Literal)
        }
        _ => Kind::Variant,
    }
}

/// `a | b` as a and b.
fn alternatives(pat: &Pat) -> Vec<&Pat> {
    match pat {
        Pat::Or(or) => or.cases.iter().flat_map(alternatives).collect(),
        Pat::Paren(paren) => alternatives(&paren.pat),
        other => vec![other],
    }
}

/// The positions of a tuple, or the pattern itself.
fn columns(pat: &Pat) -> Vec<&Pat> {
    match pat {
        Pat::Tuple(tuple) => tuple.elems.iter().collect(),
        Pat::Reference(reference) => columns(&reference.pat),
        other => vec![other],
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines_of;
    use super::*;

    fn found(body: &str) -> Vec<String> {
        let text = format!("fn f() {{ match x {{\n{body}\n}} }}");
        let tree = Tree::with_config("[exhaustive]\nfiles = [\"a/*.rs\"]", &[("a/b.rs", &text)]);
        lines_of(check, &tree)
    }

    const FIRST: &str = "a/b.rs:2: an arm of `f` catches what is not named; name every variant";
    const SECOND: &str = "a/b.rs:3: an arm of `f` catches what is not named; name every variant";

    #[test]
    fn an_arm_that_catches_all_is_found_in_every_form() {
        for arm in
            ["_ => 0", "other => 0", "x @ _ => 0", "&_ => 0", "E::B | _ => 0", "(_) => 0", "ref y => 0"]
        {
            assert_eq!(found(&format!("E::A => 1,\n{arm},")), [SECOND], "{arm}");
        }
    }

    #[test]
    fn each_position_of_a_tuple_counts() {
        assert_eq!(found("(S::A, E::A) => 1,\n(S::B, _) => 2,"), [SECOND]);
        assert_eq!(found("(S::A, E::A) => 1,\n(_, _) => 2,"), [SECOND]);
        assert_eq!(found("(S::A, E::A) => 1,\n_ => 2,"), [SECOND]);
        assert_eq!(found("(S::A, _) => 1,\n(S::B, E::A | E::B) => 2,"), [FIRST]);
        assert_eq!(found("(S::A, true) => 1,\n(S::A, _) => 2,\n(S::B, flag) => 3,"), [""; 0]);
    }

    #[test]
    fn named_variants_with_any_fields_are_fine() {
        let fine = "E::A { .. } => 1,\nE::B(_) => 2,\nE::C | E::D => 3,\nNONE => 4,\nx @ E::F => 5,";
        assert_eq!(found(fine), [""; 0]);
    }

    #[test]
    fn literals_and_guards_need_a_wildcard() {
        assert_eq!(found("0 => 1,\n1..=4 => 2,\n_ => 3,"), [""; 0]);
        assert_eq!(found("\"a\" => 1,\nother => 2,"), [""; 0]);
        assert_eq!(found("E::A => 1,\nother if odd(other) => 2,\nE::B => 3,"), [""; 0]);
        assert_eq!(found("only => 1,"), [""; 0]);
    }

    #[test]
    fn matches_inside_matches_and_closures_are_seen_and_tests_are_not() {
        assert_eq!(found("E::A => match y { F::A => 1,\n_ => 2 },"), [SECOND]);
        assert_eq!(found("E::A => || match y { F::A => 1,\n_ => 2 },"), [SECOND]);
        let text = "#[cfg(test)] mod tests { fn f() { match x { E::A => 1, _ => 2 } } }";
        let tree = Tree::with_config("[exhaustive]\nfiles = [\"a.rs\"]", &[("a.rs", text)]);
        assert_eq!(lines_of(check, &tree), [""; 0]);
    }

    #[test]
    fn exceptions_name_a_function_and_must_be_needed() {
        let text = "impl T { fn errno(&self) { match e { libc::EAGAIN => 1, _ => 2 } } }";
        let config = "[exhaustive]\nfiles = [\"a.rs\"]\n[exhaustive.except]\n\
                      \"a.rs::errno\" = \"integers\"\n\"a.rs::gone\" = \"integers\"";
        let tree = Tree::with_config(config, &[("a.rs", text)]);
        let expected = ["xtask/tidy.toml:5: a.rs::gone has no wildcard arm; remove the entry"];
        assert_eq!(lines_of(check, &tree), expected);
    }

    #[test]
    fn a_pattern_without_a_file_is_found() {
        let tree = Tree::with_config("[exhaustive]\nfiles = [\"a/*/b.rs\"]", &[("a/b.rs", "")]);
        let expected = "xtask/tidy.toml:2: no file matches a/*/b.rs; \
                        correct the pattern, or nothing is checked";
        assert_eq!(lines_of(check, &tree), [expected]);
    }
}
