//! Crates of a few lines, with one arrow each.

use super::super::lines_of;
use super::*;

const LIBRARY: &str = "//! C.\nmod top;\npub mod middle;\nmod low;\n\
                       pub use top::Top;\npub use {middle::Middle, low::*};\npub fn own() {}\n";

/// The findings in a crate where `middle` is this text.
fn middle(text: &str) -> Vec<String> {
    check_files(&[("crates/c/src/middle.rs", text)])
}

fn check_files(files: &[(&str, &str)]) -> Vec<String> {
    let library = ("crates/c/src/lib.rs", LIBRARY);
    lines_of(check, &Tree::of(&[&[library], files].concat()))
}

const UP: &str = "crates/c/src/middle.rs:1: `middle` uses `top` (`crate::top::X`), declared above \
                  it in crates/c/src/lib.rs; move what it needs below, or declare `top` below `middle`";

#[test]
fn uses_of_lower_modules_are_fine() {
    let text = "use crate::low::{self, A, B as C};\nuse super::low;\nuse std::top::X;\n\
                use ::crate_top::X;\nuse self::inner::top;\n\
                /// See [`crate::top::X`].\nfn f(a: crate::low::A) -> crate::middle::M { crate::low::g() }";
    assert_eq!(middle(text), [""; 0]);
}

#[test]
fn a_use_of_a_higher_module_is_found_in_every_form() {
    for text in [
        "use crate::top::X;",
        "use crate::{low::A, top::X};",
        "use crate::{low::A, top::{X}};",
        "use super::top::X;",
        "fn f(x: &crate::top::X) {}",
        "impl crate::top::X for Y {}",
        "fn f() { let x = crate::top::X; }",
        "fn f() { println!(\"{}\", [crate::top::X]) }",
        "macro_rules! m { () => { $crate::top::X }; }",
        "mod inner { use super::super::top::X; }",
        "fn f() { use crate::top::X; }",
    ] {
        assert_eq!(middle(text), [UP], "{text}");
    }
}

#[test]
fn many_uses_of_one_module_are_one_finding_at_the_first() {
    let text = "use crate::top::X;\nuse crate::top::Y;\nfn f() { crate::top::z() }";
    assert_eq!(middle(text), [UP]);
}

#[test]
fn braces_inside_macros_are_seen() {
    let found = middle("m! { use crate::{low::A, top::X}; }");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("`middle` uses `top` (`crate::top`)"), "{found:?}");
}

/// The trap: the re-export hides which module the name comes from.
#[test]
fn a_reexported_name_counts_for_its_module() {
    let found = middle("use crate::Top;");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("`middle` uses `top` (`crate::Top`)"), "{found:?}");
    assert_eq!(middle("use crate::Middle;"), [""; 0]);
}

#[test]
fn what_lib_rs_defines_is_above_everything() {
    let found = check_files(&[("crates/c/src/top.rs", "fn f() { crate::own() }")]);
    let expected = "crates/c/src/top.rs:1: `top` uses `crate::own`, which crates/c/src/lib.rs \
                    defines itself; move it into a module below";
    assert_eq!(found, [expected]);
}

#[test]
fn a_glob_of_the_root_is_found() {
    let expected = "crates/c/src/middle.rs:1: `middle` uses all of the crate's root; \
                    name the modules it needs";
    assert_eq!(middle("use crate::*;"), [expected]);
    assert_eq!(middle("use super::*;"), [expected]);
    assert_eq!(middle("mod inner { use super::*; }"), [""; 0]);
    assert_eq!(middle("use crate::low::*;"), [""; 0]);
}

#[test]
fn test_code_may_look_up() {
    assert_eq!(middle("#[cfg(test)] mod tests { use crate::top::X; }"), [""; 0]);
    assert_eq!(middle("#[cfg(test)] use crate::top::X;"), [""; 0]);
    let files = [
        ("crates/c/src/middle/mod.rs", "#[cfg(test)]\nmod tests;"),
        ("crates/c/src/middle/tests.rs", "use crate::top::X;"),
    ];
    assert_eq!(check_files(&files), [""; 0]);
}

#[test]
fn all_files_of_a_module_count() {
    let files = [
        ("crates/c/src/middle.rs", "mod a;\n#[path = \"odd.rs\"]\nmod b;"),
        ("crates/c/src/middle/a.rs", "mod deep;"),
        ("crates/c/src/middle/a/deep.rs", "\nuse crate::top::X;"),
        ("crates/c/src/odd.rs", "\n\nuse super::super::top::X;"),
        ("crates/c/src/middle/not_declared.rs", "use crate::top::X;"),
    ];
    let places: Vec<_> =
        check_files(&files).iter().map(|line| line.split(": ").next().unwrap().to_string()).collect();
    assert_eq!(places, ["crates/c/src/middle/a/deep.rs:2", "crates/c/src/odd.rs:3"]);
}

#[test]
fn each_crate_has_its_own_layers() {
    let tree = Tree::of(&[
        ("crates/a/src/lib.rs", "mod x;\nmod y;"),
        ("crates/a/src/y.rs", "use crate::x::X;"),
        ("crates/b/src/lib.rs", "mod y { use crate::x::X; }\nmod x;"),
    ]);
    let found = lines_of(check, &tree);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("crates/a/src/y.rs:1: `y` uses `x`"), "{found:?}");
}
