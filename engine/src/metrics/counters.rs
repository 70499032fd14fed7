//! Counters of one core: written by that core alone, read by anybody. A block is aligned to two cache lines, so that
//! no core writes where another one reads often.

use std::sync::atomic::{AtomicU64, Ordering};

use config_core::status::Count;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Counters of one core. Names follow Prometheus habits: a `_total` only grows.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $name: Counter,)*
        }

        impl Counters {
            /// The values with their names, in a fixed order.
            pub(crate) fn values(&self) -> Vec<Count> {
                vec![$(($text, self.$name.value()),)*]
            }
        }
    };
}

counters! {
    /// Client connections that were served.
    connections = "pinion_connections_total",
    /// Times that accepting paused at `max_connections`.
    accept_pauses = "pinion_accept_pauses_total",
    /// Times that accepting paused for want of descriptors.
    accept_exhausted = "pinion_accept_exhausted_total",
    /// Connections handed to a less loaded core.
    handed_over = "pinion_connections_handed_over_total",
    /// Connections of trusted peers closed for want of a good PROXY header.
    proxy_headers_refused = "pinion_proxy_headers_refused_total",
    /// TLS handshakes with clients that succeeded.
    tls_handshakes = "pinion_tls_handshakes_total",
    /// Of these, connections that took up the keys of an earlier one.
    tls_resumed = "pinion_tls_resumed_total",
    /// TLS handshakes that failed: refused, too slow, or left by the client.
    tls_handshakes_failed = "pinion_tls_handshakes_failed_total",
    /// Clients closed because too many handshakes were under way.
    tls_handshakes_over_limit = "pinion_tls_handshakes_over_limit_total",
    /// Requests: heads that were read whole, and heads that were refused. Each ends as one answer of 2xx to 5xx, as one
    /// session, or unanswered.
    requests = "pinion_requests_total",
    /// Requests refused for breaking the rules of HTTP.
    refused = "pinion_requests_refused_total",
    /// Answers 1xx (101 included).
    status_1xx = "pinion_responses_1xx_total",
    /// Answers 2xx.
    status_2xx = "pinion_responses_2xx_total",
    /// Answers 3xx.
    status_3xx = "pinion_responses_3xx_total",
    /// Answers 4xx.
    status_4xx = "pinion_responses_4xx_total",
    /// Answers 5xx.
    status_5xx = "pinion_responses_5xx_total",
    /// Requests that ended without an answer: the client had left, or could not be told.
    unanswered = "pinion_requests_unanswered_total",
    /// Exchanges cut after the answer had begun.
    cut = "pinion_responses_cut_total",
    /// Bytes received from clients; without what is read only to be forgotten when a connection closes.
    client_bytes_in = "pinion_client_bytes_in_total",
    /// Bytes queued to be sent to clients.
    client_bytes_out = "pinion_client_bytes_out_total",
    /// Bytes received from backends.
    backend_bytes_in = "pinion_backend_bytes_in_total",
    /// Bytes queued to be sent to backends.
    backend_bytes_out = "pinion_backend_bytes_out_total",
    /// Connections opened to backends.
    backend_connects = "pinion_backend_connects_total",
    /// Exchanges that reused an idle backend connection.
    backend_reuses = "pinion_backend_reuses_total",
    /// Of these, connections that another core lent.
    backend_borrows = "pinion_backend_borrows_total",
    /// Attempts on backends that failed.
    backend_failures = "pinion_backend_failures_total",
    /// Attempts repeated on another connection or backend.
    retries = "pinion_retries_total",
    /// Retries that were not made because the route's budget was spent.
    retries_over_budget = "pinion_retries_over_budget_total",
    /// Circuits that opened: backends that were found dead by their exchanges.
    circuits_opened = "pinion_circuits_opened_total",
    /// WebSocket sessions opened.
    sessions = "pinion_sessions_total",
    /// WebSocket sessions that have ended.
    sessions_ended = "pinion_sessions_ended_total",
    /// Messages from clients to backends.
    messages_in = "pinion_session_messages_in_total",
    /// Messages from backends to clients.
    messages_out = "pinion_session_messages_out_total",
    /// Tasks that ended by panic.
    task_panics = "pinion_task_panics_total",
    /// Receives that found no buffer and had to wait.
    buffer_starvations = "pinion_buffer_starvations_total",
    /// Snapshot headers whose checksum was wrong.
    header_mismatches = "pinion_header_mismatches_total",
}

/// One counter with one writer.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the owning core may call it, so no locked instruction is needed.
    #[inline]
    pub(crate) fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// Replaces the value: for totals that somebody else on the core keeps.
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
