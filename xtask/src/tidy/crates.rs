//! Which crate may depend on which: `[crates]` in `xtask/tidy.toml`.
//!
//! Every package below `crates/` is listed there with the siblings it may name.
//! Normal, build and development dependencies count, on every target.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::Finding;
use super::tree::{CONFIG, Tree};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut packages = BTreeMap::new();
    for path in tree.paths().filter(|path| is_manifest(path)) {
        let text = tree.text(path).unwrap_or_default();
        match text.parse::<Table>() {
            Ok(manifest) => {
                let name = manifest.get("package").and_then(|package| package.get("name")?.as_str());
                packages.insert(name.unwrap_or(path).to_string(), (path, text, manifest));
            }
            Err(error) => {
                let what = format!("is not TOML: {}", error.message());
                findings.push(Finding::new(path, 1, what, "correct it"));
            }
        }
    }
    let root: Table = tree.text("Cargo.toml").and_then(|text| text.parse().ok()).unwrap_or_default();
    for (package, (path, text, manifest)) in &packages {
        let Some(allowed) = tree.config.crates.get(package) else {
            let what = format!("`{package}` has no place among the crates");
            let cure = format!("list it and the siblings it may use in {CONFIG} [crates]");
            findings.push(Finding::new(path, 1, what, cure));
            continue;
        };
        for key in dependencies(manifest) {
            let name = real_name(&key, &root);
            if packages.contains_key(&name) && name != *package && !allowed.contains(&name) {
                let what = format!("`{package}` depends on `{name}`");
                let cure = match allowed.as_slice() {
                    [] => "it may depend on no sibling".into(),
                    some => format!("of its siblings it may depend on {}", some.join(", ")),
                };
                findings.push(Finding::new(path, line_of(text, &key.0), what, cure));
            }
        }
    }
    for package in tree.config.crates.keys().filter(|name| !packages.contains_key(*name)) {
        let what = format!("`{package}` is listed and is no package of crates/");
        findings.push(Finding::new(CONFIG, tree.config_line(package), what, "remove the entry"));
    }
    findings
}

fn is_manifest(path: &str) -> bool {
    let package = path.strip_prefix("crates/").and_then(|rest| rest.strip_suffix("/Cargo.toml"));
    package.is_some_and(|package| !package.contains('/'))
}

/// Every dependency of a manifest: its key and what is written there.
fn dependencies(manifest: &Table) -> Vec<(String, &Value)> {
    const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flatten();
    let targets = targets.filter_map(|(_, target)| target.as_table());
    std::iter::once(manifest)
        .chain(targets)
        .flat_map(|table| KINDS.iter().filter_map(|kind| table.get(*kind)?.as_table()))
        .flatten()
        .map(|(key, value)| (key.clone(), value))
        .collect()
}

/// The package behind a key: a dependency may be renamed, here or in the workspace.
fn real_name((key, value): &(String, &Value), root: &Table) -> String {
    let renamed = |value: &Value| value.get("package")?.as_str().map(str::to_string);
    let shared = || {
        let all = root.get("workspace")?.get("dependencies")?;
        value.get("workspace")?.as_bool()?.then(|| all.get(key).and_then(renamed))?
    };
    renamed(value).or_else(shared).unwrap_or_else(|| key.clone())
}

/// The line on which a dependency is written.
fn line_of(text: &str, key: &str) -> usize {
    let starts = |line: &str| {
        let rest = line.trim_start().strip_prefix(key)?;
        rest.starts_with(['.', ' ', '=']).then_some(())
    };
    let in_table = format!("dependencies.{key}]");
    let position =
        text.lines().position(|line| starts(line).is_some() || line.trim_end().ends_with(&in_table));
    position.map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::super::lines_of;
    use super::*;

    const CONFIGURATION: &str = "[crates]\nring = []\nexec = []\nio = [\"ring\"]";

    fn found(io: &str, exec: &str) -> Vec<String> {
        let manifest = |name: &str, rest: &str| format!("[package]\nname = \"{name}\"\n{rest}");
        let root = "[workspace.dependencies]\nalias = { package = \"exec\", path = \"x\" }";
        let texts = [manifest("ring", ""), manifest("exec", exec), manifest("io", io)];
        let files = [
            ("Cargo.toml", root),
            ("crates/ring/Cargo.toml", &texts[0]),
            ("crates/exec/Cargo.toml", &texts[1]),
            ("crates/io/Cargo.toml", &texts[2]),
        ];
        lines_of(check, &Tree::with_config(CONFIGURATION, &files))
    }

    #[test]
    fn listed_arrows_and_foreign_crates_are_fine() {
        let io = "[dependencies]\nring.workspace = true\nlibc = \"0.2\"\n[dev-dependencies]\nio = { path = \".\" }";
        assert_eq!(found(io, "[dependencies]\nslab = \"0.4\""), [""; 0]);
    }

    #[test]
    fn an_arrow_that_is_not_listed_is_found_in_every_kind() {
        for dependency in [
            "[dependencies]\nexec.workspace = true",
            "[dev-dependencies]\nexec = { path = \"../exec\" }",
            "[build-dependencies]\nexec = \"1\"",
            "[target.'cfg(loom)'.dependencies]\nexec = \"1\"",
            "[dependencies]\nalias.workspace = true",
            "[dependencies]\nother = { package = \"exec\", version = \"1\" }",
            "[dependencies]\n[dependencies.exec]\nworkspace = true",
        ] {
            let expected =
                "crates/io/Cargo.toml:4: `io` depends on `exec`; of its siblings it may depend on ring";
            assert_eq!(found(dependency, ""), [expected], "{dependency}");
        }
    }

    #[test]
    fn a_crate_without_siblings_is_told_so() {
        let expected = "crates/exec/Cargo.toml:4: `exec` depends on `ring`; it may depend on no sibling";
        assert_eq!(found("", "[dependencies]\nring.workspace = true"), [expected]);
    }

    #[test]
    fn the_list_and_the_directory_must_agree() {
        let files = [("crates/new/Cargo.toml", "[package]\nname = \"new\"")];
        assert_eq!(
            lines_of(check, &Tree::with_config("[crates]\n\"old\" = []", &files)),
            [
                "crates/new/Cargo.toml:1: `new` has no place among the crates; \
                 list it and the siblings it may use in xtask/tidy.toml [crates]",
                "xtask/tidy.toml:2: `old` is listed and is no package of crates/; remove the entry",
            ]
        );
    }
}
