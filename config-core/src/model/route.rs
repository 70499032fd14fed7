//! A route: which requests, and where they go.

use super::Upstream;
use crate::ids::RouteId;

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Stable id.
    pub id: RouteId,
    /// Host that it serves; `*`, every host, in this version.
    pub vhost: String,
    /// How many other backends are tried after a failure that is safe to repeat.
    pub retries: u32,
    /// Where its requests go.
    pub upstream: Upstream,
}
