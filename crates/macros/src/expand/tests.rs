//! The expansions, as formatted source. What must *not* compile is in `tests/ui/`,
//! and what an expansion does when it runs is in `tests/expansions.rs`.

use proc_macro2::TokenStream;
use quote::quote;

fn formatted(tokens: TokenStream) -> String {
    let file = syn::parse2(tokens).expect("an expansion is a sequence of items");
    prettyplease::unparse(&file)
}

#[test]
fn main_without_options_runs_on_one_core() {
    let item = quote! {
        /// Serves.
        #[allow(unused)]
        async fn main() -> std::io::Result<()> {
            serve().await?;
            Ok(())
        }
    };
    let expected = "\
/// Serves.
#[allow(unused)]
fn main() -> std::io::Result<()> {
    async fn main() -> std::io::Result<()> {
        serve().await?;
        Ok(())
    }
    ::coronet::run(main())
}
";
    assert_eq!(formatted(super::main(quote!(), item)), expected);
}

#[test]
fn all_cores_get_the_function_itself() {
    let expected = "\
fn main() {
    async fn main() {}
    ::coronet::__private::main_on_cores(::coronet::__private::CoreCount::All, main)
}
";
    let expanded = super::main(
        quote!(cores = "all"),
        quote!(
            async fn main() {}
        ),
    );
    assert_eq!(formatted(expanded), expected);
}

#[test]
fn a_number_of_cores_is_a_plain_integer() {
    let expected = "\
fn main() {
    async fn main() {}
    ::coronet::__private::main_on_cores(
        ::coronet::__private::CoreCount::Exactly(4usize),
        main,
    )
}
";
    let expanded = super::main(
        quote!(cores = 4),
        quote!(
            async fn main() {}
        ),
    );
    assert_eq!(formatted(expanded), expected);
}

#[test]
fn another_name_for_the_facade_is_used_everywhere() {
    let options = quote!(cores = 2, crate = "crate::runtime");
    let text = formatted(super::main(
        options,
        quote!(
            async fn main() {}
        ),
    ));
    assert!(text.contains("crate::runtime::__private::main_on_cores("), "{text}");
    assert!(text.contains("crate::runtime::__private::CoreCount::Exactly(2usize)"), "{text}");
    assert!(!text.contains("coronet"), "{text}");
}

#[test]
fn a_test_gets_the_test_attribute_and_keeps_its_own() {
    let item = quote! {
        #[should_panic]
        async fn it_works() -> Result<(), Error> { Ok(()) }
    };
    let expected = "\
#[::core::prelude::v1::test]
#[should_panic]
fn it_works() -> Result<(), Error> {
    async fn it_works() -> Result<(), Error> {
        Ok(())
    }
    ::coronet::run(it_works())
}
";
    assert_eq!(formatted(super::test(quote!(), item)), expected);
}

#[test]
fn a_simulated_test_hands_the_function_over_with_its_name_and_seeds() {
    let item = quote! {
        async fn it_works() -> Result<(), Error> { Ok(()) }
    };
    let expected = "\
#[::core::prelude::v1::test]
fn it_works() {
    async fn it_works() -> Result<(), Error> {
        Ok(())
    }
    ::coronet::sim::test(
        ::core::concat!(::core::module_path!(), \"::\", ::core::stringify!(it_works)),
        7u64,
        it_works,
    );
}
";
    assert_eq!(formatted(super::test(quote!(sim, seeds = 7), item)), expected);
}

/// The trap: without the stub the compiler reports a missing `main` as well.
#[test]
fn an_error_leaves_an_empty_function_of_the_same_name() {
    let text = formatted(super::main(
        quote!(cores = 0),
        quote!(
            pub async fn main() -> u8 {
                1
            }
        ),
    ));
    assert!(text.contains("compile_error!"), "{text}");
    assert!(text.ends_with("#[allow(dead_code)]\npub fn main() {}\n"), "{text}");
}

#[test]
fn faults_of_the_options_and_of_the_function_are_reported_together() {
    let text = formatted(super::main(
        quote!(core = 2),
        quote!(
            fn main(a: u8) {}
        ),
    ));
    assert_eq!(text.matches("compile_error!").count(), 3, "{text}");
}

/// From text, so that the file has no `unsafe` of its own.
#[test]
fn qualifiers_are_refused_one_by_one() {
    let item = "async unsafe extern \"C\" fn main() {}".parse().unwrap();
    let text = formatted(super::main(quote!(), item));
    assert_eq!(text.matches("compile_error!").count(), 2, "{text}");
    assert!(text.contains("the function cannot be `unsafe`"), "{text}");
    assert!(text.contains("the function cannot have a foreign ABI"), "{text}");
}
