//! Path patterns of rules, and the templates that take groups from them.

use std::sync::Arc;

use regex::RegexBuilder;

use super::section::{Findings, Section, Written};
use crate::model::{Pattern, Template, TemplatePart};

/// Longest pattern or template: half of the longest usual request line, and far beyond what anyone can read.
pub(crate) const TEXT_BYTES_MAX: usize = 4_096;
/// Memory of one compiled expression, the default of the crate: enough for `\w{50}`, and too little for `\w{5000}`.
const EXPRESSION_BYTES_MAX: usize = 10 << 20;

/// What validation knows about an expression: the names of its groups, the whole match first; or why it does not compile.
pub(crate) type Expression = Result<Arc<[Option<String>]>, String>;

/// What a pattern of a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Exact,
    Prefix,
    Regex,
}

const KINDS: [(&str, Option<Kind>); 3] =
    [("exact", Some(Kind::Exact)), ("prefix", Some(Kind::Prefix)), ("regex", Some(Kind::Regex))];

/// `match` and `pattern` of a rule. `None` after a mistake, which is then reported.
pub(crate) fn pattern(section: &mut Section<'_>, findings: &mut Findings) -> Option<Pattern> {
    let mut is_missing = false;
    for (key, example) in [("match", "match = \"prefix\""), ("pattern", "pattern = \"/api\"")] {
        if !section.has(key) {
            let (place, path) = (section.place().clone(), section.path_of(key));
            findings.refuse(&place, &path, "missing".to_owned(), format!("write {example}"));
            is_missing = true;
        }
    }
    let kind = section.choice("match", &KINDS, Kind::Exact, findings);
    let written = section.text("pattern", findings)?;
    if is_missing {
        return None;
    }
    let checked = match kind {
        _ if written.text.len() > TEXT_BYTES_MAX => Err(too_long(&written.text)),
        Kind::Exact | Kind::Prefix => check_path(&written.text),
        Kind::Regex => expression(&written.text, findings).map(drop),
    };
    if let Err(problem) = checked {
        let allowed = match kind {
            Kind::Exact | Kind::Prefix => "a path as clients send it, without a query",
            Kind::Regex => "an expression of the Rust crate \"regex\": no look-around, no back-references",
        };
        findings.refuse(&written.origin, &written.path, problem, allowed);
        return None;
    }
    let text = written.text;
    Some(match kind {
        Kind::Exact => Pattern::Exact(text),
        Kind::Prefix => Pattern::Prefix(text),
        Kind::Regex => Pattern::Regex(text),
    })
}

fn too_long(text: &str) -> String {
    format!(
        "found {} bytes; allowed: up to {TEXT_BYTES_MAX}, because no request line is much longer",
        text.len()
    )
}

/// Paths are compared in their normal form (RFC 3986 6.2.2): a pattern in another form would never match.
fn check_path(path: &str) -> Result<(), String> {
    let never = |reason: &str| Err(format!("found {path:?}, which no path is: {reason}"));
    if !path.starts_with('/') {
        return never("a path begins with \"/\"");
    }
    if path.contains(['?', '#']) {
        return never("a query or fragment is not part of it");
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return never("other bytes than visible ASCII are percent-encoded");
    }
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return never("dot segments are removed");
    }
    let mut rest = path;
    while let Some((_, encoded)) = rest.split_once('%') {
        let Some(digits) = encoded.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
        else {
            return never("\"%\" stands before two hexadecimal digits");
        };
        if digits.bytes().any(|digit| digit.is_ascii_lowercase()) {
            return never("percent-encodings are in upper case");
        }
        let byte = u8::from_str_radix(digits, 16).unwrap_or_default();
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            return Err(format!(
                "found {path:?}, which no path is: write {:?} for \"%{digits}\"",
                char::from(byte)
            ));
        }
        rest = &encoded[2..];
    }
    Ok(())
}

/// The groups of an expression, compiled at most once for all rules.
fn expression(text: &str, findings: &mut Findings) -> Expression {
    if let Some(known) = findings.expressions.get(text) {
        return known.clone();
    }
    let compiled = RegexBuilder::new(text).size_limit(EXPRESSION_BYTES_MAX).build();
    let expression = match compiled {
        Ok(regex) => Ok(regex.capture_names().map(|name| name.map(str::to_owned)).collect()),
        Err(error) => Err(format!("found {text:?}: {}", one_line(&error))),
    };
    findings.expressions.insert(text.to_owned(), expression.clone());
    expression
}

/// The crate draws the expression with a mark below the mistake, over several lines; the last one is the reason.
fn one_line(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(max) => format!("it needs more than {max} bytes when it is compiled"),
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
    }
}

/// A rewrite or a location: its references lead to groups of `pattern`. `None` after a mistake, which is then reported;
/// a pattern that was refused is not looked at.
pub(crate) fn template(
    written: &Written,
    pattern: Option<&Pattern>,
    check_text: fn(&str, Option<&Pattern>) -> Result<(), String>,
    findings: &mut Findings,
) -> Option<String> {
    let template = written.text.as_str();
    let groups = match pattern {
        Some(Pattern::Regex(text)) => expression(text, findings).ok(),
        Some(Pattern::Exact(_) | Pattern::Prefix(_)) => Some(Arc::from([None])),
        None => None,
    };
    let checked = if template.len() > TEXT_BYTES_MAX {
        Err(too_long(template))
    } else {
        check_template(template, groups.as_deref()).and_then(|()| check_text(template, pattern))
    };
    match checked {
        Ok(()) => Some(template.to_owned()),
        Err(problem) => {
            let allowed = "groups of the pattern are \"$1\" to \"$9\" and \"$name\", \"$$\" is a dollar sign";
            findings.refuse(
                &written.origin,
                &written.path,
                format!("found {template:?}: {problem}"),
                allowed,
            );
            None
        }
    }
}

fn check_template(template: &str, groups: Option<&[Option<String>]>) -> Result<(), String> {
    let parts = Template::parse(template).map_err(|error| error.to_string())?.parts;
    let Some(groups) = groups else { return Ok(()) };
    for part in parts {
        let missing = match part {
            TemplatePart::Text(_) => continue,
            TemplatePart::Number(number) if usize::try_from(number).is_ok_and(|at| at < groups.len()) => {
                continue;
            }
            TemplatePart::Name(name) if groups.iter().flatten().any(|group| *group == name) => continue,
            TemplatePart::Number(number) => number.to_string(),
            TemplatePart::Name(name) => format!("{name:?}"),
        };
        return Err(match groups.len() - 1 {
            0 => format!("there is no group {missing}: the pattern has no groups"),
            count => format!("there is no group {missing}: the pattern has {count}"),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_cannot_occur_is_refused() {
        for good in ["/", "/a", "/a/", "/a//b", "/a%20b", "/%E4", "/a/.b/c..", "/a%2Fb", "/$a"] {
            assert_eq!(check_path(good), Ok(()), "{good}");
        }
        let rows = [
            ("", "begins"),
            ("a", "begins"),
            ("*", "begins"),
            ("/a?b", "query"),
            ("/a b", "percent-encoded"),
            ("/\u{e4}", "percent-encoded"),
            ("/a/../b", "dot"),
            ("/.", "dot"),
            ("/%", "two hexadecimal"),
            ("/%4", "two hexadecimal"),
            ("/%zz", "two hexadecimal"),
            ("/%e4", "upper case"),
            ("/%41", "write 'A'"),
        ];
        for (path, part) in rows {
            let problem = check_path(path).expect_err(path);
            assert!(problem.contains(part), "{path}: {problem}");
        }
    }

    #[test]
    fn an_expression_is_refused_with_the_reason_in_one_line() {
        let rows = [
            ("(", "unclosed group"),
            ("a(?=b)", "look-around"),
            (r"(a)\1", "backreferences"),
            ("[z-a]", "range"),
            (r"\w{5000}", "needs more than"),
            ("(?P<a>.)(?P<a>.)", "duplicate"),
        ];
        for (text, part) in rows {
            let problem = expression(text, &mut Findings::default()).expect_err(text);
            assert!(problem.contains(part), "{text}: {problem}");
            assert!(!problem.contains('\n'), "{problem}");
        }
    }
}
