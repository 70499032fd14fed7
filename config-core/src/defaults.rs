//! Every default of the configuration, in one place. `spec` of the product names most of them; the others say
//! why they are what they are.

/// Where clients connect when nothing says otherwise.
pub const LISTEN: &str = "0.0.0.0:8080";
/// Client connections at once.
pub const MAX_CONNECTIONS: u64 = 10_000;
/// Client connection idle between two requests.
pub const IDLE_TIMEOUT_MS: u64 = 60_000;
/// Spinning is for those who ask for it.
pub const BUSY_POLL_US: u64 = 0;
/// Accept queue: the usual `net.core.somaxconn`, so that a burst waits and is not refused.
pub const BACKLOG: u64 = 4096;

/// Request line.
pub const REQUEST_LINE_BYTES_MAX: u64 = 8 * 1024;
/// Request head.
pub const HEAD_BYTES_MAX: u64 = 32 * 1024;
/// Fields of a head.
pub const FIELDS_MAX: u64 = 100;
/// Chunk extensions of one body: nobody uses them but smugglers, so a little room is plenty.
pub const CHUNK_EXTENSION_BYTES_MAX: u64 = 256;
/// Unsent bytes per direction above which the source is no longer read. Large enough to keep a 10 Gbit/s
/// link with 200 µs round trips busy, small enough that 10,000 stalled connections stay under 3 GB.
pub const HIGH_WATER_BYTES: u64 = 256 * 1024;
/// Unsent bytes below which reading goes on: a quarter of the high mark, so that a source is not stopped and
/// started for every buffer.
pub const LOW_WATER_BYTES: u64 = 64 * 1024;

/// Request head.
pub const REQUEST_HEAD_MS: u64 = 10_000;
/// Pace of a request head after its first second.
pub const REQUEST_HEAD_BYTES_PER_SECOND_MIN: u64 = 500;
/// Connect to a backend.
pub const CONNECT_MS: u64 = 3_000;
/// First byte of a backend.
pub const FIRST_BYTE_MS: u64 = 30_000;
/// Pause in a body.
pub const BODY_PROGRESS_MS: u64 = 30_000;
/// Write stalled by the peer.
pub const WRITE_STALL_MS: u64 = 30_000;
/// WebSocket without any frame.
pub const WEBSOCKET_IDLE_MS: u64 = 60_000;

/// TLS handshake of a client.
pub const TLS_HANDSHAKE_TIMEOUT_MS: u64 = 10_000;
/// TLS handshakes under way on a core: a second of the fastest core's RSA signatures.
pub const TLS_HANDSHAKES_MAX: u64 = 1_000;

/// Idle connections kept open per backend and core.
pub const POOL_MIN_SIZE: u64 = 0;
/// Idle connections allowed per backend and core.
pub const POOL_MAX_SIZE: u64 = 10;
/// Idle time of a pooled connection.
pub const POOL_IDLE_TIMEOUT_MS: u64 = 60_000;

/// Drain at shutdown.
pub const SHUTDOWN_TIMEOUT_MS: u64 = 30_000;
/// Clients in the middle of their work ask again within this; a stop is hardly delayed by it.
pub const SHUTDOWN_IDLE_GRACE_MS: u64 = 2_000;
/// Successor of a restart: it resolves names and opens rings, which takes well under a second unless a resolver hangs.
pub const RESTART_TIMEOUT_MS: u64 = 30_000;

/// Other backends to try.
pub const RETRIES: u64 = 2;

/// Wait for a place among the exchanges of a route.
pub const QUEUE_TIMEOUT_MS: u64 = 5_000;
/// Type of a fixed answer.
pub const RESPOND_CONTENT_TYPE: &str = "text/plain; charset=utf-8";

/// Path of an HTTP probe.
pub const HEALTH_ENDPOINT: &str = "/health";
/// From one probe to the next.
pub const HEALTH_INTERVAL_MS: u64 = 10_000;
/// Answer to a probe.
pub const HEALTH_TIMEOUT_MS: u64 = 5_000;
/// Failed probes in a row.
pub const UNHEALTHY_THRESHOLD: u32 = 2;
/// Good probes in a row.
pub const HEALTHY_THRESHOLD: u32 = 1;

/// Failures in a row that open a circuit.
pub const FAILURE_THRESHOLD: u32 = 5;
/// Window of the failure ratio: long enough for a ratio to mean something at a few requests per second.
pub const FAILURE_WINDOW_MS: u64 = 10_000;
/// Requests that a ratio needs: below it one failure would be many percent.
pub const FAILURE_WINDOW_REQUESTS_MIN: u32 = 20;
/// An open circuit, the first time.
pub const RESET_TIMEOUT_MS: u64 = 30_000;
/// An open circuit at most: a backend that came back waits no longer than this for traffic.
pub const RESET_TIMEOUT_MS_MAX: u64 = 300_000;
/// Answers by which a gateway or an overloaded server says that it cannot serve; 500 is more often one request's bug.
pub const FAILURE_STATUSES: [u16; 3] = [502, 503, 504];
