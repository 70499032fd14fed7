//! Texts that an expression cannot match without: where a path has none of them, the expression need not be tried.
//!
//! ```text
//!  /[a-z]+-7\.(?:png|jpe?g)$   ──►  { -7.png, -7.jpeg, -7.jpg }
//!  ^/api/(.*)/posts$           ──►  { /api/ } at its start, { /posts }
//! ```
//!
//! What must hold: all is in lower case, and so must be the path that is looked at; every match has at least one text of
//! each set.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Texts of one set.
const TEXTS_MAX: usize = 16;
/// Longest text.
const TEXT_BYTES_MAX: usize = 64;
/// Shortest text worth looking for: most paths have any given byte.
pub(super) const TEXT_BYTES_MIN: usize = 2;
/// Letters of a class that is spelled out.
const CLASS_MAX: usize = 4;

type Texts = Vec<Vec<u8>>;

/// Every match has one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Required {
    /// None twice, none shorter than `TEXT_BYTES_MIN`.
    pub(super) texts: Texts,
    /// And begins with it.
    pub(super) leads: bool,
}

/// What is known of an expression.
enum Known {
    /// All that it matches, and nothing else but where that stands.
    Whole(Texts),
    /// What every match has.
    Part(Vec<Required>),
}

/// All sets that were found.
pub(super) fn required(hir: &Hir) -> Vec<Required> {
    known(hir).into_required()
}

fn known(hir: &Hir) -> Known {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Known::Whole(vec![Vec::new()]),
        HirKind::Literal(literal) => match literal.0.len() {
            0..=TEXT_BYTES_MAX => Known::Whole(vec![literal.0.to_ascii_lowercase()]),
            _ => Known::Part(vec![Required {
                texts: vec![literal.0.iter().take(TEXT_BYTES_MAX).map(u8::to_ascii_lowercase).collect()],
                leads: true,
            }]),
        },
        HirKind::Class(class) => letters(class).map_or(Known::Part(Vec::new()), Known::Whole),
        HirKind::Capture(capture) => known(&capture.sub),
        HirKind::Repetition(repetition) => match (repetition.min, repetition.max, known(&repetition.sub)) {
            (0, Some(1), Known::Whole(mut texts)) => {
                texts.push(Vec::new());
                whole(texts)
            }
            (0, _, _) => Known::Part(Vec::new()),
            (_, _, once) => Known::Part(once.into_required()),
        },
        HirKind::Concat(parts) => concat(parts),
        HirKind::Alternation(parts) => alternation(parts),
    }
}

/// The letters of a small class, as texts.
fn letters(class: &Class) -> Option<Texts> {
    let ranges: Vec<(u32, u32)> = match class {
        Class::Unicode(class) => {
            class.iter().map(|range| (range.start().into(), range.end().into())).collect()
        }
        Class::Bytes(class) => class.iter().map(|range| (range.start().into(), range.end().into())).collect(),
    };
    let all = ranges.into_iter().flat_map(|(start, end)| start..=end).take(2 * CLASS_MAX + 1);
    let mut texts = all.map(|letter| Some(vec![u8::try_from(letter).ok()?.to_ascii_lowercase()]));
    let mut texts = texts.by_ref().collect::<Option<Texts>>()?;
    texts.sort_unstable();
    texts.dedup();
    matches!(texts.len(), 1..=CLASS_MAX).then_some(texts)
}

/// Neighbours that are known as a whole are put together; each such run is required, and what their other neighbours require.
fn concat(parts: &[Hir]) -> Known {
    let mut required = Vec::new();
    let mut run: Texts = vec![Vec::new()];
    // Until something comes before `run` that is not known as a whole.
    let mut leads = true;
    for part in parts {
        match known(part) {
            Known::Whole(texts) => match joined(&run, &texts) {
                Some(longer) => run = longer,
                None => {
                    required.extend(require(run, leads));
                    (run, leads) = (texts, false);
                }
            },
            Known::Part(inner) => {
                let at_start = leads && run.iter().all(Vec::is_empty);
                required.extend(require(run, leads));
                required
                    .extend(inner.into_iter().map(|set| Required { leads: set.leads && at_start, ..set }));
                (run, leads) = (vec![Vec::new()], false);
            }
        }
    }
    if leads {
        return Known::Whole(run);
    }
    required.extend(require(run, false));
    Known::Part(required)
}

/// Of each alternative the set that says most.
fn alternation(parts: &[Hir]) -> Known {
    let parts: Vec<Known> = parts.iter().map(known).collect();
    if parts.iter().all(|part| matches!(part, Known::Whole(_))) {
        let texts = parts.into_iter().flat_map(|part| match part {
            Known::Whole(texts) => texts,
            Known::Part(_) => Texts::new(),
        });
        return whole(texts.collect());
    }
    let best = |part: Known| part.into_required().into_iter().max_by_key(Required::shortest);
    let Some(sets) = parts.into_iter().map(best).collect::<Option<Vec<Required>>>() else {
        return Known::Part(Vec::new());
    };
    let leads = sets.iter().all(|set| set.leads);
    let texts = sets.into_iter().flat_map(|set| set.texts).collect();
    Known::Part(require(texts, leads).into_iter().collect())
}

/// Each of the one before each of the other.
fn joined(left: &Texts, right: &Texts) -> Option<Texts> {
    let longest = |texts: &Texts| texts.iter().map(Vec::len).max().unwrap_or_default();
    if longest(left) + longest(right) > TEXT_BYTES_MAX || left.len() * right.len() > TEXTS_MAX * TEXTS_MAX {
        return None;
    }
    let texts = left.iter().flat_map(|left| right.iter().map(|right| [left.as_slice(), right].concat()));
    match whole(texts.collect()) {
        Known::Whole(texts) => Some(texts),
        Known::Part(_) => None,
    }
}

fn whole(mut texts: Texts) -> Known {
    texts.sort_unstable();
    texts.dedup();
    if texts.len() <= TEXTS_MAX { Known::Whole(texts) } else { Known::Part(Vec::new()) }
}

/// A set, if it is worth looking for.
fn require(mut texts: Texts, leads: bool) -> Option<Required> {
    texts.sort_unstable();
    texts.dedup();
    let set = Required { texts, leads };
    (set.texts.len() <= TEXTS_MAX && set.shortest() >= TEXT_BYTES_MIN).then_some(set)
}

impl Known {
    fn into_required(self) -> Vec<Required> {
        match self {
            Known::Whole(texts) => require(texts, true).into_iter().collect(),
            Known::Part(required) => required,
        }
    }
}

impl Required {
    /// Bytes of the shortest text.
    pub(super) fn shortest(&self) -> usize {
        self.texts.iter().map(Vec::len).min().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::regex::parse;
    use super::*;

    fn sets(pattern: &str) -> Vec<(String, bool)> {
        let hir = parse(pattern).expect(pattern);
        let text = |set: Required| {
            let texts: Vec<String> =
                set.texts.iter().map(|text| String::from_utf8(text.clone()).expect("ASCII")).collect();
            (texts.join(" "), set.leads)
        };
        required(&hir).into_iter().map(text).collect()
    }

    #[test]
    fn what_a_match_cannot_be_without_is_found() {
        let long = "x".repeat(100);
        let cut = "x".repeat(TEXT_BYTES_MAX);
        let rows: [(&str, &[(&str, bool)]); 22] = [
            ("^/api/(.*)$", &[("/api/", true)]),
            (r"/item-7/(\d+)$", &[("/item-7/", true)]),
            (r"^/(.*)/posts/\d+/end$", &[("/posts/", false), ("/end", false)]),
            (r"[a-z]+-7\.(?:png|jpe?g)$", &[("-7.jpeg -7.jpg -7.png", false)]),
            ("(?i)/Shop/.*", &[("/shop/", true)]),
            (r"\bcat\b", &[("cat", true)]),
            ("abc|def", &[("abc def", true)]),
            ("ab.*|.*cd", &[("ab cd", false)]),
            ("ab.*|c", &[]),
            ("ab.*|", &[]),
            ("(abc)+d", &[("abc", true)]),
            ("(abc)*de", &[("de", false)]),
            ("(abc)?de", &[("abcde de", true)]),
            ("(?:ab.*cd){2}", &[("ab", true), ("cd", false)]),
            ("a.*b", &[]),
            (".", &[]),
            ("", &[]),
            (r"\d", &[]),
            ("[ab][cd]", &[("ac ad bc bd", true)]),
            (
                "[ab][ab][ab][ab][ab]x",
                &[
                    ("aaaa aaab aaba aabb abaa abab abba abbb baaa baab baba babb bbaa bbab bbba bbbb", true),
                    ("ax bx", false),
                ],
            ),
            ("(?:^|/)admin", &[("/admin admin", true)]),
            (&long, &[(&cut, true)]),
        ];
        for (pattern, expected) in rows {
            let expected: Vec<(String, bool)> =
                expected.iter().map(|(texts, leads)| ((*texts).to_owned(), *leads)).collect();
            assert_eq!(sets(pattern), expected, "{pattern}");
        }
    }
}
