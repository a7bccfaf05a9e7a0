//! `docs/LIFECYCLE.md`: each state of an operation and each event, from the function that decides.

use std::collections::BTreeMap;
use std::fmt::Write;

use syn::Expr;

use super::super::tree::Tree;
use super::notice;
use super::rust::{enumeration, final_match, function, items, last, named, variants};

pub(super) const SOURCE: &str = "crates/ring/src/lifecycle/state.rs";

/// What stands in each cell, by state and event.
type Cells = BTreeMap<(String, String), String>;

pub(super) fn page(tree: &Tree) -> Result<String, String> {
    let items = items(tree, SOURCE)?;
    let [states, events, actions] = ["State", "Event", "Action"].map(|name| enumeration(items, name));
    let (states, events, actions) = (variants(states?), variants(events?), variants(actions?));
    let cells = cells(items)?;
    let is_known = |list: &[(String, String)], name: &str| list.iter().any(|(known, _)| known == name);
    for (state, event) in cells.keys() {
        if !is_known(&states, state) {
            return Err(format!("`{state}` is no state"));
        }
        if !is_known(&events, event) {
            return Err(format!("`{event}` is no event"));
        }
    }
    let mut page = String::from("# The life of an operation\n\n");
    page += &notice(SOURCE);
    page += "\nOne pure function decides what becomes of an operation, of the memory that it lent and of its\n\
             result. Each cell is the next state and what the driver does; `vacant` means that the slot is\n\
             free again, and `-` that the kernel's contract excludes the pair: the driver panics and names\n\
             both. Which operation does what when its future is dropped stands in [OPS.md](OPS.md).\n\n";
    page += "| | ";
    page += &events.iter().map(|(event, _)| format!("`{event}`")).collect::<Vec<_>>().join(" | ");
    let _ = writeln!(page, " |\n|---|{}", "---|".repeat(events.len()));
    for (state, _) in &states {
        let _ = write!(page, "| `{state}` |");
        for (event, _) in &events {
            let cell = cells.get(&(state.clone(), event.clone()));
            let cell = cell.ok_or_else(|| format!("there is no cell for {state} and {event}"))?;
            let _ = write!(page, " {cell} |");
        }
        page.push('\n');
    }
    for (title, rows) in [("States", &states), ("Events", &events), ("What the driver does", &actions)] {
        let _ = writeln!(page, "\n## {title}\n\n| name | meaning |\n|---|---|");
        for (name, meaning) in rows {
            let _ = writeln!(page, "| `{name}` | {meaning} |");
        }
    }
    Ok(page)
}

fn cells(items: &[syn::Item]) -> Result<Cells, String> {
    let mut cells = Cells::new();
    for by_state in &final_match(function(items, "step")?)?.arms {
        let Expr::Match(by_event) = &*by_state.body else {
            return Err("a state of `step` is not a `match` over events".to_owned());
        };
        for arm in &by_event.arms {
            let cell = cell(&arm.body)?;
            for state in named(&by_state.pat) {
                for event in named(&arm.pat) {
                    cells.insert((state.clone(), event), cell.clone());
                }
            }
        }
    }
    Ok(cells)
}

fn cell(body: &Expr) -> Result<String, String> {
    let unexpected = || Err("a cell of `step` is neither a pair nor impossible".to_owned());
    match body {
        Expr::Call(call) => match &*call.func {
            Expr::Path(path) if last(&path.path) == "impossible" => Ok("-".to_owned()),
            _ => unexpected(),
        },
        Expr::Tuple(pair) => match (pair.elems.first(), pair.elems.last()) {
            (Some(next), Some(Expr::Path(action))) => {
                Ok(format!("{}; `{}`", state(next)?, last(&action.path)))
            }
            _ => unexpected(),
        },
        _ => unexpected(),
    }
}

fn state(next: &Expr) -> Result<String, String> {
    match next {
        Expr::Path(none) if none.path.is_ident("None") => Ok("vacant".to_owned()),
        Expr::Call(some) => match some.args.first() {
            Some(Expr::Path(state)) => Ok(format!("`{}`", last(&state.path))),
            _ => Err("a next state of `step` is not written out".to_owned()),
        },
        _ => Err("a next state of `step` is not written out".to_owned()),
    }
}
