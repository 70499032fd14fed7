//! Templates of rewrites and locations: a text with places for what the groups of a pattern matched.
//!
//! ```text
//! $1 … $9    group by number (one digit: `$10` is group 1 and a zero)      ${12}    group by number
//! $name      group by name (letters, digits, `_`, as many as follow)       ${name}  group by name
//! $$         a dollar sign; a `$` before anything else is refused
//! ```

use std::fmt;

/// A template, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Its pieces in order. No two texts stand side by side, and none is empty.
    pub parts: Vec<TemplatePart>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplatePart {
    /// Taken as it stands.
    Text(String),
    /// What the group of this number matched; from 1.
    Number(u32),
    /// What the group of this name matched.
    Name(String),
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// The part that is wrong, from its `$`.
    pub found: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no group: write $1 to $9, $name, ${{name}}, or $$ for a dollar sign", self.found)
    }
}

impl Template {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// When a `$` begins nothing that has a meaning.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            plain.push_str(before);
            if let Some(behind) = after.strip_prefix('$') {
                plain.push('$');
                rest = behind;
                continue;
            }
            let Some((group, behind)) = group(after) else {
                return Err(TemplateError {
                    found: format!("${}", after.chars().take(16).collect::<String>()),
                });
            };
            if !plain.is_empty() {
                parts.push(TemplatePart::Text(std::mem::take(&mut plain)));
            }
            parts.push(group);
            rest = behind;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(TemplatePart::Text(plain));
        }
        Ok(Template { parts })
    }
}

/// The group that `text` begins with, behind its dollar sign, and what follows it.
fn group(text: &str) -> Option<(TemplatePart, &str)> {
    if let Some(braced) = text.strip_prefix('{') {
        let (inside, behind) = braced.split_once('}')?;
        let is_number = inside.bytes().all(|byte| byte.is_ascii_digit());
        let part = match inside.parse() {
            Ok(number) if is_number && number > 0 => TemplatePart::Number(number),
            _ if is_name(inside) => TemplatePart::Name(inside.to_owned()),
            _ => return None,
        };
        return Some((part, behind));
    }
    if let Some(digit @ 1..=9) = text.chars().next()?.to_digit(10) {
        return Some((TemplatePart::Number(digit), &text[1..]));
    }
    let end = text.find(|letter| !is_name_letter(letter)).unwrap_or(text.len());
    let (name, behind) = text.split_at(end);
    is_name(name).then(|| (TemplatePart::Name(name.to_owned()), behind))
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| !first.is_ascii_digit()) && text.chars().all(is_name_letter)
}

fn is_name_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

#[cfg(test)]
mod tests {
    use super::*;
    use TemplatePart::{Name, Number, Text};

    fn text(text: &str) -> TemplatePart {
        Text(text.to_owned())
    }

    fn name(name: &str) -> TemplatePart {
        Name(name.to_owned())
    }

    #[test]
    fn templates_are_taken_apart() {
        let rows = [
            ("", vec![]),
            ("/v1/$1", vec![text("/v1/"), Number(1)]),
            ("/version/$1/$2", vec![text("/version/"), Number(1), text("/"), Number(2)]),
            ("$10", vec![Number(1), text("0")]),
            ("${10}x", vec![Number(10), text("x")]),
            ("/$id_2-x", vec![text("/"), name("id_2"), text("-x")]),
            ("${id}y", vec![name("id"), text("y")]),
            ("a$$b$$$1", vec![text("a$b$"), Number(1)]),
            ("$1$2", vec![Number(1), Number(2)]),
            ("/\u{e4}$_", vec![text("/\u{e4}"), name("_")]),
        ];
        for (written, parts) in rows {
            assert_eq!(Template::parse(written), Ok(Template { parts }), "{written}");
        }
    }

    #[test]
    fn a_dollar_sign_means_something_or_is_refused() {
        for written in [
            "$",
            "/$",
            "$0",
            "${0}",
            "${}",
            "${a",
            "${1a}",
            "$-",
            "$/",
            "${a b}",
            "$\u{e4}",
            "${99999999999}",
        ] {
            assert!(Template::parse(written).is_err(), "{written}");
        }
        assert_eq!(Template::parse("/a/$-b").map_err(|error| error.found), Err("$-b".to_owned()));
    }
}
