//! Whole-process tests: one file per promise, each a script of client, proxy and origin together.

#![forbid(unsafe_code)]

mod backend_dies;
mod backpressure;
mod balancing;
mod bench_command;
mod bodies;
mod busy_poll;
mod caps;
mod check;
mod deadlines;
mod drain;
mod drivers;
mod expect_continue;
mod fair_cores;
mod forwarded_fields;
mod harness_itself;
mod health;
mod hop_by_hop;
mod hot_change;
mod keeps_alive;
mod lends;
mod maintenance;
mod mixture;
mod names;
mod open_files;
mod path_normalised;
mod pipelining;
mod queues;
mod real_clients;
mod refuses;
mod relay;
mod reload;
mod response_faults;
mod restart;
mod retry;
mod routes;
mod rules;
mod socket_options;
mod statistics;
mod tls;
mod tls_attacks;
mod tls_backends;
mod turns;
mod unix_backend;
mod upgrade;
