//! The files of the repository, read once and parsed once.
//!
//! Paths are relative to the root and use `/`. Build output and version control are
//! not part of the tree. A check never goes to the disk: a tree made from texts is
//! as good as one that was read.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use proc_macro2::TokenStream;
use walkdir::WalkDir;

use super::config::Config;

/// The place of the configuration in the tree.
pub(crate) const CONFIG: &str = "xtask/tidy.toml";

/// Every file of the repository.
pub(crate) struct Tree {
    files: BTreeMap<String, File>,
    pub(crate) config: Config,
    config_text: String,
}

/// What is known of a file: nothing but its name unless a check reads its kind.
enum File {
    Named,
    Text(String),
    Rust(Box<Source>),
}

/// A Rust file.
pub(crate) struct Source {
    pub(crate) text: String,
    /// Empty if the file is not made of Rust tokens.
    pub(crate) tokens: TokenStream,
    /// The items, or why there are none.
    pub(crate) ast: syn::Result<syn::File>,
}

impl Source {
    fn parse(text: String) -> Source {
        let tokens = text.parse().unwrap_or_default();
        let ast = syn::parse_file(&text);
        Source { text, tokens, ast }
    }
}

impl Tree {
    /// Reads the tree below `root`.
    pub(crate) fn read(root: &Path) -> Result<Tree, String> {
        let mut files = BTreeMap::new();
        let visible = |entry: &walkdir::DirEntry| {
            !(entry.file_type().is_dir() && [".git", "target"].iter().any(|d| entry.file_name() == *d))
        };
        for entry in WalkDir::new(root).into_iter().filter_entry(visible) {
            let entry = entry.map_err(|error| error.to_string())?;
            if !entry.file_type().is_file() {
                continue;
            }
            let path = entry.path().strip_prefix(root).expect("the walk stays below its root");
            let path = path.to_string_lossy().replace('\\', "/");
            let text = match path.rsplit_once('.') {
                Some((_, "rs" | "md" | "toml")) => match fs::read_to_string(entry.path()) {
                    Ok(text) => Some(text),
                    // Removed since the walk saw it.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(format!("cannot read {path}: {error}")),
                },
                Some(_) | None => None,
            };
            files.insert(path.clone(), File::new(&path, text));
        }
        let config_text = match files.get(CONFIG) {
            Some(File::Text(text)) => text.clone(),
            Some(File::Named | File::Rust(_)) | None => return Err(format!("{CONFIG} is missing")),
        };
        let config = Config::parse(&config_text).map_err(|error| format!("{CONFIG}: {error}"))?;
        Ok(Tree { files, config, config_text })
    }

    /// Every Rust file and its path.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&str, &Source)> {
        self.files.iter().filter_map(|(path, file)| match file {
            File::Rust(source) => Some((path.as_str(), &**source)),
            File::Named | File::Text(_) => None,
        })
    }

    /// One Rust file.
    pub(crate) fn source(&self, path: &str) -> Option<&Source> {
        match self.files.get(path)? {
            File::Rust(source) => Some(source),
            File::Named | File::Text(_) => None,
        }
    }

    /// The text of a Markdown, TOML or Rust file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        match self.files.get(path)? {
            File::Text(text) => Some(text),
            File::Rust(source) => Some(&source.text),
            File::Named => None,
        }
    }

    /// The line of the configuration that names `text` in quotes.
    pub(crate) fn config_line(&self, text: &str) -> usize {
        let quoted = format!("\"{text}\"");
        self.config_text.lines().position(|line| line.contains(&quoted)).map_or(1, |index| index + 1)
    }

    /// The paths of all files.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Whether a file, or a directory with a file in it, has this path.
    pub(crate) fn exists(&self, path: &str) -> bool {
        let directory = format!("{path}/");
        self.files.contains_key(path) || self.paths().any(|file| file.starts_with(&directory))
    }

    /// Every `crates/*/src/lib.rs`, with its directory.
    pub(crate) fn libraries(&self) -> impl Iterator<Item = (&str, &str, &Source)> {
        self.sources().filter_map(|(path, source)| {
            let directory = path.strip_suffix("/lib.rs")?;
            let package = directory.strip_prefix("crates/")?.strip_suffix("/src")?;
            (!package.contains('/')).then_some((path, directory, source))
        })
    }
}

impl File {
    fn new(path: &str, text: Option<String>) -> File {
        match text {
            None => File::Named,
            Some(text) if path.ends_with(".rs") => File::Rust(Box::new(Source::parse(text))),
            Some(text) => File::Text(text),
        }
    }
}

/// Trees for tests.
#[cfg(test)]
impl Tree {
    pub(crate) fn of(files: &[(&str, &str)]) -> Tree {
        Tree::with_config("", files)
    }

    pub(crate) fn with_config(config_text: &str, files: &[(&str, &str)]) -> Tree {
        let read = |&(path, text): &(&str, &str)| (path.to_string(), File::new(path, Some(text.to_string())));
        let config = Config::parse(config_text).expect("the configuration of a test is right");
        Tree { files: files.iter().map(read).collect(), config, config_text: config_text.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_exists_if_a_file_is_in_it() {
        let tree = Tree::of(&[("docs/decisions/0001-a.md", "")]);
        assert!(tree.exists("docs/decisions/0001-a.md"));
        assert!(tree.exists("docs/decisions"));
        assert!(!tree.exists("docs/dec"));
    }

    #[test]
    fn only_the_libraries_of_crates_are_libraries() {
        let paths = ["crates/a/src/lib.rs", "crates/a/src/b/lib.rs", "benches/lib.rs"];
        let tree = Tree::of(&paths.map(|path| (path, "//! X.")));
        let found: Vec<_> = tree.libraries().map(|(path, directory, _)| (path, directory)).collect();
        assert_eq!(found, [("crates/a/src/lib.rs", "crates/a/src")]);
    }

    #[test]
    fn this_repository_can_be_read() {
        let tree = Tree::read(&crate::root()).unwrap();
        assert!(tree.source("xtask/src/tidy/tree.rs").is_some());
        assert!(tree.text(CONFIG).is_some());
        assert!(tree.paths().all(|path| !path.starts_with("target/")));
    }
}
