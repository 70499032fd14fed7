//! The expressions of a route. Those that a path can hardly match stand behind a sieve (`sieve.rs`); the others are searched
//! for at once: a lazy DFA over the alternation of them, anchored at the start, so that the first one in the order written
//! that finds a match is the one it reports, after one pass over the path.
//!
//! What must hold: paths are ASCII (`protocol` refuses anything else), so expressions are cut down to ASCII before they are
//! compiled; that is the same language on paths, and a hundredth of the automaton for `\w` or `(?i)`. A cache belongs to
//! the automaton with its id and to no other. A search is linear in the path times the size of the automaton even when every byte
//! leads to a state that is not there yet.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};

use config_core::model::{Pattern, Rule};
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::backtrack::{self, BoundedBacktracker};
use regex_automata::nfa::thompson::pikevm::{self, PikeVM};
use regex_automata::nfa::thompson::{NFA, WhichCaptures};
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Anchored, Input, PatternID};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Capture, Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Look, Repetition};

use super::required::{Required, required};
use super::rules::{Best, Request, RuleError};
use super::sieve::{Census, Expression, GROUP_RULES_MAX, Marks, SIEVE_MIN, Sieve};

/// Largest automaton of one expression: what the `regex` crate allows when the configuration is validated.
const EXPRESSION_BYTES_MAX: usize = 10 << 20;
/// Expressions are put together until their automatons have this size: a new state of the DFA costs time in proportion.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// What the states of one DFA may take on one core; past it they are forgotten and found again.
pub(super) const STATES_BYTES_MAX: usize = 2 << 20;
/// What the states of all DFAs may take on one core.
pub(super) const CACHE_BYTES_MAX: usize = 32 << 20;
/// DFAs with states on one core. Few routes have expressions, fewer are busy.
const CACHES: usize = 1024;
/// Bits that the backtracker may keep of where it has been; longer paths take the slower machine that needs none.
const VISITED_BYTES_MAX: usize = 32 << 10;

/// All rules of a route whose pattern is an expression.
pub(super) struct Expressions {
    groups: Vec<Group>,
    sieve: Option<Sieve>,
}

/// Expressions in one automaton.
pub(super) struct Group {
    /// Names its cache on each core; no two groups of a process have the same.
    id: u64,
    /// Rules by the number of their pattern, which rises with them.
    rules: Vec<usize>,
    dfa: DFA,
}

/// Numbers given to groups, on the control thread.
static GROUPS: AtomicU64 = AtomicU64::new(0);

impl Expressions {
    /// Takes up the rules with expressions.
    pub(super) fn compile(rules: &[Rule]) -> Result<Expressions, RuleError> {
        let written = rules.iter().enumerate().filter_map(|(rule, written)| match &written.pattern {
            Pattern::Regex(pattern) => Some(Parsed::new(rule, pattern, &written.methods)),
            _ => None,
        });
        let parsed = written.collect::<Result<Vec<Parsed<'_>>, RuleError>>()?;
        let census = Census::of(parsed.iter().map(|one| one.required.as_slice()));
        let are_many = parsed.len() > SIEVE_MIN;
        let (mut together, mut sifted) = (Vec::new(), Vec::new());
        let (mut behind, mut texts) = (Vec::new(), Vec::new());
        for one in &parsed {
            // A search for many gives those up at once that begin with a text which the path does not begin with.
            let set = census.best(&one.required).filter(|set| are_many && !(one.is_anchored && set.leads));
            if let Some(set) = set {
                let (group, pattern) = one.join(&mut sifted, Kind { methods: &[], floats: true });
                behind.push(Expression { rule: one.rule, group, pattern });
                texts.push(set);
            } else {
                // The states of those that may begin anywhere multiply.
                one.join(&mut together, Kind { methods: one.methods, floats: are_many && !one.is_anchored });
            }
        }
        let compile = |gathered: Vec<Gathered<'_>>, each_alone| {
            gathered.into_iter().map(|group| group.compile(each_alone)).collect::<Result<Vec<Group>, _>>()
        };
        let sieve = match behind.is_empty() {
            true => None,
            false => Some(Sieve::build(behind, &texts, compile(sifted, true)?)?),
        };
        Ok(Expressions { groups: compile(together, false)?, sieve })
    }

    /// How many searches there are at most.
    #[cfg(test)]
    pub(super) fn groups(&self) -> usize {
        self.groups.len()
    }

    /// How many expressions stand behind a sieve.
    #[cfg(test)]
    pub(super) fn sifted(&self) -> usize {
        self.sieve.as_ref().map_or(0, Sieve::len)
    }

    /// Improves on `best` with the first rule here that takes the request.
    pub(super) fn find(&self, cache: &mut RuleCache, request: &Request<'_>, best: &mut Best) {
        if let Some(sieve) = &self.sieve {
            sieve.find(cache, request, best);
        }
        for group in &self.groups {
            let Some(first) = group.rules.first() else { continue };
            if best.is_after(*first) && request.is_method_of(*first) {
                let found = group.find(cache, request.path);
                if let Some(rule) = found.filter(|rule| best.is_after(*rule)) {
                    best.take(rule);
                }
            }
        }
    }
}

/// An expression by itself.
struct Parsed<'a> {
    rule: usize,
    methods: &'a [String],
    hir: Hir,
    required: Vec<Required>,
    is_anchored: bool,
    /// Size of its automaton.
    bytes: usize,
}

/// What expressions of one group have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind<'a> {
    methods: &'a [String],
    floats: bool,
}

/// A group that still grows.
struct Gathered<'a> {
    kind: Kind<'a>,
    rules: Vec<usize>,
    hirs: Vec<Hir>,
    bytes: usize,
}

impl<'a> Parsed<'a> {
    fn new(rule: usize, pattern: &str, methods: &'a [String]) -> Result<Parsed<'a>, RuleError> {
        let failed = |reason| RuleError { rule, reason };
        let hir = parse(pattern).map_err(failed)?;
        let bytes = nfa(&[&hir], WhichCaptures::None).map_err(failed)?.memory_usage();
        let is_anchored = hir.properties().look_set_prefix().contains(Look::Start);
        Ok(Parsed { rule, methods, required: required(&hir), is_anchored, hir, bytes })
    }

    /// Joins the last group of its kind if that has room, else a new one. Gives the group's index and the number in it.
    fn join(&self, groups: &mut Vec<Gathered<'a>>, kind: Kind<'a>) -> (usize, PatternID) {
        let rules_max = if kind.floats { GROUP_RULES_MAX } else { usize::MAX };
        let has_room = |group: &Gathered<'_>| {
            group.rules.len() < rules_max && group.bytes + self.bytes <= GROUP_BYTES_MAX
        };
        let last = groups.iter().rposition(|group| group.kind == kind).filter(|at| has_room(&groups[*at]));
        let at = last.unwrap_or_else(|| {
            groups.push(Gathered { kind, rules: Vec::new(), hirs: Vec::new(), bytes: 0 });
            groups.len() - 1
        });
        let group = &mut groups[at];
        group.rules.push(self.rule);
        group.hirs.push(found_anywhere(self.hir.clone()));
        group.bytes += self.bytes;
        (at, PatternID::must(group.rules.len() - 1))
    }
}

impl Gathered<'_> {
    /// `each_alone`: it will be asked for single expressions.
    fn compile(self, each_alone: bool) -> Result<Group, RuleError> {
        let first = self.rules.first().copied().unwrap_or_default();
        let failed = |reason| RuleError { rule: first, reason };
        let hirs: Vec<&Hir> = self.hirs.iter().collect();
        let nfa = nfa(&hirs, WhichCaptures::None).map_err(failed)?;
        let config = DFA::config()
            .cache_capacity(STATES_BYTES_MAX)
            .skip_cache_capacity_check(true)
            .starts_for_each_pattern(each_alone);
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa);
        let dfa = dfa.map_err(|error| failed(error.to_string()))?;
        Ok(Group { id: GROUPS.fetch_add(1, Ordering::Relaxed), rules: self.rules, dfa })
    }
}

impl Group {
    /// The first rule whose expression matches.
    fn find(&self, cache: &mut RuleCache, path: &[u8]) -> Option<usize> {
        let found = self.search(cache, &Input::new(path).anchored(Anchored::Yes));
        found.and_then(|pattern| self.rules.get(pattern.as_usize()).copied())
    }

    /// Whether this expression matches; the group was made to be asked this.
    pub(super) fn is_match(&self, cache: &mut RuleCache, pattern: PatternID, path: &[u8]) -> bool {
        let input = Input::new(path).anchored(Anchored::Pattern(pattern)).earliest(true);
        self.search(cache, &input).is_some()
    }

    fn search(&self, cache: &mut RuleCache, input: &Input<'_>) -> Option<PatternID> {
        let found = cache.with(self.id, &self.dfa, |states| self.dfa.try_search_fwd(states, input));
        // It can only fail on bytes or kinds of search that this DFA was not built without.
        debug_assert!(found.is_ok());
        found.ok().flatten().map(|found| found.pattern())
    }
}

/// The expression with anything before it, unless it says itself that it begins where the path does.
fn found_anywhere(hir: Hir) -> Hir {
    if hir.properties().look_set_prefix().contains(Look::Start) {
        return hir;
    }
    let anything = Class::Unicode(ClassUnicode::new([ClassUnicodeRange::new('\0', '\x7f')]));
    let before = Repetition { min: 0, max: None, greedy: false, sub: Box::new(Hir::class(anything)) };
    Hir::concat(vec![Hir::repetition(before), hir])
}

/// Parses as the `regex` crate does, and cuts down to ASCII.
pub(super) fn parse(pattern: &str) -> Result<Hir, String> {
    let hir = ParserBuilder::new().build().parse(pattern).map_err(|error| error.to_string())?;
    Ok(ascii(&hir))
}

fn ascii(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0.clone()),
        HirKind::Class(Class::Unicode(class)) => {
            let mut class = class.clone();
            class.intersect(&ClassUnicode::new([ClassUnicodeRange::new('\0', '\x7f')]));
            Hir::class(Class::Unicode(class))
        }
        HirKind::Class(class @ Class::Bytes(_)) => Hir::class(class.clone()),
        HirKind::Look(look) => Hir::look(match look {
            Look::WordUnicode => Look::WordAscii,
            Look::WordUnicodeNegate => Look::WordAsciiNegate,
            Look::WordStartUnicode => Look::WordStartAscii,
            Look::WordEndUnicode => Look::WordEndAscii,
            Look::WordStartHalfUnicode => Look::WordStartHalfAscii,
            Look::WordEndHalfUnicode => Look::WordEndHalfAscii,
            plain => *plain,
        }),
        HirKind::Repetition(repetition) => Hir::repetition(repetition.with(ascii(&repetition.sub))),
        HirKind::Capture(capture) => Hir::capture(Capture {
            index: capture.index,
            name: capture.name.clone(),
            sub: Box::new(ascii(&capture.sub)),
        }),
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(ascii).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.iter().map(ascii).collect()),
    }
}

fn nfa(hirs: &[&Hir], captures: WhichCaptures) -> Result<NFA, String> {
    let limit = if hirs.len() == 1 { EXPRESSION_BYTES_MAX } else { usize::MAX };
    let config = NFA::config().utf8(false).which_captures(captures).nfa_size_limit(Some(limit));
    let nfa = NFA::compiler().configure(config).build_many_from_hir(hirs);
    nfa.map_err(|error| {
        std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
    })
}

/// Finds what the groups of one expression matched.
pub(super) struct Groups {
    /// Fast, on paths that are not too long.
    backtracker: BoundedBacktracker,
    /// Linear on any.
    pikevm: PikeVM,
}

impl Groups {
    /// Compiles an expression that [`parse`] has taken.
    pub(super) fn compile(hir: &Hir) -> Result<Groups, String> {
        let nfa = nfa(&[hir], WhichCaptures::All)?;
        let config = BoundedBacktracker::config().visited_capacity(VISITED_BYTES_MAX);
        let backtracker = BoundedBacktracker::builder().configure(config).build_from_nfa(nfa.clone());
        let pikevm = PikeVM::builder().build_from_nfa(nfa);
        Ok(Groups {
            backtracker: backtracker.map_err(|error| error.to_string())?,
            pikevm: pikevm.map_err(|error| error.to_string())?,
        })
    }

    /// Which group has this number and, from 1, this name.
    pub(super) fn number_of(&self, name: &str) -> Option<usize> {
        self.nfa().group_info().to_index(regex_automata::PatternID::ZERO, name)
    }

    /// Groups of the expression, the whole match among them.
    pub(super) fn count(&self) -> usize {
        self.nfa().group_info().group_len(regex_automata::PatternID::ZERO)
    }

    fn nfa(&self) -> &NFA {
        self.backtracker.get_nfa()
    }

    /// Where group `n` begins and ends, at `2 n` and `2 n + 1`, for groups below `count`; empty without a match.
    pub(super) fn find<'c>(
        &self,
        cache: &'c mut RuleCache,
        path: &[u8],
        count: usize,
    ) -> &'c [Option<NonMaxUsize>] {
        let input = Input::new(path);
        let slots = &mut cache.slots;
        slots.clear();
        slots.resize(2 * count, None);
        let found = if path.len() <= self.backtracker.max_haystack_len() {
            let scratch = cache.backtrack.get_or_insert_with(|| self.backtracker.create_cache());
            self.backtracker.reset_cache(scratch);
            self.backtracker.try_search_slots(scratch, &input, slots).ok().flatten()
        } else {
            let scratch = cache.pikevm.get_or_insert_with(|| self.pikevm.create_cache());
            self.pikevm.reset_cache(scratch);
            self.pikevm.search_slots(scratch, &input, slots)
        };
        if found.is_none() {
            slots.clear();
        }
        slots
    }
}

/// What one core keeps from search to search: states of DFAs that were found, and scratch. Bounded; what is not used goes
/// first.
pub(crate) struct RuleCache {
    /// The states of a group stand at its id, modulo their number.
    states: Vec<Option<Entry>>,
    /// Bytes of all states.
    bytes: usize,
    /// Where the next look for unused states begins.
    hand: usize,
    backtrack: Option<backtrack::Cache>,
    pikevm: Option<pikevm::Cache>,
    slots: Vec<Option<NonMaxUsize>>,
    marks: Marks,
}

struct Entry {
    id: u64,
    states: Cache,
    bytes: usize,
    /// Used since the hand last passed.
    used: bool,
}

impl RuleCache {
    /// Empty.
    pub(crate) fn new() -> RuleCache {
        RuleCache {
            states: Vec::new(),
            bytes: 0,
            hand: 0,
            backtrack: None,
            pikevm: None,
            slots: Vec::new(),
            marks: Marks::default(),
        }
    }

    /// Scratch of a sieve; to be given back.
    pub(super) fn take_marks(&mut self) -> Marks {
        mem::take(&mut self.marks)
    }

    pub(super) fn keep_marks(&mut self, marks: Marks) {
        self.marks = marks;
    }

    /// Bytes of what was found so far.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Runs `search` with the states of a group.
    fn with<R>(&mut self, id: u64, dfa: &DFA, search: impl FnOnce(&mut Cache) -> R) -> R {
        if self.states.is_empty() {
            self.states.resize_with(CACHES, || None);
        }
        let at = id as usize % CACHES;
        let place = &mut self.states[at];
        if let Some(other) = place.take_if(|entry| entry.id != id) {
            self.bytes -= other.bytes;
        }
        let entry =
            place.get_or_insert_with(|| Entry { id, states: dfa.create_cache(), bytes: 0, used: true });
        entry.used = true;
        let result = search(&mut entry.states);
        let bytes = entry.states.memory_usage();
        self.bytes = self.bytes + bytes - entry.bytes;
        entry.bytes = bytes;
        if self.bytes > CACHE_BYTES_MAX {
            self.make_room(at);
        }
        result
    }

    /// Forgets states that were not used for a while, though not those at `keep`.
    fn make_room(&mut self, keep: usize) {
        // Twice round: the first time takes the marks away.
        for _ in 0..2 * CACHES {
            if self.bytes <= CACHE_BYTES_MAX {
                return;
            }
            self.hand = (self.hand + 1) % CACHES;
            if self.hand == keep {
                continue;
            }
            let place = &mut self.states[self.hand];
            match place {
                Some(entry) if entry.used => entry.used = false,
                _ => self.bytes -= place.take().map_or(0, |entry| entry.bytes),
            }
        }
    }
}
