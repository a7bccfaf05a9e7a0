//! The options in the parentheses of an attribute.
//!
//! Every fault is reported at the token that causes it, and names what may stand
//! there.

use proc_macro2::TokenStream;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ExprLit, Lit, Meta, MetaNameValue, Path, Result, Token};

use crate::signature::combined;

/// Seeds of a simulated test that names no number: a second or two for a small server.
const SEEDS: u64 = 100;

/// How many cores `#[coronet::main(cores = ...)]` asks for.
pub(crate) enum CoreCount {
    /// As many as the process may use.
    All,
    /// This many, at least one.
    Exactly(usize),
}

/// Options of `#[coronet::main]`.
pub(crate) struct MainOptions {
    /// `None`: one core, without the machinery for more.
    pub(crate) cores: Option<CoreCount>,
    /// Path of the facade crate.
    pub(crate) facade: Path,
}

/// Options of `#[coronet::test]`.
pub(crate) struct TestOptions {
    /// Under how many seeds of the simulated kernel; `None`: on the real one.
    pub(crate) seeds: Option<u64>,
    /// Path of the facade crate.
    pub(crate) facade: Path,
}

impl MainOptions {
    pub(crate) fn parse(tokens: TokenStream) -> Result<MainOptions> {
        let (mut cores, mut facade) = (None, None);
        each_option(tokens, |option| {
            if option.path().is_ident("cores") {
                cores = Some(core_count(option)?);
            } else if option.path().is_ident("crate") {
                facade = Some(path_of_facade(option)?);
            } else {
                let message = format!(
                    "unknown option `{}`; `#[coronet::main]` knows `cores` and `crate`",
                    name_of(option)
                );
                return Err(Error::new_spanned(option.path(), message));
            }
            Ok(())
        })?;
        Ok(MainOptions { cores, facade: facade.unwrap_or_else(default_facade) })
    }
}

impl TestOptions {
    pub(crate) fn parse(tokens: TokenStream) -> Result<TestOptions> {
        let (mut is_simulated, mut seeds, mut facade) = (false, None, None);
        each_option(tokens, |option| {
            if option.path().is_ident("sim") {
                let Meta::Path(_) = option else {
                    let message = "`sim` takes no value: write `sim, seeds = 100`";
                    return Err(Error::new_spanned(option, message));
                };
                is_simulated = true;
            } else if option.path().is_ident("seeds") {
                seeds = Some((seed_count(option)?, option.path().clone()));
            } else if option.path().is_ident("crate") {
                facade = Some(path_of_facade(option)?);
            } else {
                let message = format!(
                    "unknown option `{}`; `#[coronet::test]` knows `sim`, `seeds` and `crate`",
                    name_of(option)
                );
                return Err(Error::new_spanned(option.path(), message));
            }
            Ok(())
        })?;
        let seeds = match (is_simulated, seeds) {
            (true, seeds) => Some(seeds.map_or(SEEDS, |(count, _)| count)),
            (false, None) => None,
            (false, Some((_, path))) => {
                let message = "`seeds` are those of the simulated kernel: write `sim, seeds = ...`";
                return Err(Error::new_spanned(path, message));
            }
        };
        Ok(TestOptions { seeds, facade: facade.unwrap_or_else(default_facade) })
    }
}

fn default_facade() -> Path {
    syn::parse_quote!(::coronet)
}

/// Calls `read` with each option, collects the faults, and refuses repetitions.
fn each_option(tokens: TokenStream, mut read: impl FnMut(&Meta) -> Result<()>) -> Result<()> {
    let options = Punctuated::<Meta, Token![,]>::parse_terminated.parse2(tokens)?;
    let mut seen = Vec::new();
    let mut errors = Vec::new();
    for option in &options {
        let name = name_of(option);
        if seen.contains(&name) {
            let message = format!("option `{name}` is given twice");
            errors.push(Error::new_spanned(option.path(), message));
        } else if let Err(error) = read(option) {
            errors.push(error);
        }
        seen.push(name);
    }
    combined(errors)
}

fn name_of(option: &Meta) -> String {
    let segments = option.path().segments.iter().map(|segment| segment.ident.to_string());
    segments.collect::<Vec<_>>().join("::")
}

fn core_count(option: &Meta) -> Result<CoreCount> {
    const EXPECTED: &str = "expected a number of cores or \"all\", as in `cores = 4`";
    let value = literal(option, EXPECTED)?;
    match value {
        Lit::Int(number) => match number.base10_parse::<usize>() {
            Ok(0) => {
                let message = "`cores = 0` leaves no core to run `main`; use 1 or more, or \"all\"";
                Err(Error::new_spanned(number, message))
            }
            Ok(count) => Ok(CoreCount::Exactly(count)),
            Err(_) if number.base10_digits().starts_with('-') => Err(Error::new_spanned(number, EXPECTED)),
            Err(_) => Err(Error::new_spanned(number, "this is more cores than can be counted")),
        },
        Lit::Str(text) if text.value() == "all" => Ok(CoreCount::All),
        Lit::Str(text) if text.value().parse::<usize>().is_ok() => {
            let message = format!("a number needs no quotes: write `cores = {}`", text.value());
            Err(Error::new_spanned(text, message))
        }
        other => Err(Error::new_spanned(other, EXPECTED)),
    }
}

fn seed_count(option: &Meta) -> Result<u64> {
    const EXPECTED: &str = "expected a number of seeds, at least 1, as in `seeds = 100`";
    match literal(option, EXPECTED)? {
        Lit::Int(number) => match number.base10_parse::<u64>() {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(Error::new_spanned(number, EXPECTED)),
        },
        other => Err(Error::new_spanned(other, EXPECTED)),
    }
}

fn path_of_facade(option: &Meta) -> Result<Path> {
    const EXPECTED: &str = "expected the path of the crate in quotes, as in `crate = \"coronet\"`";
    match literal(option, EXPECTED)? {
        Lit::Str(text) => {
            text.parse_with(Path::parse_mod_style).map_err(|_| Error::new_spanned(text, EXPECTED))
        }
        other => Err(Error::new_spanned(other, EXPECTED)),
    }
}

/// The literal to the right of `=`.
fn literal<'a>(option: &'a Meta, expected: &str) -> Result<&'a Lit> {
    match option {
        Meta::NameValue(MetaNameValue { value: Expr::Lit(ExprLit { lit, .. }), .. }) => Ok(lit),
        Meta::NameValue(pair) => Err(Error::new_spanned(&pair.value, expected)),
        Meta::Path(_) | Meta::List(_) => Err(Error::new_spanned(option, expected)),
    }
}
