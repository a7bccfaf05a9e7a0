//! Attributes: what is only for tests, and what the documentation says.

use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, ImplItem, Item, Lit, Meta, Token, TraitItem};

/// Whether the item exists in test builds only: `#[test]`, or a `#[cfg]` that
/// cannot hold without `test`.
pub(crate) fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        if path.is_ident("cfg") {
            attribute.parse_args::<Meta>().is_ok_and(|condition| needs_test(&condition))
        } else {
            path.segments.last().is_some_and(|segment| segment.ident == "test")
        }
    })
}

fn needs_test(condition: &Meta) -> bool {
    let Meta::List(list) = condition else {
        return condition.path().is_ident("test");
    };
    let members = Punctuated::<Meta, Token![,]>::parse_terminated;
    let Ok(members) = list.parse_args_with(members) else {
        return false;
    };
    if list.path.is_ident("all") {
        members.iter().any(needs_test)
    } else if list.path.is_ident("any") {
        !members.is_empty() && members.iter().all(needs_test)
    } else {
        false
    }
}

/// Whether the documentation leaves the item out.
pub(crate) fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("doc")
            && attribute.parse_args::<Meta>().is_ok_and(|meta| meta.path().is_ident("hidden"))
    })
}

/// Whether the doc comment has this line, such as `# Cancellation`.
pub(crate) fn docs_have_line(attributes: &[Attribute], line: &str) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("doc")).any(|attribute| {
        match &attribute.meta {
            Meta::NameValue(pair) => match &pair.value {
                Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
                    text.value().lines().any(|text| text.trim() == line)
                }
                _ => false,
            },
            Meta::Path(_) | Meta::List(_) => false,
        }
    })
}

/// The attributes of an item of any kind.
pub(crate) fn of_item(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The attributes of a member of an `impl`.
pub(crate) fn of_impl_item(item: &ImplItem) -> &[Attribute] {
    match item {
        ImplItem::Const(item) => &item.attrs,
        ImplItem::Fn(item) => &item.attrs,
        ImplItem::Type(item) => &item.attrs,
        ImplItem::Macro(item) => &item.attrs,
        _ => &[],
    }
}

/// The attributes of a member of a trait.
pub(crate) fn of_trait_item(item: &TraitItem) -> &[Attribute] {
    match item {
        TraitItem::Const(item) => &item.attrs,
        TraitItem::Fn(item) => &item.attrs,
        TraitItem::Type(item) => &item.attrs,
        TraitItem::Macro(item) => &item.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(text: &str) -> Vec<Attribute> {
        of_item(&syn::parse_str::<Item>(&format!("{text}\nstruct S;")).unwrap()).to_vec()
    }

    #[test]
    fn test_only_means_that_no_other_build_has_it() {
        for yes in
            ["#[cfg(test)]", "#[test]", "#[coronet::test]", "#[cfg(all(unix, test))]", "#[cfg(any(test))]"]
        {
            assert!(is_test_only(&attributes(yes)), "{yes}");
        }
        for no in ["#[cfg(not(test))]", "#[cfg(any(test, loom))]", "#[cfg(loom)]", "#[cfg(any())]", ""] {
            assert!(!is_test_only(&attributes(no)), "{no}");
        }
    }

    #[test]
    fn a_line_of_the_docs_is_found_in_every_form_of_doc_comment() {
        for docs in [
            "/// A.\n///\n/// # Cancellation\n",
            "/** A.\n\n# Cancellation\n */",
            "#[doc = \"# Cancellation\"]",
        ] {
            assert!(docs_have_line(&attributes(docs), "# Cancellation"), "{docs}");
        }
        assert!(!docs_have_line(&attributes("/// ## Cancellation"), "# Cancellation"));
        assert!(!docs_have_line(&attributes("// # Cancellation\n"), "# Cancellation"));
    }

    #[test]
    fn hidden_is_seen() {
        assert!(is_hidden(&attributes("#[doc(hidden)]")));
        assert!(!is_hidden(&attributes("/// hidden")));
    }
}
