//! Whole-process tests: one file per promise, each a script of client, proxy and origin together.

#![forbid(unsafe_code)]

mod harness_itself;
