//! What a rule makes of a target: a compiled template, filled with what the groups of its expression matched.
//!
//! What must hold: what comes out begins with `/` (unless it is a location elsewhere), has only bytes that may stand in a
//! target, and no dot segments: what was authorised as one path cannot become another on the way.

use config_core::model::{Pattern, Template, TemplatePart};

use super::regex::{Groups, RuleCache, parse};

/// Longest target that a rewrite makes. A template may name a group many times, and the client chooses what it holds.
const TARGET_BYTES_MAX: usize = 64 << 10;

/// Why a path has no rewritten target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RewriteError {
    /// It would have dot segments: 400.
    DotSegments,
    /// It would be longer than any target may be: 414.
    TooLong,
}

/// A compiled template and what it needs to be filled.
pub(super) struct Rewrite {
    parts: Vec<Part>,
    is_location: bool,
    /// It names a host.
    is_elsewhere: bool,
    /// A text of the template begins a query.
    has_query: bool,
    place: Place,
}

enum Part {
    /// With nothing in it that must not stand in a target.
    Text(Box<[u8]>),
    Group(usize),
}

/// What of the path stays, and what groups there are.
enum Place {
    /// The template is the whole.
    Whole,
    /// The template stands for so many bytes at the start.
    Prefix(usize),
    /// The template is the whole; groups below this number are asked for.
    Expression(Box<Groups>, usize),
}

impl Rewrite {
    /// Compiles the template of a rule with this pattern; a location may lead elsewhere.
    pub(super) fn compile(text: &str, is_location: bool, pattern: &Pattern) -> Result<Rewrite, String> {
        let template = Template::parse(text).map_err(|error| error.to_string())?;
        let asks = template.parts.iter().any(|part| !matches!(part, TemplatePart::Text(_)));
        let groups = match pattern {
            Pattern::Regex(pattern) if asks => Some(Groups::compile(&parse(pattern)?)?),
            _ => None,
        };
        let compile = |part: &TemplatePart| compile_part(part, is_location, groups.as_ref());
        let parts = template.parts.iter().map(compile).collect::<Result<Vec<Part>, String>>()?;
        let is_text = |part: &Part, test: fn(&[u8]) -> bool| matches!(part, Part::Text(text) if test(text));
        let has_query = parts.iter().any(|part| is_text(part, |text| text.contains(&b'?')));
        let goes_elsewhere = |text: &[u8]| !text.starts_with(b"/") || text.starts_with(b"//");
        let is_elsewhere = is_location && parts.first().is_some_and(|part| is_text(part, goes_elsewhere));
        let asked = parts.iter().filter_map(Part::group).max().map_or(0, |group| group + 1);
        let place = match (pattern, groups) {
            (Pattern::Prefix(_), _) if has_query && !is_location => {
                return Err("what a prefix becomes cannot have a query".to_owned());
            }
            (Pattern::Prefix(prefix), _) if !is_location => Place::Prefix(prefix.len()),
            (_, Some(groups)) => Place::Expression(Box::new(groups), asked),
            (_, None) => Place::Whole,
        };
        let rewrite = Rewrite { parts, is_location, is_elsewhere, has_query, place };
        if let [Part::Text(text)] = rewrite.parts.as_slice() {
            rewrite.check(text).map_err(|_| "it has a dot segment, or is too long".to_owned())?;
        }
        Ok(rewrite)
    }

    /// Appends what becomes of a path that the pattern matches, with its query.
    pub(super) fn write(
        &self,
        cache: &mut RuleCache,
        path: &[u8],
        query: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), RewriteError> {
        let start = out.len();
        let written = self.fill(cache, path, out).and_then(|()| {
            if !self.is_elsewhere {
                begin_with_slash(out, start, self.is_location);
            }
            mend_percent(out, start);
            self.check(out.get(start..).unwrap_or_default())
        });
        match written {
            Ok(()) => self.add_query(query, out, start),
            Err(_) => out.truncate(start),
        }
        written
    }

    fn fill(&self, cache: &mut RuleCache, path: &[u8], out: &mut Vec<u8>) -> Result<(), RewriteError> {
        let slots = match &self.place {
            Place::Expression(groups, asked) => groups.find(cache, path, *asked),
            Place::Whole | Place::Prefix(_) => &[],
        };
        let start = out.len();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Group(number) => {
                    let ends = slots.get(2 * number..2 * number + 2);
                    // A group that took no part in the match is empty.
                    let Some([Some(from), Some(to)]) = ends else { continue };
                    encode(path.get(from.get()..to.get()).unwrap_or_default(), is_path_byte, out);
                }
            }
            if out.len() - start > TARGET_BYTES_MAX {
                return Err(RewriteError::TooLong);
            }
        }
        if let Place::Prefix(len) = self.place {
            append_rest(path.get(len..).unwrap_or_default(), out);
        }
        Ok(())
    }

    /// A location is for the client, which sends a request of its own for it.
    fn check(&self, target: &[u8]) -> Result<(), RewriteError> {
        let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
        let mut segments = path.split(|byte| *byte == b'/');
        match target.len() {
            0..=TARGET_BYTES_MAX if self.is_location || !segments.any(is_dot_segment) => Ok(()),
            0..=TARGET_BYTES_MAX => Err(RewriteError::DotSegments),
            _ => Err(RewriteError::TooLong),
        }
    }

    fn add_query(&self, query: Option<&[u8]>, out: &mut Vec<u8>, start: usize) {
        let Some(query) = query else { return };
        if self.has_query {
            // A location that has a query says all that it wants to.
            if !self.is_location && !query.is_empty() {
                out.push(b'&');
                out.extend_from_slice(query);
            }
            return;
        }
        let target = out.get(start..).unwrap_or_default();
        let fragment = target.iter().rev().position(|byte| *byte == b'#').map_or(0, |at| at + 1);
        let at = out.len() - fragment;
        out.push(b'?');
        out.extend_from_slice(query);
        if let Some(tail) = out.get_mut(at..) {
            tail.rotate_left(fragment);
        }
    }
}

impl Part {
    fn group(&self) -> Option<usize> {
        match self {
            Part::Text(_) => None,
            Part::Group(number) => Some(*number),
        }
    }
}

fn compile_part(part: &TemplatePart, is_location: bool, groups: Option<&Groups>) -> Result<Part, String> {
    let (number, name) = match part {
        TemplatePart::Text(text) => {
            let may_stand = if is_location { is_location_byte } else { is_target_byte };
            let mut encoded = Vec::with_capacity(text.len());
            encode(text.as_bytes(), may_stand, &mut encoded);
            return Ok(Part::Text(encoded.into()));
        }
        TemplatePart::Number(number) => (usize::try_from(*number).ok(), number.to_string()),
        TemplatePart::Name(name) => (groups.and_then(|groups| groups.number_of(name)), name.clone()),
    };
    let known = |number: &usize| groups.is_some_and(|groups| *number < groups.count());
    number.filter(known).map(Part::Group).ok_or_else(|| format!("the pattern has no group {name}"))
}

/// What follows a prefix, behind what the prefix became: one slash between them.
fn append_rest(rest: &[u8], out: &mut Vec<u8>) {
    if rest.is_empty() {
        return;
    }
    if out.last() != Some(&b'/') {
        out.push(b'/');
    }
    encode(rest.strip_prefix(b"/").unwrap_or(rest), is_path_byte, out);
}

/// A location of ours must not begin with two slashes: what follows them would be taken for a host.
fn begin_with_slash(out: &mut Vec<u8>, start: usize, one_only: bool) {
    let slashes = out.iter().skip(start).take_while(|byte| **byte == b'/').count();
    if slashes == 0 {
        out.insert(start, b'/');
    } else if one_only {
        out.drain(start..start + slashes - 1);
    }
}

/// A template may cut a percent-encoding in two; a `%` that begins none is encoded itself.
fn mend_percent(out: &mut Vec<u8>, start: usize) {
    let mut at = start;
    while let Some(found) = out.get(at..).and_then(|rest| memchr::memchr(b'%', rest)) {
        at += found + 1;
        let digits = out.get(at..at + 2);
        if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            out.splice(at..at, *b"25");
        }
    }
}

/// RFC 3986 3.3: `.` or `..`, however it is spelled.
fn is_dot_segment(segment: &[u8]) -> bool {
    let mut rest = segment;
    let mut dots = 0;
    while let Some((first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'.', after) => after,
            (b'%', [b'2', b'e' | b'E', after @ ..]) => after,
            _ => return false,
        };
        dots += 1;
    }
    matches!(dots, 1 | 2)
}

/// Appends `bytes`, with those percent-encoded that may not stand there.
fn encode(bytes: &[u8], may_stand: fn(u8) -> bool, out: &mut Vec<u8>) {
    for byte in bytes {
        if may_stand(*byte) {
            out.push(*byte);
        } else {
            let digit = |value: u8| b"0123456789ABCDEF"[usize::from(value & 15)];
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(*byte)]);
        }
    }
}

/// RFC 3986 3.3, and `%`, which [`mend_percent`] looks at.
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte)
}

/// A path, and a query of the template's own.
fn is_target_byte(byte: u8) -> bool {
    is_path_byte(byte) || byte == b'?'
}

/// Any reference (RFC 3986 4.1): a fragment, and addresses in brackets.
fn is_location_byte(byte: u8) -> bool {
    is_target_byte(byte) || b"#[]".contains(&byte)
}
