//! Rust source with everything blanked out that is not code.
//!
//! Knows just enough of the language for that: comments, strings, characters, lifetimes.

/// `source` with comments and the insides of strings and characters replaced by spaces; every
/// remaining character stays on its line and column.
pub(crate) fn blanked(source: &str) -> String {
    let characters: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < characters.len() {
        let end = end_of_non_code(&characters, at);
        if end > at {
            let blank = |c: &char| if *c == '\n' { '\n' } else { ' ' };
            out.extend(characters[at..end].iter().map(blank));
            at = end;
        } else {
            out.push(characters[at]);
            at += 1;
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends; `at` itself if there is none.
fn end_of_non_code(characters: &[char], at: usize) -> usize {
    let next = characters.get(at + 1).copied();
    match (characters[at], next) {
        ('/', Some('/')) => end_of_line(characters, at),
        ('/', Some('*')) => end_of_block_comment(characters, at),
        ('"', _) => end_of_string(characters, at),
        ('r', Some('"' | '#')) if begins_word(characters, at) => end_of_raw(characters, at),
        ('b' | 'c', Some('r')) if begins_word(characters, at) => {
            let end = end_of_raw(characters, at + 1);
            if end > at + 1 { end } else { at }
        }
        ('\'', _) => end_of_character(characters, at),
        _ => at,
    }
}

fn begins_word(characters: &[char], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| characters.get(before));
    before.is_none_or(|c| !is_word(*c) || matches!(c, 'b' | 'c'))
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn end_of_line(characters: &[char], at: usize) -> usize {
    let rest = &characters[at..];
    at + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())
}

fn end_of_block_comment(characters: &[char], at: usize) -> usize {
    let (mut depth, mut index) = (0, at);
    while index < characters.len() {
        match (characters[index], characters.get(index + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                index += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                index += 2;
                if depth == 0 {
                    return index;
                }
            }
            _ => index += 1,
        }
    }
    characters.len()
}

fn end_of_string(characters: &[char], at: usize) -> usize {
    let mut index = at + 1;
    while index < characters.len() {
        match characters[index] {
            '\\' => index += 2,
            '"' => return index + 1,
            _ => index += 1,
        }
    }
    characters.len()
}

/// `at` is the `r` of a raw string; a raw identifier (`r#type`) is none.
fn end_of_raw(characters: &[char], at: usize) -> usize {
    let hashes = characters[at + 1..]
        .iter()
        .take_while(|c| **c == '#')
        .count();
    let open = at + 1 + hashes;
    if characters.get(open) != Some(&'"') {
        return at;
    }
    let closing: Vec<char> = std::iter::once('"').chain(vec!['#'; hashes]).collect();
    let rest = &characters[open + 1..];
    let found = rest
        .windows(closing.len())
        .position(|window| window == closing);
    found.map_or(characters.len(), |found| open + 1 + found + closing.len())
}

/// `at` is a quote: of a character, or of a lifetime, which is code.
fn end_of_character(characters: &[char], at: usize) -> usize {
    match (characters.get(at + 1), characters.get(at + 2)) {
        (Some('\\'), _) => {
            let rest = &characters[(at + 3).min(characters.len())..];
            let closing = rest.iter().position(|c| *c == '\'');
            closing.map_or(characters.len(), |closing| at + 3 + closing + 1)
        }
        (Some(_), Some('\'')) => at + 3,
        _ => at,
    }
}

/// Where `word` stands in `code` as a word of its own, as byte offsets. A word may be a path.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| {
            let before = code[..*at].chars().next_back();
            let after = code[at + word.len()..].chars().next();
            let free = |c: Option<char>| c.is_none_or(|c| !is_word(c));
            let ends_open = word.ends_with(|c| !is_word(c));
            free(before) && (ends_open || free(after))
        })
}

/// The line, counted from 1, of a byte offset.
pub(crate) fn line_of(code: &str, offset: usize) -> usize {
    code[..offset].matches('\n').count() + 1
}

/// The offset after the brace that closes the one at `open`.
pub(crate) fn end_of_braces(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return open + at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_blanked_and_code_stays_in_place() {
        let cases = [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d\n */ e", "a               \n    e"),
            ("f(\"{ \\\" }\", 1)", "f(        , 1)"),
            ("f(r#\"{ \" }\"#, r\"\\\")", "f(          ,     )"),
            ("f(b\"x\", br\"y\", c\"z\")", "f(b   ,      , c   )"),
            (
                "'{' 'a '\\'' '\\u{41}' &'a str",
                "    'a               &'a str",
            ),
            ("r#type = for_r\"x\"", "r#type = for_r   "),
            ("\"never closed", "             "),
        ];
        for (source, expected) in cases {
            assert_eq!(blanked(source), expected, "{source}");
            assert_eq!(blanked(source).chars().count(), source.chars().count());
        }
    }

    #[test]
    fn words_are_found_only_as_words() {
        let code = "Instant InstantLike tokio::time::Instant rand::x operand::y";
        assert_eq!(words(code, "Instant").collect::<Vec<_>>(), [0, 33]);
        assert_eq!(words(code, "rand::").collect::<Vec<_>>(), [41]);
    }

    #[test]
    fn braces_are_matched() {
        let code = "fn a() { if x { } } fn b() {";
        assert_eq!(&code[7..end_of_braces(code, 7)], "{ if x { } }");
        assert_eq!(end_of_braces(code, 27), code.len());
        assert_eq!(line_of("a\nb\nc", 4), 3);
    }
}
