//! Tests of the two machines together with their parsers: rule tables, every split, comparison with httparse.

mod answers;
mod differential;
mod forwarding;
mod refusals;
mod splits;
mod world;
