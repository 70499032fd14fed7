//! One client connection: what it is while it lives, the loop over its requests, and how it ends.

pub(crate) mod client;
pub(crate) mod intake;
pub(crate) mod linger;
pub(crate) mod proxy_protocol;
pub(crate) mod serve;
