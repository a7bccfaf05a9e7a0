//! Within a crate, a module uses only modules declared below it in `lib.rs`.
//!
//! A module is used by a path that starts at the crate: `crate::x::...`, or enough
//! `super` to get there, in `use`, in code, in types and inside macros. A name that
//! `lib.rs` re-exports counts for the module it comes from, and what `lib.rs` defines
//! itself is above every module. Test code may look up; links in documentation are
//! not uses. A file that looks up to a module many times is one finding, at the first.
//!
//! rustfmt sorts `mod` lines that stand together; a blank line between keeps them apart.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ExprLit, ImplItem, Item, ItemMod, Lit, Meta, TraitItem, UseTree};

use super::tokens::{for_each_level, is_sign, line_of};
use super::tree::{Source, Tree};
use super::{Finding, attributes};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.libraries()
        .flat_map(|(path, directory, source)| check_crate(tree, path, directory, source))
        .collect()
}

fn check_crate(tree: &Tree, library: &str, directory: &str, source: &Source) -> Vec<Finding> {
    let Ok(ast) = &source.ast else { return Vec::new() };
    let root = Root::read(&ast.items);
    let mut findings = BTreeMap::new();
    for (rank, module) in root.modules.iter().enumerate() {
        let mut walk = Walk {
            tree,
            file: library.to_string(),
            directory: directory.to_string(),
            module: Vec::new(),
            uses: Vec::new(),
        };
        walk.visit_item_mod(module.item);
        for used in walk.uses {
            if let Some((above, what, cure)) = fault(&root, library, rank, &used) {
                let finding = Finding::new(&used.file, used.line, what, cure);
                findings.entry((used.file, above)).or_insert(finding);
            }
        }
    }
    findings.into_values().collect()
}

/// What the module of this rank must not use, if that is what it uses: its name, what
/// is wrong and what to do.
fn fault(root: &Root<'_>, library: &str, rank: usize, used: &Use) -> Option<(String, String, String)> {
    let user = &root.modules[rank].name;
    let path = used.path.join("::");
    let first = used.path.first()?;
    if first == "*" {
        let what = format!("`{user}` uses all of the crate's root");
        return Some(("*".into(), what, "name the modules it needs".into()));
    }
    match root.rank_of(first) {
        Some(other) if other < rank => {
            let above = &root.modules[other].name;
            let what = format!("`{user}` uses `{above}` (`crate::{path}`), declared above it in {library}");
            let cure = format!("move what it needs below, or declare `{above}` below `{user}`");
            Some((above.clone(), what, cure))
        }
        None if root.own.contains(first) => {
            let what = format!("`{user}` uses `crate::{path}`, which {library} defines itself");
            Some((first.clone(), what, "move it into a module below".into()))
        }
        Some(_) | None => None,
    }
}

/// What a `lib.rs` declares.
struct Root<'ast> {
    /// Top layer first.
    modules: Vec<Module<'ast>>,
    /// Re-exported name -> name of the module it comes from.
    exports: BTreeMap<String, String>,
    /// Names of the items that stand in `lib.rs` itself.
    own: BTreeSet<String>,
}

struct Module<'ast> {
    name: String,
    item: &'ast ItemMod,
}

impl<'ast> Root<'ast> {
    fn read(items: &'ast [Item]) -> Root<'ast> {
        let mut root = Root { modules: Vec::new(), exports: BTreeMap::new(), own: BTreeSet::new() };
        for item in items.iter().filter(|item| !attributes::is_test_only(attributes::of_item(item))) {
            match item {
                Item::Mod(item) => root.modules.push(Module { name: item.ident.to_string(), item }),
                Item::Use(item) if item.leading_colon.is_none() => {
                    for Leaf { path, name, .. } in leaves(&item.tree) {
                        let first = path.into_iter().find(|part| part != "crate" && part != "self");
                        root.exports.extend(first.map(|first| (name, first)));
                    }
                }
                Item::Const(syn::ItemConst { ident, .. })
                | Item::Enum(syn::ItemEnum { ident, .. })
                | Item::Static(syn::ItemStatic { ident, .. })
                | Item::Struct(syn::ItemStruct { ident, .. })
                | Item::Trait(syn::ItemTrait { ident, .. })
                | Item::Type(syn::ItemType { ident, .. })
                | Item::Union(syn::ItemUnion { ident, .. })
                | Item::Fn(syn::ItemFn { sig: syn::Signature { ident, .. }, .. }) => {
                    root.own.insert(ident.to_string());
                }
                _ => {}
            }
        }
        root
    }

    /// The layer of the module that a path's first name leads to.
    fn rank_of(&self, name: &str) -> Option<usize> {
        let position = |name: &str| self.modules.iter().position(|module| module.name == name);
        position(name).or_else(|| position(self.exports.get(name)?))
    }
}

/// A path from the crate's root, and where it stands.
struct Use {
    file: String,
    line: usize,
    path: Vec<String>,
}

/// Walks one top-level module through all its files.
struct Walk<'a> {
    tree: &'a Tree,
    file: String,
    /// Where the files of the current module's children are.
    directory: String,
    /// The current module's path from the crate's root.
    module: Vec<String>,
    uses: Vec<Use>,
}

impl Walk<'_> {
    /// Keeps a path that starts with `crate` or `super`; others are not ours to know.
    fn add(&mut self, line: usize, parts: &[String]) {
        let supers = parts.iter().take_while(|part| *part == "super").count();
        let (start, skip) = match parts.first() {
            Some(first) if first == "crate" => (0, 1),
            Some(_) if supers > 0 => (self.module.len().saturating_sub(supers), supers),
            Some(_) | None => return,
        };
        // `crate` or `super` alone is a module itself, as in `pub(super)`.
        if parts.len() > skip {
            let mut path = self.module[..start].to_vec();
            path.extend_from_slice(&parts[skip..]);
            self.uses.push(Use { file: self.file.clone(), line, path });
        }
    }

    /// Finds paths where there is no syntax tree.
    fn add_tokens(&mut self, stream: &TokenStream) {
        let mut paths = Vec::new();
        for_each_level(stream, &mut |level| {
            let starts = (0..level.len()).filter(|&at| at == 0 || !is_sign(&level[at - 1], ':'));
            paths.extend(starts.flat_map(|start| paths_at(&level[start..])));
        });
        for (line, path) in paths {
            self.add(line, &path);
        }
    }

    /// Walks the file of `mod name;`, if there is one. `inside` is `directory/name`.
    fn enter_file(&mut self, item: &ItemMod, inside: &str) {
        let candidates = match path_attribute(&item.attrs) {
            Some(path) => vec![format!("{}/{path}", parent(&self.file))],
            None => vec![format!("{inside}.rs"), format!("{inside}/mod.rs")],
        };
        let tree = self.tree;
        let found = candidates.into_iter().find_map(|path| Some((tree.source(&path)?, path)));
        if let Some((source, path)) = found
            && let Ok(ast) = &source.ast
        {
            let file = std::mem::replace(&mut self.file, path);
            self.visit_file(ast);
            self.file = file;
        }
    }
}

impl<'ast> Visit<'ast> for Walk<'_> {
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

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        if !attributes::is_test_only(attributes::of_trait_item(item)) {
            visit::visit_trait_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let name = item.ident.to_string();
        let inside = format!("{}/{name}", self.directory);
        let outside = std::mem::replace(&mut self.directory, inside.clone());
        self.module.push(name);
        if item.content.is_some() {
            visit::visit_item_mod(self, item);
        } else {
            self.enter_file(item, &inside);
        }
        self.module.pop();
        self.directory = outside;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if item.leading_colon.is_none() {
            for Leaf { path, line, .. } in leaves(&item.tree) {
                self.add(line, &path);
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let parts = path.segments.iter().map(|segment| segment.ident.to_string());
            self.add(path.span().start().line, &parts.collect::<Vec<_>>());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.add_tokens(&call.tokens);
        visit::visit_macro(self, call);
    }
}

/// One name that a `use` brings into scope.
struct Leaf {
    /// From the first word on. A glob ends in `*`.
    path: Vec<String>,
    /// What it is called here.
    name: String,
    line: usize,
}

/// The names of a `use`, which may be nested in braces.
fn leaves(tree: &UseTree) -> Vec<Leaf> {
    fn collect(tree: &UseTree, path: &[String], leaves: &mut Vec<Leaf>) {
        let mut leaf = |last: String, name: String| {
            let path = [path, &[last]].concat();
            leaves.push(Leaf { path, name, line: tree.span().start().line });
        };
        match tree {
            UseTree::Path(part) => {
                collect(&part.tree, &[path, &[part.ident.to_string()]].concat(), leaves);
            }
            UseTree::Name(part) => leaf(part.ident.to_string(), part.ident.to_string()),
            UseTree::Rename(part) => leaf(part.ident.to_string(), part.rename.to_string()),
            UseTree::Glob(_) => leaf("*".into(), "*".into()),
            UseTree::Group(group) => {
                for tree in &group.items {
                    collect(tree, path, leaves);
                }
            }
        }
    }
    let mut found = Vec::new();
    collect(tree, &[], &mut found);
    found
}

/// The paths that start with the first token: more than one if it opens a brace.
fn paths_at(tokens: &[TokenTree]) -> Vec<(usize, Vec<String>)> {
    let Some(TokenTree::Ident(first)) = tokens.first() else { return Vec::new() };
    if first != "crate" && first != "super" {
        return Vec::new();
    }
    let mut parts = vec![first.to_string()];
    let mut rest = &tokens[1..];
    while let [colon, colon_too, next, ..] = rest
        && is_sign(colon, ':')
        && is_sign(colon_too, ':')
    {
        match next {
            TokenTree::Ident(ident) => parts.push(ident.to_string()),
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                let paths = paths_in_braces(&parts, group.stream());
                return paths.into_iter().map(|path| (line_of(next), path)).collect();
            }
            TokenTree::Punct(_) if is_sign(next, '*') => parts.push("*".into()),
            TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => break,
        }
        rest = &rest[3..];
    }
    vec![(line_of(&tokens[0]), parts)]
}

/// The paths of `start::{...}` inside a macro: the first word after each comma is all
/// that the layers need.
fn paths_in_braces(start: &[String], inside: TokenStream) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut at_start = true;
    for token in inside {
        if at_start && matches!(token, TokenTree::Ident(_) | TokenTree::Punct(_)) {
            paths.push([start, &[token.to_string()]].concat());
        }
        at_start = is_sign(&token, ',');
    }
    paths
}

/// The text of `#[path = "..."]`.
fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.path().is_ident("path"))?;
    match &attribute.meta {
        Meta::NameValue(pair) => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        Meta::Path(_) | Meta::List(_) => None,
    }
}

/// The directory of a file.
fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

#[cfg(test)]
mod tests;
