//! `[health]` and `[circuit_breaker]`.

use crate::defaults;
use crate::model::CircuitBreaker;

/// What is in force where nothing is written.
pub(crate) fn circuit_breaker() -> CircuitBreaker {
    CircuitBreaker {
        failure_threshold: defaults::FAILURE_THRESHOLD,
        failure_ratio_percent: None,
        window_ms: defaults::FAILURE_WINDOW_MS,
        window_requests_min: defaults::FAILURE_WINDOW_REQUESTS_MIN,
        reset_timeout_ms: defaults::RESET_TIMEOUT_MS,
        reset_timeout_ms_max: defaults::RESET_TIMEOUT_MS_MAX,
        failure_statuses: defaults::FAILURE_STATUSES.to_vec(),
    }
}
