//! What is counted when an exchange ends.

use protocol::Status;

use crate::metrics::counters::Counters;

/// Counts an answer by its class.
#[inline]
pub(crate) fn count(counters: &Counters, status: Status) {
    let counter = match status.code() {
        100..=199 => &counters.status_1xx,
        200..=299 => &counters.status_2xx,
        300..=399 => &counters.status_3xx,
        400..=499 => &counters.status_4xx,
        _ => &counters.status_5xx,
    };
    counter.add(1);
}
