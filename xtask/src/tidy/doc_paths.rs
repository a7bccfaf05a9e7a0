//! Paths that the documentation names exist.
//!
//! Read are README.md, CONTRIBUTING.md and everything below docs/. In code spans, a
//! word that starts with a directory of the repository is a path from the root; `*`
//! and `{a,b}` stand for at least one file, and a line number or `::name` after the
//! path is left aside. A link without a scheme leads from the file it stands in. Code
//! blocks are not read, and neither are placeholders such as `NNNN` or `<name>`.

use pulldown_cmark::{Event, Options, Parser, Tag};

use super::tree::Tree;
use super::{Finding, pattern};

const DIRECTORIES: [&str; 9] =
    ["crates/", "docs/", "benches/", "examples/", "xtask/", "tests/", ".ci/", "deploy/", "fuzz/"];

const PLACEHOLDERS: [&str; 4] = ["NNNN", "<", "…", "..."];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.paths().filter(|path| is_read(path)).flat_map(|path| check_page(tree, path)).collect()
}

fn is_read(path: &str) -> bool {
    let root = ["README.md", "CONTRIBUTING.md"].contains(&path);
    root || (path.starts_with("docs/") && path.ends_with(".md"))
}

fn check_page(tree: &Tree, page: &str) -> Vec<Finding> {
    let text = tree.text(page).unwrap_or_default();
    let mut findings = Vec::new();
    for (event, range) in Parser::new_ext(text, Options::all()).into_offset_iter() {
        let line = text[..range.start].lines().count().max(1)
            + usize::from(range.start > 0 && text[..range.start].ends_with('\n'));
        let mut missing = |what: String| {
            let cure = "correct the path, or write what it names";
            findings.push(Finding::new(page, line, what, cure));
        };
        match event {
            Event::Code(code) => {
                for path in code.split_whitespace().filter_map(path_in) {
                    if !alternatives(path).iter().all(|path| exists(tree, path)) {
                        missing(format!("`{path}` does not exist"));
                    }
                }
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                if let Some(path) = link_target(page, &dest_url)
                    && !tree.exists(&path)
                {
                    missing(format!("the link to {dest_url} leads to {path}, which does not exist"));
                }
            }
            _ => {}
        }
    }
    findings
}

/// The path in a word of a code span, without what may stand around it.
fn path_in(word: &str) -> Option<&str> {
    let word = word.trim_start_matches(['(', '"', '\'']);
    let word = word.strip_prefix("./").unwrap_or(word);
    let known = DIRECTORIES.iter().any(|directory| word.starts_with(directory));
    if !known || PLACEHOLDERS.iter().any(|placeholder| word.contains(placeholder)) {
        return None;
    }
    let end = word.find([':', '#']).unwrap_or(word.len());
    Some(word[..end].trim_end_matches(['.', ',', ';', ')', '"', '\'', '/']))
}

/// `a/{b,c}` as `a/b` and `a/c`.
fn alternatives(path: &str) -> Vec<String> {
    if let Some((start, rest)) = path.split_once('{')
        && let Some((choices, end)) = rest.split_once('}')
    {
        return choices
            .split(',')
            .flat_map(|choice| alternatives(&format!("{start}{choice}{end}")))
            .collect();
    }
    vec![path.to_string()]
}

fn exists(tree: &Tree, path: &str) -> bool {
    if !path.contains('*') {
        return tree.exists(path);
    }
    // A pattern may describe directories, which are beginnings of paths.
    let depth = path.split('/').count();
    tree.paths().any(|file| {
        let start: Vec<_> = file.split('/').take(depth).collect();
        pattern::matches(path, &start.join("/"))
    })
}

/// Where a link of a page leads in the repository; `None` if it leads elsewhere.
fn link_target(page: &str, link: &str) -> Option<String> {
    let end = link.find(['#', '?']).unwrap_or(link.len());
    let link = &link[..end];
    if link.is_empty() || link.contains(':') {
        return None;
    }
    let mut parts: Vec<&str> = match link.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => page.split('/').rev().skip(1).collect::<Vec<_>>().into_iter().rev().collect(),
    };
    for part in link.split('/') {
        match part {
            "" | "." => {}
            // Above the root is the forge's own pages, not a file of ours.
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::super::lines_of;
    use super::*;

    fn found(page: &str, text: &str) -> Vec<String> {
        let files = [
            (page, text),
            ("crates/a/src/lib.rs", ""),
            ("crates/b/src/lib.rs", ""),
            ("docs/TESTING.md", ""),
            (".ci/run", ""),
        ];
        lines_of(check, &Tree::of(&files))
    }

    const CURE: &str = "correct the path, or write what it names";

    #[test]
    fn paths_that_exist_are_fine_in_every_form() {
        let text = "`crates/a/src/lib.rs`, `crates/a/`, `crates/a/src/lib.rs:12`, `crates/*/src/lib.rs`,\n\
                    `crates/{a,b}/src`, `bash .ci/run --fast`, `./docs/TESTING.md#seeds`, `crates/*`,\n\
                    `docs/decisions/NNNN-title.md`, `crates/<name>/src`, `src/none.rs`, crates/none,\n\
                    [testing](docs/TESTING.md#seeds), [web](https://x.y/crates/none), [here](#there)\n\n\
                    ```sh\n`cat crates/none`\n```\n";
        assert_eq!(found("README.md", text), [""; 0]);
    }

    #[test]
    fn code_spans_that_name_nothing_are_found() {
        let text = "# T\n\nSee `crates/none/src/x.rs:3` and\n`see crates/*/none.rs`, `crates/{a,c}/src`.\n";
        assert_eq!(
            found("docs/A.md", text),
            [
                format!("docs/A.md:3: `crates/none/src/x.rs` does not exist; {CURE}"),
                format!("docs/A.md:4: `crates/*/none.rs` does not exist; {CURE}"),
                format!("docs/A.md:4: `crates/{{a,c}}/src` does not exist; {CURE}"),
            ]
        );
    }

    /// The trap: a link in a page of docs/ starts in docs/, not at the root.
    #[test]
    fn links_lead_from_the_page_they_stand_in() {
        assert_eq!(found("docs/A.md", "[a](TESTING.md) [b](../crates/a/src/lib.rs) [c](/docs)"), [""; 0]);
        assert_eq!(
            found("docs/A.md", "\n[a](docs/TESTING.md)"),
            [format!(
                "docs/A.md:2: the link to docs/TESTING.md leads to docs/docs/TESTING.md, \
                 which does not exist; {CURE}"
            )]
        );
        assert_eq!(found("CONTRIBUTING.md", "[issues](../../issues)"), [""; 0]);
    }

    #[test]
    fn other_pages_are_not_read() {
        assert_eq!(found("CHANGELOG.md", "`crates/none`"), [""; 0]);
        assert_eq!(found("crates/a/README.md", "`crates/none`"), [""; 0]);
    }
}
