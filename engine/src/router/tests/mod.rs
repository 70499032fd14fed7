//! The router against models of it that look at everything, one after another; and tables of what each part does.

mod hosts;
mod rewrites;
mod rules;

use config_core::model::{Action, Forward, Pattern, Redirect, Rule};

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// Up to `most` pieces of `list`, joined.
    fn joined(&mut self, list: &[&str], most: usize) -> String {
        (0..self.below(most + 1)).map(|_| self.one_of(list)).collect()
    }
}

fn rule(pattern: Pattern, methods: &[&str]) -> Rule {
    let methods = methods.iter().map(|method| (*method).to_owned()).collect();
    Rule { pattern, methods, action: Action::Forward(Forward::default()) }
}

fn exact(text: &str) -> Pattern {
    Pattern::Exact(text.to_owned())
}

fn prefix(text: &str) -> Pattern {
    Pattern::Prefix(text.to_owned())
}

fn regex(text: &str) -> Pattern {
    Pattern::Regex(text.to_owned())
}

fn rewritten(pattern: Pattern, rewrite: &str) -> Rule {
    let forward = Forward { rewrite: Some(rewrite.to_owned()), ..Forward::default() };
    Rule { action: Action::Forward(forward), ..rule(pattern, &[]) }
}

fn redirected(pattern: Pattern, location: &str) -> Rule {
    let redirect = Redirect { status: 308, location: location.to_owned() };
    Rule { action: Action::Redirect(redirect), ..rule(pattern, &[]) }
}
