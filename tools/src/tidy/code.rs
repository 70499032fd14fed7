//! A Rust file as the rules see it: its code with comments and literals blanked out, and where its tests begin.
//!
//! Used by every rule that looks at Rust. Blanking keeps every line break, so that line numbers stay right.

/// A Rust file, ready to be searched.
pub(crate) struct Source {
    /// As written.
    raw: String,
    /// The same lines, with comments, strings and characters replaced by spaces.
    code: String,
    /// First line (from 0) that belongs to the file's own tests; the number of lines where there are none.
    tests_from: usize,
}

impl Source {
    /// Reads a file's text.
    pub(crate) fn new(raw: &str) -> Source {
        let code = blank(raw);
        let count = code.lines().count();
        let lines: Vec<&str> = code.lines().collect();
        // The house keeps tests last: everything from `#[cfg(test)] mod … {` on is test code.
        let tests_from = (0..count)
            .find(|&at| {
                lines[at].trim() == "#[cfg(test)]"
                    && lines[at + 1..]
                        .iter()
                        .find(|line| !line.trim().is_empty() && !line.trim_start().starts_with("#["))
                        .is_some_and(|line| line.trim_start().starts_with("mod ") && line.contains('{'))
            })
            .unwrap_or(count);
        Source { raw: raw.to_owned(), code, tests_from }
    }

    /// All lines of code, tests too, numbered from 1, without comments and literals.
    pub(crate) fn all(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(at, line)| (at + 1, line))
    }

    /// Lines as written, numbered from 1.
    pub(crate) fn raw(&self) -> impl Iterator<Item = (usize, &str)> {
        self.raw.lines().enumerate().map(|(at, line)| (at + 1, line))
    }

    /// How many lines stand before the tests.
    pub(crate) fn product_len(&self) -> usize {
        self.tests_from
    }
}

/// True when `word` stands in `line` as a whole word.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let letter = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(letter);
        let after = line[at + word.len()..].chars().next().is_some_and(letter);
        !before && !after
    })
}

/// The text with comments, strings and character literals replaced by spaces; line breaks stay.
fn blank(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(first) = rest.chars().next() {
        let hidden = hidden_len(rest, out.chars().next_back());
        if hidden == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        out.extend(rest[..hidden].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[hidden..];
    }
    out
}

/// Length of the comment or literal that begins here; 0 where there is none. `before` is the character that
/// stands before it: an `r` or `b` inside a name begins no literal.
fn hidden_len(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_len(rest);
    }
    if let Some(body) = rest.strip_prefix('"') {
        return 1 + string_len(body);
    }
    if rest.starts_with('\'') {
        return character_len(rest);
    }
    let inside_name = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if !inside_name && (rest.starts_with('r') || rest.starts_with("br")) {
        return raw_string_len(rest);
    }
    0
}

fn block_comment_len(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// Length up to and with the closing quote.
fn string_len(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character literal's length, or 0 for a lifetime.
fn character_len(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        // An escape: the quote that closes it is never the escaped one.
        Some((_, '\\')) => rest[3..].find('\'').map_or(0, |at| at + 4),
        Some((_, _)) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}

/// `r"…"`, `r#"…"#`, `br"…"`; 0 where it is only a name that begins with these letters.
fn raw_string_len(rest: &str) -> usize {
    let after_letters = rest.trim_start_matches('b').strip_prefix('r').unwrap_or_default();
    let hashes = after_letters.len() - after_letters.trim_start_matches('#').len();
    let Some(body) = after_letters[hashes..].strip_prefix('"') else { return 0 };
    let close = format!("\"{}", "#".repeat(hashes));
    let open = rest.len() - body.len();
    body.find(&close).map_or(rest.len(), |at| open + at + close.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked() {
        let rows = [
            ("a // b", "a     "),
            ("a /* b /* c */ d */ e", "a                   e"),
            ("f(\"x // y\") g", "f(        ) g"),
            ("f(\"\\\"\") g", "f(    ) g"),
            ("'a' 'x: &'a T", "    'x: &'a T"),
            ("'\\'' b", "     b"),
            ("'\"' b", "    b"),
            ("r#\"a \" b\"# c", "           c"),
            ("br\"a\" c", "      c"),
            ("for r in x", "for r in x"),
            ("let four = 4", "let four = 4"),
            ("a /* b\nc */ d", "a     \n     d"),
        ];
        for (raw, code) in rows {
            assert_eq!(blank(raw), code, "{raw}");
        }
    }

    #[test]
    fn tests_are_told_from_product() {
        let source = Source::new("fn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n");
        assert_eq!(source.product_len(), 2);
        assert_eq!(source.all().count(), 6);
        let whole = Source::new("fn a() {}\n#[cfg(test)]\nuse x;\nfn b() {}\n");
        assert_eq!(whole.product_len(), 4);
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("an unsafe { }", "unsafe"));
        assert!(!has_word("forbid(unsafe_code)", "unsafe"));
        assert!(!has_word("notunsafe", "unsafe"));
    }
}
