//! `[health]` and `[circuit_breaker]`: when a backend counts as dead, and how it comes back.

/// How backends are probed from our side. Once per process, whatever the number of cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveCheck {
    /// What a probe does.
    pub probe: Probe,
    /// From one probe to the next, give or take a tenth.
    pub interval_ms: u64,
    /// How long an answer may take.
    pub timeout_ms: u64,
    /// Failures in a row after which a backend is dead.
    pub unhealthy_threshold: u32,
    /// Successes in a row after which a dead one is alive again.
    pub healthy_threshold: u32,
}

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `GET` this path; 2xx and 3xx are healthy.
    Http {
        /// Path and query.
        endpoint: String,
    },
    /// Connect.
    Tcp,
}

/// When exchanges themselves show that a backend is dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitBreaker {
    /// Failures in a row that open the circuit; 0 switches this off.
    pub failure_threshold: u32,
    /// Failures among the exchanges of a window that open the circuit, in percent; `None`: not looked at.
    pub failure_ratio_percent: Option<u8>,
    /// Length of that window.
    pub window_ms: u64,
    /// Fewer exchanges than this in a window say nothing.
    pub window_requests_min: u32,
    /// How long an open circuit lets nobody through, the first time; then one trial is made. Doubles each time that the
    /// trial fails.
    pub reset_timeout_ms: u64,
    /// Up to this.
    pub reset_timeout_ms_max: u64,
    /// Answers of these statuses count as failures.
    pub failure_statuses: Vec<u16>,
}

impl CircuitBreaker {
    /// Whether anything opens a circuit.
    pub fn is_on(&self) -> bool {
        self.failure_threshold > 0 || self.failure_ratio_percent.is_some()
    }
}
