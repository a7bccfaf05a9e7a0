//! Reading Rust for the pages: comments, variants and paths.

use syn::{Attribute, Expr, Item, ItemEnum, ItemFn, Lit, Meta, Pat, Path};

use super::super::tree::Tree;

/// The items of a file.
pub(super) fn items<'a>(tree: &'a Tree, path: &str) -> Result<&'a [Item], String> {
    let source = tree.source(path).ok_or_else(|| format!("{path} is not there"))?;
    source.ast.as_ref().map(|file| file.items.as_slice()).map_err(|error| format!("{path}: {error}"))
}

pub(super) fn enumeration<'a>(items: &'a [Item], name: &str) -> Result<&'a ItemEnum, String> {
    let found = items.iter().find_map(|item| match item {
        Item::Enum(found) if found.ident == name => Some(found),
        _ => None,
    });
    found.ok_or_else(|| format!("there is no enum `{name}`"))
}

pub(super) fn function<'a>(items: &'a [Item], name: &str) -> Result<&'a ItemFn, String> {
    let found = items.iter().find_map(|item| match item {
        Item::Fn(found) if found.sig.ident == name => Some(found),
        _ => None,
    });
    found.ok_or_else(|| format!("there is no function `{name}`"))
}

/// Each variant with its comment.
pub(super) fn variants(of: &ItemEnum) -> Vec<(String, String)> {
    of.variants.iter().map(|variant| (variant.ident.to_string(), comment(&variant.attrs))).collect()
}

/// A documentation comment as one line.
pub(super) fn comment(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => text(&pair.value),
        _ => None,
    });
    lines.map(|line| line.trim().to_owned()).collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// The text of a literal.
pub(super) fn text(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(text.value()),
            Lit::Int(number) => Some(number.base10_digits().to_owned()),
            _ => None,
        },
        _ => None,
    }
}

/// The last word of a path.
pub(super) fn last(path: &Path) -> String {
    path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default()
}

/// The variants that a pattern names, or what it is instead.
pub(super) fn named(pattern: &Pat) -> Vec<String> {
    match pattern {
        Pat::Path(path) => vec![last(&path.path)],
        Pat::Struct(fields) => vec![last(&fields.path)],
        Pat::TupleStruct(fields) => vec![last(&fields.path)],
        Pat::Or(or) => or.cases.iter().flat_map(named).collect(),
        _ => vec!["_".to_owned()],
    }
}

/// The `match` that a function ends with.
pub(super) fn final_match(function: &ItemFn) -> Result<&syn::ExprMatch, String> {
    match function.block.stmts.last() {
        Some(syn::Stmt::Expr(Expr::Match(found), None)) => Ok(found),
        _ => Err(format!("`{}` does not end with a `match`", function.sig.ident)),
    }
}

/// The call that an arm consists of, also within braces.
pub(super) fn call(body: &Expr) -> Option<&syn::ExprCall> {
    match body {
        Expr::Call(call) => Some(call),
        Expr::Block(block) => match block.block.stmts.as_slice() {
            [syn::Stmt::Expr(inner, None)] => call(inner),
            _ => None,
        },
        _ => None,
    }
}
