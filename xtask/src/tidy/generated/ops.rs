//! `docs/OPS.md`: each operation, what carries it out, and what becomes of it when nobody waits.

use std::collections::BTreeMap;
use std::fmt::Write;

use syn::visit::Visit;
use syn::{Expr, ImplItem, Item, ItemImpl, Type};

use super::super::tree::Tree;
use super::notice;
use super::rust::{call, enumeration, final_match, function, items, last, named, text, variants};

pub(super) const SOURCE: &str = "crates/ring/src/request/facts.rs";
const REQUESTS: &str = "crates/ring/src/request.rs";
/// Where operations are, apart from the one of the ring itself.
const OPERATIONS: &str = "crates/io/src/op/";
const NOP: &str = "crates/ring/src/op.rs";

/// Opcode, epoll, simulated, late.
type Facts = [String; 4];

/// An operation of the public interface.
struct Operation {
    name: String,
    request: String,
    /// `Cancel` or `LetRun`.
    on_drop: String,
    /// For those with several results: how many may wait.
    items_max: Option<String>,
}

pub(super) fn page(tree: &Tree) -> Result<String, String> {
    let facts = facts(tree)?;
    let operations = operations(tree)?;
    let mut page = String::from("# Operations\n\n");
    page += &notice("crates/ring/src/request.rs, crates/ring/src/request/facts.rs and crates/io/src/op");
    page += "\nAn operation is a struct that owns what it lends; a request is what a backend is asked for.\n\
             All backends keep one contract, which stands in `crates/ring/src/backend/mod.rs`. What happens\n\
             in which order is in [LIFECYCLE.md](LIFECYCLE.md), and what is done where a kernel is too old\n\
             in [KERNELS.md](KERNELS.md).\n\n## Who carries it out\n\n\
             | request | what it does | `IORING_OP_` | kernel | epoll | simulated |\n|---|---|---|---|---|---|\n";
    for (request, comment) in variants(enumeration(items(tree, REQUESTS)?, "Request")?) {
        let [opcode, epoll, simulated, _] = facts.get(&request).ok_or_else(|| no_row(&request))?;
        let (does, kernel) = does_and_kernel(&request, &comment)?;
        let _ = writeln!(
            page,
            "| `{request}` | {does} | `{} | {kernel} | {epoll} | {simulated} |",
            ticks(opcode)
        );
    }
    page += "\n## When nobody waits any more\n\n\
             The future of an operation may be dropped at any time. Before the kernel has it, one that may be\n\
             ended is dropped with what it owns, and nothing happened; one that runs to its end is sent when\n\
             there is room. After that, what it lent stays where it is until the last completion.\n\n\
             | operation | request | dropping its future | a late result owns |\n|---|---|---|---|\n";
    for Operation { name, request, on_drop, items_max } in &operations {
        let [.., late] = facts.get(request).ok_or_else(|| no_row(request))?;
        let dropped = dropped(on_drop, items_max.as_deref())?;
        let _ = writeln!(page, "| `{name}` | `{request}` | {dropped} | {late} |");
    }
    let unused: Vec<_> =
        facts.keys().filter(|request| operations.iter().all(|op| op.request != **request)).collect();
    let unused: Vec<_> = unused.iter().map(|request| format!("`{request}`")).collect();
    if !unused.is_empty() {
        let _ = writeln!(page, "\nWithout an operation, for the driver's own use: {}.", unused.join(", "));
    }
    Ok(page)
}

fn no_row(request: &str) -> String {
    format!("`{request}` has no row in {SOURCE}")
}

/// Ends the ticks behind the name of the opcode, before what follows it.
fn ticks(opcode: &str) -> String {
    opcode.replacen(", ", "`, ", 1) + if opcode.contains(", ") { "" } else { "`" }
}

/// The comment of a variant, without the kernel at its end.
fn does_and_kernel(request: &str, comment: &str) -> Result<(String, String), String> {
    let split =
        comment.rsplit_once(" Kernel ").and_then(|(does, kernel)| Some((does, kernel.strip_suffix('.')?)));
    let (does, kernel) =
        split.ok_or_else(|| format!("the comment of `{request}` does not end with its kernel"))?;
    Ok((does.trim_end_matches('.').to_owned(), kernel.to_owned()))
}

fn dropped(on_drop: &str, items_max: Option<&str>) -> Result<String, String> {
    match (on_drop, items_max) {
        ("Cancel", None) => Ok("asks the kernel to end it".to_owned()),
        ("LetRun", None) => Ok("lets it run to its end".to_owned()),
        ("Cancel", Some("")) => Ok("asks the kernel to end it; any number of results may wait".to_owned()),
        ("Cancel", Some(max)) => Ok(format!("asks the kernel to end it, as do {max} results that wait")),
        (other, _) => Err(format!("`OnDrop::{other}` is not known to the page")),
    }
}

fn facts(tree: &Tree) -> Result<BTreeMap<String, Facts>, String> {
    let mut rows = BTreeMap::new();
    for arm in &final_match(function(items(tree, SOURCE)?, "facts")?)?.arms {
        let row: Vec<_> = call(&arm.body).into_iter().flat_map(|call| &call.args).filter_map(text).collect();
        for request in named(&arm.pat) {
            let row = Facts::try_from(row.clone());
            rows.insert(
                request.clone(),
                row.map_err(|_| format!("the row of `{request}` is not four texts"))?,
            );
        }
    }
    Ok(rows)
}

fn operations(tree: &Tree) -> Result<Vec<Operation>, String> {
    let mut operations = Vec::new();
    for path in
        tree.paths().filter(|path| *path == NOP || (path.starts_with(OPERATIONS) && path.ends_with(".rs")))
    {
        for item in items(tree, path)? {
            if let Item::Impl(block) = item
                && let Some(operation) = operation(block)
            {
                operations.push(operation?);
            }
        }
    }
    operations.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(operations)
}

/// What an implementation of `Op` or `MultiOp` says.
fn operation(block: &ItemImpl) -> Option<Result<Operation, String>> {
    let (_, implemented, _) = block.trait_.as_ref()?;
    let is_multishot = match last(implemented).as_str() {
        "Op" => false,
        "MultiOp" => true,
        _ => return None,
    };
    let Type::Path(name) = &*block.self_ty else { return None };
    let name = last(&name.path);
    let constant = |wanted: &str| {
        block.items.iter().find_map(|item| match item {
            ImplItem::Const(constant) if constant.ident == wanted => Some(&constant.expr),
            _ => None,
        })
    };
    let on_drop = match constant("ON_DROP") {
        Some(Expr::Path(path)) => last(&path.path),
        _ => "Cancel".to_owned(),
    };
    let items_max = is_multishot.then(|| constant("ITEMS_MAX").and_then(text).unwrap_or_default());
    let mut requests = Requests::default();
    for item in &block.items {
        if let ImplItem::Fn(function) = item
            && function.sig.ident == "request"
        {
            requests.visit_block(&function.block);
        }
    }
    let request = requests.0.into_iter().next();
    Some(match request {
        Some(request) => Ok(Operation { name, request, on_drop, items_max }),
        None => Err(format!("`{name}` makes no request that could be read")),
    })
}

/// The variants of `Request` that a block names.
#[derive(Default)]
struct Requests(Vec<String>);

impl<'ast> Visit<'ast> for Requests {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() == 2 && path.segments[0].ident == "Request" {
            self.0.push(last(path));
        }
        syn::visit::visit_path(self, path);
    }
}
