//! The compiled configuration that cores serve from: a [`compile::Table`] made of a snapshot, published by one swap.

pub(crate) mod compile;
pub(crate) mod publish;
pub(crate) mod route;
