//! Token streams: what a check sees inside macros, where there is no syntax tree.

use proc_macro2::{TokenStream, TokenTree};

/// Calls `visit` with every run of sibling tokens, from the outside in.
pub(crate) fn for_each_level(stream: &TokenStream, visit: &mut impl FnMut(&[TokenTree])) {
    let level: Vec<TokenTree> = stream.clone().into_iter().collect();
    visit(&level);
    for token in &level {
        if let TokenTree::Group(group) = token {
            for_each_level(&group.stream(), visit);
        }
    }
}

/// Whether the token is this identifier or keyword.
pub(crate) fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

/// Whether the token is this character.
pub(crate) fn is_sign(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

/// The line a token starts on.
pub(crate) fn line_of(token: &TokenTree) -> usize {
    token.span().start().line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_visited_once() {
        let stream: TokenStream = "a(b[c] d) e".parse().unwrap();
        let mut levels = Vec::new();
        for_each_level(&stream, &mut |level| levels.push(level.len()));
        assert_eq!(levels, [3, 3, 1]);
    }

    #[test]
    fn words_and_signs_are_told_apart() {
        let stream: TokenStream = "\n unsafe ! \"unsafe\"".parse().unwrap();
        let tokens: Vec<_> = stream.into_iter().collect();
        assert!(is_word(&tokens[0], "unsafe"));
        assert_eq!(line_of(&tokens[0]), 2);
        assert!(is_sign(&tokens[1], '!'));
        assert!(!is_word(&tokens[2], "unsafe"));
    }
}
