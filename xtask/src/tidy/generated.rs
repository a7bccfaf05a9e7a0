//! Pages of docs/ that are made from the code are as the code makes them.
//!
//! Both are read from the syntax of a few files, so that making them needs no build, and a page says what
//! the code says.

mod lifecycle;
mod ops;
mod rust;

use std::fs;
use std::path::Path;

use super::Finding;
use super::tree::Tree;

/// A page, the file that it is made from above all, and what makes it.
struct Page {
    path: &'static str,
    source: &'static str,
    make: fn(&Tree) -> Result<String, String>,
}

const PAGES: [Page; 2] = [
    Page { path: "docs/LIFECYCLE.md", source: lifecycle::SOURCE, make: lifecycle::page },
    Page { path: "docs/OPS.md", source: ops::SOURCE, make: ops::page },
];

/// The second line of each page.
fn notice(sources: &str) -> String {
    format!("<!-- Made by `cargo xtask docs` from {sources}: change it there. -->\n")
}

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    // A tree with neither is not this repository.
    let pages = PAGES.iter().filter(|page| tree.exists(page.path) || tree.exists(page.source));
    pages.filter_map(|page| difference(tree, page)).collect()
}

fn difference(tree: &Tree, page: &Page) -> Option<Finding> {
    let made = match (page.make)(tree) {
        Ok(made) => made,
        Err(error) => {
            return Some(Finding::new(page.source, 1, error, "keep to the shape that the page is made from"));
        }
    };
    let is = tree.text(page.path).unwrap_or_default();
    if made == is {
        return None;
    }
    let equal = made.lines().zip(is.lines()).take_while(|(made, is)| made == is).count();
    let what = "the page is not what the code makes of it";
    Some(Finding::new(page.path, equal + 1, what, "run `cargo xtask docs`"))
}

/// Writes the pages; true if they could be made.
pub(super) fn write(root: &Path, tree: &Tree) -> bool {
    PAGES.iter().fold(true, |fine, page| {
        let written = (page.make)(tree)
            .and_then(|text| fs::write(root.join(page.path), text).map_err(|error| error.to_string()));
        match written {
            Ok(()) => println!("docs: wrote {}", page.path),
            Err(ref error) => println!("docs: cannot make {}: {error}", page.path),
        }
        fine && written.is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::super::lines_of;
    use super::*;

    const STATE: &str = "//! X.
        /// Where.
        enum State { /// Waits.
            Queued }
        /// What happens.
        enum Event { /// It ends.
            Last, /// It goes.
            Dropped }
        enum Action { /// Nothing.
            Nothing }
        fn step(state: State, event: Event) -> (Option<State>, Action) {
            use {Action as A, Event as E, State as S};
            match state {
                S::Queued => match event {
                    E::Last => (None, A::Nothing),
                    E::Dropped => impossible(state, event),
                },
            }
        }";

    #[test]
    fn a_page_that_is_behind_the_code_is_found_with_its_first_line_that_differs() {
        let page = lifecycle::page(&Tree::of(&[(lifecycle::SOURCE, STATE)])).unwrap();
        assert!(page.contains("| `Queued` | vacant; `Nothing` | - |"), "{page}");
        let fine = Tree::of(&[(lifecycle::SOURCE, STATE), ("docs/LIFECYCLE.md", &page)]);
        assert_eq!(lines_of(check, &fine), [""; 0]);
        let changed = STATE.replace("Waits.", "Stands.");
        let behind = Tree::of(&[(lifecycle::SOURCE, &changed), ("docs/LIFECYCLE.md", &page)]);
        let line = page.lines().position(|line| line.contains("Waits.")).unwrap() + 1;
        let expected = format!(
            "docs/LIFECYCLE.md:{line}: the page is not what the code makes of it; run `cargo xtask docs`"
        );
        assert_eq!(lines_of(check, &behind), [expected]);
    }

    #[test]
    fn code_of_another_shape_is_a_finding_and_no_wrong_page() {
        let wild = STATE.replace("E::Dropped =>", "_ =>");
        let found = lines_of(check, &Tree::of(&[(lifecycle::SOURCE, &wild)]));
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("`_` is no event"), "{found:?}");
    }

    #[test]
    fn the_pages_of_this_repository_can_be_made() {
        let tree = Tree::read(&crate::root()).unwrap();
        for page in &PAGES {
            assert!((page.make)(&tree).is_ok_and(|text| text.lines().count() > 20), "{}", page.path);
        }
    }
}
