//! Every cap of the HTTP/1 machines, with its reason. One value per configuration, shared by reference,
//! so that a machine itself stays small.

/// What to do with `%2F` or `%00` in a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PercentPolicy {
    /// Refuse the request (400).
    Reject,
    /// Match and forward it still encoded.
    Keep,
    /// Decode it before dot segments are removed. A NUL cannot stand in a request line, so for `%00` this
    /// is the same as [`PercentPolicy::Keep`].
    Decode,
}

/// Caps and deadlines of the client-facing machine, and the head caps of the origin-facing one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest request line without its line end (414): what a router must match.
    pub request_line_bytes_max: u32,
    /// Longest head or trailer section, first line and empty line included (431); at most 65,535.
    pub head_bytes_max: u32,
    /// Most fields in a head or trailer section (431): each costs a table entry and a look-up.
    pub fields_max: u32,
    /// Most bytes of chunk extensions in one body: nothing reads them, so they are pure cost.
    pub chunk_extension_bytes_max: u32,
    /// Policy for `%2F` in a path.
    pub encoded_slash: PercentPolicy,
    /// Policy for `%00` in a path.
    pub encoded_nul: PercentPolicy,
    /// Whether CONNECT is let through to the router; otherwise 501.
    pub connect_allowed: bool,
    /// Longest time from a head's first byte to its last.
    pub request_head_ms: u64,
    /// Slowest sender of a head, counted after its first second; 0 switches the check off.
    pub request_head_bytes_per_second_min: u64,
    /// Longest wait for the first byte of a request.
    pub idle_ms: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            request_line_bytes_max: 8192,
            head_bytes_max: 32_768,
            fields_max: 100,
            chunk_extension_bytes_max: 4096,
            encoded_slash: PercentPolicy::Keep,
            encoded_nul: PercentPolicy::Reject,
            connect_allowed: false,
            request_head_ms: 10_000,
            request_head_bytes_per_second_min: 500,
            idle_ms: 60_000,
        }
    }
}

/// Empty lines skipped before a request line (RFC 9112 2.2): old clients end a body with one.
pub(crate) const BLANK_LINE_BYTES_MAX: u8 = 8;

/// Field names that one message may list in `Connection` beside the usual options: each is compared with
/// every field of the head.
pub(crate) const CONNECTION_NAMES_MAX: usize = 64;

/// Interim responses to one request: more is an origin that never answers.
pub(crate) const INTERIM_MAX: u8 = 16;
