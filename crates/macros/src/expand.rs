//! What the attributes turn a function into.
//!
//! On an error the output is the errors, and an empty function of the same name:
//! without it the compiler would add that `main` does not exist, and hide what is
//! really wrong.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{ItemFn, Path};

use crate::options::{CoreCount, MainOptions, TestOptions};
use crate::signature;

/// The expansion of `#[coronet::main]`.
pub(crate) fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = MainOptions::parse(options);
    with_function("coronet::main", item, options, |function, options| {
        let facade = &options.facade;
        let name = &function.sig.ident;
        let start = match options.cores {
            None => run(facade, &function),
            Some(CoreCount::All) => quote! {
                #facade::__private::main_on_cores(#facade::__private::CoreCount::All, #name)
            },
            Some(CoreCount::Exactly(count)) => quote! {
                #facade::__private::main_on_cores(
                    #facade::__private::CoreCount::Exactly(#count),
                    #name,
                )
            },
        };
        wrap(&function, &TokenStream::new(), &start)
    })
}

/// The expansion of `#[coronet::test]`.
pub(crate) fn test(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = TestOptions::parse(options);
    with_function("coronet::test", item, options, |function, options| {
        if let Some(twice) = function.attrs.iter().find(|a| a.path().is_ident("test")) {
            let message = "`#[coronet::test]` makes the function a test; remove this `#[test]`";
            let error = syn::Error::new_spanned(twice, message).into_compile_error();
            let stub = stub(&function);
            return quote!(#error #stub);
        }
        let attribute = quote!(#[::core::prelude::v1::test]);
        match options.seeds {
            Some(seeds) => simulate(&function, &attribute, &options.facade, seeds),
            None => wrap(&function, &attribute, &run(&options.facade, &function)),
        }
    })
}

/// Parses the function, and expands it if neither it nor the options are at fault.
/// All faults are reported at once.
fn with_function<O>(
    attribute: &str,
    item: TokenStream,
    options: syn::Result<O>,
    expand: impl FnOnce(ItemFn, O) -> TokenStream,
) -> TokenStream {
    let function = match signature::parse(attribute, item) {
        Ok(function) => function,
        Err(error) => return error.into_compile_error(),
    };
    let error = match (signature::check(attribute, &function), options) {
        (Ok(()), Ok(options)) => return expand(function, options),
        (Err(error), Ok(_)) | (Ok(()), Err(error)) => error,
        (Err(mut error), Err(more)) => {
            error.combine(more);
            error
        }
    };
    let error = error.into_compile_error();
    let stub = stub(&function);
    quote!(#error #stub)
}

/// Starts the inner function on one core.
fn run(facade: &Path, function: &ItemFn) -> TokenStream {
    let name = &function.sig.ident;
    quote!(#facade::run(#name()))
}

/// A plain function that starts the async one once for each seed, and judges what it returns.
fn simulate(function: &ItemFn, attribute: &TokenStream, facade: &Path, seeds: u64) -> TokenStream {
    let ItemFn { attrs, vis, sig, block } = function;
    let (name, output) = (&sig.ident, &sig.output);
    quote! {
        #attribute
        #(#attrs)*
        #vis fn #name() {
            async fn #name() #output #block
            #facade::sim::test(
                ::core::concat!(::core::module_path!(), "::", ::core::stringify!(#name)),
                #seeds,
                #name,
            );
        }
    }
}

/// A plain function around the async one. The attributes and the visibility of the
/// user's function are the outer one's; lint levels reach the inner one from there.
fn wrap(function: &ItemFn, attribute: &TokenStream, start: &TokenStream) -> TokenStream {
    let ItemFn { attrs, vis, sig, block } = function;
    let (name, output) = (&sig.ident, &sig.output);
    quote! {
        #attribute
        #(#attrs)*
        #vis fn #name() #output {
            async fn #name() #output #block
            #start
        }
    }
}

/// Keeps the name defined after an error.
fn stub(function: &ItemFn) -> TokenStream {
    let (vis, name) = (&function.vis, &function.sig.ident);
    quote! {
        #[allow(dead_code)]
        #vis fn #name() {}
    }
}

#[cfg(test)]
mod tests;
