//! Every public function that is awaited says what happens when nobody waits.
//!
//! In the sources of the four runtime crates, a `pub async fn`, a `pub fn` that
//! returns a future, and such a method of a public trait has a `# Cancellation`
//! section. A future is `impl Future`, `dyn Future`, any type for which these crates
//! implement `Future`, and the types in `[cancellation]` of `xtask/tidy.toml`. Not
//! concerned: tests, implementations of traits (the trait's text is theirs), what the
//! documentation hides, and functions that a macro writes.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{
    Attribute, GenericArgument, ImplItem, Item, ItemImpl, ItemTrait, PathArguments, ReturnType, Signature,
    TraitItem, Type, TypeParamBound, Visibility,
};

use super::tree::Tree;
use super::{Finding, attributes};

const SOURCES: [&str; 4] = ["crates/ring/src/", "crates/io/src/", "crates/exec/src/", "crates/coronet/src/"];

const SECTION: &str = "# Cancellation";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let files: Vec<_> = tree
        .sources()
        .filter(|(path, _)| SOURCES.iter().any(|start| path.starts_with(start)))
        .filter(|(path, _)| !path.ends_with("/tests.rs") && !path.contains("/tests/"))
        .filter_map(|(path, source)| Some((path, source.ast.as_ref().ok()?)))
        .collect();
    let mut crates: BTreeMap<&str, Types> = BTreeMap::new();
    for (path, ast) in &files {
        crates.entry(crate_of(path)).or_default().visit_file(ast);
    }
    let mut findings = Vec::new();
    for (path, ast) in files {
        let futures = futures_known_to(crate_of(path), &crates, &tree.config.cancellation.types);
        let mut functions = Functions { futures, itself: None, found: Vec::new() };
        functions.visit_file(ast);
        findings.extend(functions.found.into_iter().map(|(line, name)| {
            let what = format!("`{name}` is awaited and its docs have no `{SECTION}`");
            Finding::new(path, line, what, "say what dropping the future does")
        }));
    }
    findings
}

/// The crate's directory, which is the start of the path.
fn crate_of(path: &str) -> &str {
    SOURCES.iter().find(|start| path.starts_with(**start)).expect("only these are read")
}

/// The futures a crate can name: its own, and those of its siblings unless it calls
/// another type by that name.
fn futures_known_to(user: &str, crates: &BTreeMap<&str, Types>, configured: &[String]) -> BTreeSet<String> {
    let own = &crates[user];
    let siblings = crates.values().flat_map(|types| &types.futures);
    let foreign = siblings.filter(|name| !own.defined.contains(*name));
    foreign.chain(&own.futures).chain(configured).cloned().collect()
}

/// Collects the names of a crate's types, and of those that implement `Future`.
#[derive(Default)]
struct Types {
    defined: BTreeSet<String>,
    futures: BTreeSet<String>,
}

impl<'ast> Visit<'ast> for Types {
    fn visit_item(&mut self, item: &'ast Item) {
        if attributes::is_test_only(attributes::of_item(item)) {
            return;
        }
        if let Item::Struct(syn::ItemStruct { ident, .. })
        | Item::Enum(syn::ItemEnum { ident, .. })
        | Item::Type(syn::ItemType { ident, .. }) = item
        {
            self.defined.insert(ident.to_string());
        }
        visit::visit_item(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let future = item.trait_.as_ref().is_some_and(|(_, path, _)| {
            path.segments.last().is_some_and(|segment| segment.ident == "Future")
        });
        if future {
            self.futures.extend(name_of(&item.self_ty));
        }
        visit::visit_item_impl(self, item);
    }
}

/// Collects the functions without the section.
struct Functions {
    futures: BTreeSet<String>,
    /// The type that `Self` stands for.
    itself: Option<String>,
    found: Vec<(usize, String)>,
}

impl Functions {
    fn look(&mut self, attributes: &[Attribute], signature: &Signature) {
        let awaited = signature.asyncness.is_some()
            || match &signature.output {
                ReturnType::Default => false,
                ReturnType::Type(_, output) => self.is_future(output),
            };
        let exempt = attributes::is_hidden(attributes) || attributes::is_test_only(attributes);
        if awaited && !exempt && !attributes::docs_have_line(attributes, SECTION) {
            self.found.push((signature.ident.span().start().line, signature.ident.to_string()));
        }
    }

    fn is_future(&self, output: &Type) -> bool {
        let name = match name_of(output) {
            Some(name) if name == "Self" => self.itself.clone(),
            other => other,
        };
        name.is_some_and(|name| self.futures.contains(&name)) || promises_future(output)
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = attributes::of_item(item);
        if !attributes::is_test_only(attributes) && !attributes::is_hidden(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if is_public(&function.vis) {
            self.look(&function.attrs, &function.sig);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        if item.trait_.is_some() {
            return;
        }
        self.itself = name_of(&item.self_ty);
        for member in &item.items {
            if let ImplItem::Fn(function) = member
                && is_public(&function.vis)
            {
                self.look(&function.attrs, &function.sig);
            }
        }
        self.itself = None;
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        if !is_public(&item.vis) {
            return;
        }
        for member in &item.items {
            if let TraitItem::Fn(function) = member {
                self.look(&function.attrs, &function.sig);
            }
        }
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// The last name of a type's path: `OpFuture` of `crate::future::OpFuture<O>`.
fn name_of(ty: &Type) -> Option<String> {
    match ty {
        Type::Path(path) => Some(path.path.segments.last()?.ident.to_string()),
        Type::Paren(inner) => name_of(&inner.elem),
        _ => None,
    }
}

/// Whether the type is `impl Future`, or has `dyn Future` or `impl Future` in it.
fn promises_future(ty: &Type) -> bool {
    let is_future = |bound: &TypeParamBound| match bound {
        TypeParamBound::Trait(bound) => {
            bound.path.segments.last().is_some_and(|segment| segment.ident == "Future")
        }
        _ => false,
    };
    match ty {
        Type::ImplTrait(promise) => promise.bounds.iter().any(is_future),
        Type::TraitObject(promise) => promise.bounds.iter().any(is_future),
        Type::Paren(inner) => promises_future(&inner.elem),
        Type::Tuple(tuple) => tuple.elems.iter().any(promises_future),
        Type::Path(path) => path.path.segments.iter().any(|segment| match &segment.arguments {
            PathArguments::AngleBracketed(list) => list
                .args
                .iter()
                .any(|argument| matches!(argument, GenericArgument::Type(inner) if promises_future(inner))),
            PathArguments::None | PathArguments::Parenthesized(_) => false,
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines_of;
    use super::*;

    fn names(files: &[(&str, &str)]) -> Vec<String> {
        let tree = Tree::with_config("[cancellation]\ntypes = [\"BoxFuture\"]", files);
        let lines = lines_of(check, &tree);
        lines.iter().map(|line| line.split('`').nth(1).unwrap().to_string()).collect()
    }

    fn found(text: &str) -> Vec<String> {
        names(&[("crates/io/src/a.rs", text)])
    }

    #[test]
    fn every_form_of_awaited_function_is_found() {
        let text = "
            pub async fn a() {}
            pub fn b() -> impl Future<Output = ()> + 'static {}
            pub fn c() -> Pin<Box<dyn Future<Output = ()>>> {}
            pub fn d() -> BoxFuture<'static, ()> {}
            pub fn e() -> crate::time::Sleep {}
            impl Future for Sleep {}
            impl Sleep { pub fn f() -> Self {} }
            pub trait T { async fn g(&self); fn h(&self) -> impl Future<Output = ()>; }
            mod inner { impl X<'_> { pub async unsafe fn i(&self) {} } }
            impl<T> std::future::Future for Timeout<T> {}
            pub fn j() -> Timeout<u8> {}
            pub fn k() -> io::Result<impl Future<Output = ()>> {}";
        let expected = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
        assert_eq!(found(text), expected);
    }

    #[test]
    fn the_section_is_enough() {
        let text = "/// Waits.\n///\n/// # Cancellation\n/// Safe.\npub async fn a() {}";
        assert_eq!(found(text), [""; 0]);
    }

    #[test]
    fn a_future_of_another_crate_of_ours_is_known() {
        let files = [
            ("crates/exec/src/join.rs", "impl<T> Future for JoinHandle<T> {}"),
            ("crates/coronet/src/lib.rs", "pub fn spawn() -> JoinHandle<u8> {}"),
        ];
        assert_eq!(names(&files), ["spawn"]);
    }

    /// The trap: one crate's future has the name of another crate's plain type.
    #[test]
    fn a_type_of_the_same_name_in_the_crate_itself_goes_first() {
        let files = [
            ("crates/ring/src/a.rs", "impl Future for Room {}\npub(crate) struct Room;"),
            ("crates/io/src/a.rs", "pub struct Room;\npub fn spare() -> Room {}"),
            ("crates/exec/src/a.rs", "pub fn wait() -> Room {}"),
        ];
        assert_eq!(names(&files), ["wait"]);
    }

    #[test]
    fn what_nobody_outside_awaits_is_exempt() {
        let text = "
            async fn a() {}
            pub(crate) async fn b() {}
            impl Read for X { async fn c(&self) {} }
            trait Private { async fn d(&self); }
            #[cfg(test)] mod tests { pub async fn e() {} }
            #[doc(hidden)] pub mod __private { pub async fn f() {} }
            #[doc(hidden)] pub async fn g() {}
            pub fn h() -> Poll<()> {}
            pub fn i(future: impl Future<Output = ()>) {}";
        assert_eq!(found(text), [""; 0]);
        let elsewhere = "pub async fn a() {}";
        assert_eq!(names(&[("crates/io/tests/a.rs", elsewhere), ("benches/a.rs", elsewhere)]), [""; 0]);
    }

    #[test]
    fn a_finding_says_where_and_what_to_do() {
        let tree = Tree::of(&[("crates/ring/src/a.rs", "\npub async fn wait() {}")]);
        let expected = "crates/ring/src/a.rs:2: `wait` is awaited and its docs have no \
                        `# Cancellation`; say what dropping the future does";
        assert_eq!(lines_of(check, &tree), [expected]);
    }
}
