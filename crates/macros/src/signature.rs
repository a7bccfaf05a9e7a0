//! Which functions the attributes accept: an `async fn` without arguments and
//! without generics.

use proc_macro2::TokenStream;
use syn::{Error, ItemFn, Result};

/// Reads the item as a function. Anything else is one error on the whole item.
pub(crate) fn parse(attribute: &str, item: TokenStream) -> Result<ItemFn> {
    match syn::parse2::<ItemFn>(item.clone()) {
        Ok(function) => Ok(function),
        // A fault inside a function is worth its own message; "expected `fn`" on a
        // struct is not.
        Err(fault) if has_function_keyword(&item) => Err(fault),
        Err(_) => Err(Error::new_spanned(item, format!("`#[{attribute}]` goes on an `async fn`"))),
    }
}

fn has_function_keyword(item: &TokenStream) -> bool {
    item.clone().into_iter().any(|token| token.to_string() == "fn")
}

/// Says everything that is wrong with the signature.
pub(crate) fn check(attribute: &str, function: &ItemFn) -> Result<()> {
    let signature = &function.sig;
    let name = &signature.ident;
    let mut errors = Vec::new();
    if signature.asyncness.is_none() {
        let message = format!("`#[{attribute}]` needs an `async fn`: write `async fn {name}()`");
        errors.push(Error::new_spanned(signature.fn_token, message));
    }
    if let Some(token) = &signature.constness {
        errors.push(Error::new_spanned(token, "the function cannot be `const`"));
    }
    if let Some(token) = &signature.unsafety {
        let message = "the function cannot be `unsafe`: nobody could promise its safety duties";
        errors.push(Error::new_spanned(token, message));
    }
    if let Some(abi) = &signature.abi {
        errors.push(Error::new_spanned(abi, "the function cannot have a foreign ABI"));
    }
    if !signature.inputs.is_empty() {
        let message = format!("`{name}` is called by the runtime: it cannot have arguments");
        errors.push(Error::new_spanned(&signature.inputs, message));
    }
    if let Some(variadic) = &signature.variadic {
        errors.push(Error::new_spanned(variadic, "the function cannot be variadic"));
    }
    if !signature.generics.params.is_empty() {
        let message = format!("`{name}` is called by the runtime: it cannot be generic");
        errors.push(Error::new_spanned(&signature.generics.params, message));
    } else if let Some(clause) = &signature.generics.where_clause {
        let message = format!("`{name}` has nothing to constrain: remove the `where` clause");
        errors.push(Error::new_spanned(clause, message));
    }
    combined(errors)
}

/// One error that prints them all.
pub(crate) fn combined(errors: Vec<Error>) -> Result<()> {
    let all = errors.into_iter().reduce(|mut all, error| {
        all.combine(error);
        all
    });
    all.map_or(Ok(()), Err)
}
