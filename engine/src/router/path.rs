//! Exact paths and prefixes: one sorted list. The greatest text that is not above a path has every text that the path begins
//! with among itself and its ancestors, so that a look-up is one binary search and a walk over rules that nest.

use config_core::model::Pattern;

use super::rules::{Best, Request};

/// All rules of a route whose pattern is plain text.
pub(super) struct Literals {
    /// Sorted by text, each text once.
    texts: Vec<Text>,
}

struct Text {
    text: Box<[u8]>,
    /// The longest other text that this one begins with.
    parent: Option<usize>,
    /// The first rule of this text and of all its ancestors.
    first: usize,
    /// Sorted by rule.
    uses: Vec<Use>,
}

struct Use {
    rule: usize,
    is_prefix: bool,
}

impl Literals {
    /// Takes up all patterns but the expressions; each has the index of its rule.
    pub(super) fn compile<'a>(patterns: impl Iterator<Item = (usize, &'a Pattern)>) -> Literals {
        let plain = patterns.filter_map(|(rule, pattern)| match pattern {
            Pattern::Exact(text) => Some((text.as_bytes(), Use { rule, is_prefix: false })),
            Pattern::Prefix(text) => Some((text.as_bytes(), Use { rule, is_prefix: true })),
            Pattern::Regex(_) => None,
        });
        let mut plain: Vec<(&[u8], Use)> = plain.collect();
        plain.sort_by_key(|(text, used)| (*text, used.rule));
        let mut texts: Vec<Text> = Vec::new();
        for (text, used) in plain {
            match texts.last_mut() {
                Some(last) if *last.text == *text => last.uses.push(used),
                last => {
                    // Whatever this begins with stands directly before it, or is an ancestor of what does.
                    let mut parent = last.is_some().then(|| texts.len() - 1);
                    while let Some(at) = parent.filter(|at| !text.starts_with(&texts[*at].text)) {
                        parent = texts[at].parent;
                    }
                    let first = parent.map_or(usize::MAX, |at| texts[at].first).min(used.rule);
                    texts.push(Text { text: text.into(), parent, first, uses: vec![used] });
                }
            }
        }
        Literals { texts }
    }

    /// Improves on `best` with the first rule here that takes the request.
    pub(super) fn find(&self, request: &Request<'_>, best: &mut Best) {
        let path = request.path;
        let above = self.texts.partition_point(|text| *text.text <= *path);
        let mut next = above.checked_sub(1);
        let Some(nearest) = next.and_then(|at| self.texts.get(at)) else { return };
        let shared = nearest.text.iter().zip(path).take_while(|(left, right)| left == right).count();
        while let Some(text) = next.and_then(|at| self.texts.get(at)) {
            if !best.is_after(text.first) {
                return;
            }
            if text.text.len() <= shared {
                text.find(request, best);
            }
            next = text.parent;
        }
    }
}

impl Text {
    /// The path begins with this text.
    fn find(&self, request: &Request<'_>, best: &mut Best) {
        let rest = request.path.get(self.text.len()..).unwrap_or_default();
        let at_segment_end = rest.is_empty() || rest.starts_with(b"/") || self.text.ends_with(b"/");
        for used in &self.uses {
            let takes = if used.is_prefix { at_segment_end } else { rest.is_empty() };
            if takes && best.is_after(used.rule) && request.is_method_of(used.rule) {
                best.take(used.rule);
                return;
            }
        }
    }
}
