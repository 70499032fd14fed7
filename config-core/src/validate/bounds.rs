//! The range of every number, each with the reason for its ends.

use std::fmt;

/// Inclusive range of a number and why it ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) min: u64,
    pub(crate) max: u64,
    /// Completes "because …".
    pub(crate) reason: &'static str,
    /// Whether the number counts bytes, so that `"32KiB"` may stand for it.
    pub(crate) in_bytes: bool,
}

impl Bounds {
    const fn new(min: u64, max: u64, reason: &'static str) -> Self {
        Self { min, max, reason, in_bytes: false }
    }

    const fn bytes(min: u64, max: u64, reason: &'static str) -> Self {
        Self { min, max, reason, in_bytes: true }
    }

    pub(crate) fn contains(self, value: u64) -> bool {
        (self.min..=self.max).contains(&value)
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if self.in_bytes { " bytes" } else { "" };
        write!(f, "allowed: {} to {}{unit}, because {}", self.min, self.max, self.reason)
    }
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

pub(crate) const MAX_CONNECTIONS: Bounds = Bounds::new(
    1,
    1_000_000,
    "each connection needs a descriptor or two, and Linux gives a process about a million",
);
pub(crate) const DEADLINE_MS: Bounds =
    Bounds::new(1, DAY_MS, "a deadline of zero refuses everyone, and one beyond a day protects nobody");
pub(crate) const WEBSOCKET_IDLE_MS: Bounds =
    Bounds::new(1, 7 * DAY_MS, "a session without a frame for a week is dead");
pub(crate) const CORES: Bounds =
    Bounds::new(1, 1024, "there is at least one core, and no more processors than this");
pub(crate) const BUSY_POLL_US: Bounds =
    Bounds::new(0, 10_000, "spinning beyond 10 ms burns a core and wins no latency");
pub(crate) const BACKLOG: Bounds =
    Bounds::new(1, 65_535, "the kernel keeps the queue length in 16 bits on older releases");
pub(crate) const TCP_KEEPALIVE_MS: Bounds =
    Bounds::new(1_000, 32_767_000, "the kernel counts whole seconds, at most 32,767");
pub(crate) const TCP_USER_TIMEOUT_MS: Bounds =
    Bounds::new(1_000, DAY_MS, "less than a second cuts healthy connections on one lost packet");

pub(crate) const REQUEST_LINE_BYTES_MAX: Bounds =
    Bounds::bytes(256, 65_535, "RFC 9112 asks for 8,000, and offsets in a head have 16 bits");
pub(crate) const HEAD_BYTES_MAX: Bounds =
    Bounds::bytes(1_024, 65_535, "browsers send about a kilobyte, and offsets in a head have 16 bits");
pub(crate) const FIELDS_MAX: Bounds =
    Bounds::new(8, 1_000, "browsers send a dozen fields, and each costs memory before it is checked");
pub(crate) const BODY_BYTES_MAX: Bounds =
    Bounds::bytes(0, 1 << 50, "a petabyte is beyond any request; leave the key out for no limit");
pub(crate) const CHUNK_EXTENSION_BYTES_MAX: Bounds =
    Bounds::bytes(0, 8_192, "extensions have no use but to waste the reader's time");
pub(crate) const HIGH_WATER_BYTES: Bounds = Bounds::bytes(
    16_384,
    64 << 20,
    "less than a buffer stalls every transfer, and each connection may hold this much",
);
pub(crate) const LOW_WATER_BYTES: Bounds =
    Bounds::bytes(1, 64 << 20, "reading must go on before everything is sent");
pub(crate) const HEAD_PACE: Bounds =
    Bounds::new(0, 1_000_000, "0 waits for any pace, and no honest client is this fast");
pub(crate) const MESSAGE_BYTES_MAX: Bounds =
    Bounds::bytes(125, 1 << 40, "control frames carry up to 125 bytes; leave the key out for no limit");

pub(crate) const HANDSHAKES: Bounds =
    Bounds::new(1, 1_000_000, "each holds some kilobytes before anybody is known to be a client");
pub(crate) const HSTS_S: Bounds =
    Bounds::new(0, 630_720_000, "0 has browsers forget, and nobody promises more than twenty years");
pub(crate) const POOL_SIZE: Bounds =
    Bounds::new(0, 10_000, "each idle connection holds a descriptor here and on the backend, for every core");
pub(crate) const SHUTDOWN_TIMEOUT_MS: Bounds =
    Bounds::new(0, DAY_MS, "0 stops at once, and nobody waits longer than a day");
pub(crate) const IDLE_GRACE_MS: Bounds =
    Bounds::new(0, DAY_MS, "0 closes idle connections at once, and nobody waits longer than a day");
pub(crate) const RESTART_TIMEOUT_MS: Bounds =
    Bounds::new(100, DAY_MS, "no process starts in less, and nobody waits longer than a day");
pub(crate) const DRAIN_PER_SECOND: Bounds =
    Bounds::new(1, 1_000_000, "a pace of zero never ends, and there are no more sessions than this");
pub(crate) const RETRIES: Bounds =
    Bounds::new(0, 10, "each try multiplies the load on backends that already fail");
pub(crate) const PORT: Bounds = Bounds::new(1, 65_535, "nothing can be reached on port 0");
pub(crate) const WEIGHT: Bounds = Bounds::new(1, 1_000, "a backend without a share is no backend");
pub(crate) const PANIC_PERCENT: Bounds =
    Bounds::new(0, 100, "it is a share of the backends; 0 never uses dead ones");
pub(crate) const BACKEND_CONNECTIONS: Bounds =
    Bounds::new(1, 1_000_000, "a backend without a place serves nobody; leave the key out for no limit");
pub(crate) const SLOW_START_MS: Bounds =
    Bounds::new(0, DAY_MS, "0 gives the full share at once, and nothing warms up for longer than a day");
pub(crate) const REQ_LENGTH: Bounds =
    Bounds::new(0, 1_000_000, "there are no more connections than this that could carry them");
pub(crate) const QUEUE_TIMEOUT_MS: Bounds =
    Bounds::new(1, DAY_MS, "a wait of zero is a queue of zero, and no client waits longer than a day");
pub(crate) const RESPOND_STATUS: Bounds =
    Bounds::new(200, 599, "interim answers are no answers, and there are no statuses beyond");
pub(crate) const PROBE_INTERVAL_MS: Bounds =
    Bounds::new(100, DAY_MS, "more than ten probes a second are load, and less than one a day is none");
pub(crate) const PROBE_THRESHOLD: Bounds =
    Bounds::new(1, 1_000, "at least one probe decides, and more than this never do");
pub(crate) const FAILURE_THRESHOLD: Bounds =
    Bounds::new(0, 4_095, "0 counts no failures in a row, and a backend's state counts no further than this");
pub(crate) const RATIO_PERCENT: Bounds =
    Bounds::new(1, 100, "it is a share of the requests; leave the key out for no limit");
pub(crate) const WINDOW_MS: Bounds = Bounds::new(100, DAY_MS, "less holds no requests, and more is history");
pub(crate) const WINDOW_REQUESTS_MIN: Bounds =
    Bounds::new(1, 1_000_000, "a share of nothing is nothing, and no window holds more");
pub(crate) const FAILURE_STATUS: Bounds =
    Bounds::new(500, 599, "these are the statuses of failed servers (RFC 9110 15.6)");
