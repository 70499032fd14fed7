//! The rules of one route: which is the first that takes a request, and the target or location that it asks for.

use config_core::model::{Action, Rule};

use super::path::Literals;
use super::regex::{Expressions, RuleCache};
use super::rewrite::{Rewrite, RewriteError};

/// The compiled rules of a route, in the order written. Immutable; shared by all cores.
pub(crate) struct Rules {
    literals: Literals,
    expressions: Expressions,
    /// Of each rule.
    methods: Vec<Methods>,
    /// Of each rule that has a rewrite or a location.
    rewrites: Vec<Option<Rewrite>>,
}

/// Methods of a rule; empty: every method.
type Methods = Box<[Box<[u8]>]>;

/// A rule that takes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RuleMatch {
    /// Index of the rule in the order written.
    pub(crate) rule: usize,
}

/// Why rules do not compile. Validation has refused these before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuleError {
    /// Index of the rule.
    pub(crate) rule: usize,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// What the parts of a look-up have to know of a request.
pub(super) struct Request<'a> {
    pub(super) path: &'a [u8],
    method: &'a [u8],
    methods: &'a [Methods],
}

/// The first rule found so far.
#[derive(Default)]
pub(super) struct Best(Option<usize>);

impl Rules {
    /// Compiles the rules of a route.
    ///
    /// # Errors
    /// When an expression does not compile or a rewrite names a group that is not there.
    pub(crate) fn compile(rules: &[Rule]) -> Result<Rules, RuleError> {
        let patterns = || rules.iter().map(|rule| &rule.pattern).enumerate();
        let methods = |rule: &Rule| rule.methods.iter().map(|method| method.as_bytes().into()).collect();
        let methods: Vec<Methods> = rules.iter().map(methods).collect();
        let expressions = Expressions::compile(rules)?;
        let rewrite = |(rule, written): (usize, &Rule)| {
            let template = match &written.action {
                Action::Forward(forward) => forward.rewrite.as_deref(),
                Action::Redirect(redirect) => Some(redirect.location.as_str()),
                Action::Respond(_) => None,
            };
            let is_location = matches!(written.action, Action::Redirect(_));
            let compile = |template| Rewrite::compile(template, is_location, &written.pattern);
            template.map(compile).transpose().map_err(|reason| RuleError { rule, reason })
        };
        let rewrites = rules.iter().enumerate().map(rewrite).collect::<Result<_, _>>()?;
        Ok(Rules { literals: Literals::compile(patterns()), expressions, methods, rewrites })
    }

    /// The first rule, in the order written, that takes a request of this method for this path, which is in the normal form of
    /// `protocol::RequestHead::path`.
    pub(crate) fn find(&self, cache: &mut RuleCache, method: &[u8], path: &[u8]) -> Option<RuleMatch> {
        let request = Request { path, method, methods: &self.methods };
        let mut best = Best::default();
        self.literals.find(&request, &mut best);
        self.expressions.find(cache, &request, &mut best);
        best.0.map(|rule| RuleMatch { rule })
    }

    #[cfg(test)]
    pub(super) fn expression_groups(&self) -> usize {
        self.expressions.groups()
    }

    #[cfg(test)]
    pub(super) fn expressions_sifted(&self) -> usize {
        self.expressions.sifted()
    }

    /// Appends what the matched rule makes of the request's target: the target that the backend sees (a path, and `?` with
    /// the query where there is one), or the redirect's location. Gives false, and appends nothing, where the rule
    /// leaves the target as it is.
    ///
    /// # Errors
    /// When what the path holds must not become a target; `out` is then as it was.
    pub(crate) fn rewrite(
        &self,
        cache: &mut RuleCache,
        found: RuleMatch,
        path: &[u8],
        query: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<bool, RewriteError> {
        match self.rewrites.get(found.rule) {
            Some(Some(rewrite)) => rewrite.write(cache, path, query, out).map(|()| true),
            _ => Ok(false),
        }
    }
}

impl Request<'_> {
    /// Whether a rule takes the request's method.
    pub(super) fn is_method_of(&self, rule: usize) -> bool {
        let methods = self.methods.get(rule).map_or(&[][..], |methods| methods);
        methods.is_empty() || methods.iter().any(|method| **method == *self.method)
    }
}

impl Best {
    /// Whether `rule` would be before the best one.
    pub(super) fn is_after(&self, rule: usize) -> bool {
        self.0.is_none_or(|best| rule < best)
    }

    /// Makes `rule`, which is before the best one, the best one.
    pub(super) fn take(&mut self, rule: usize) {
        debug_assert!(self.is_after(rule));
        self.0 = Some(rule);
    }
}
