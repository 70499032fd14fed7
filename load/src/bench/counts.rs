//! What one thread of a bench counts, and the sum of all threads.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies above this are written as this.
const LATENCY_MAX: Duration = Duration::from_secs(120);
/// Latencies below this are written as this.
const LATENCY_MIN: Duration = Duration::from_micros(1);

/// Why a connection did not come about, or a request was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection: refused, unreachable, out of descriptors, too slow.
    Connect,
    /// The server did not take the WebSocket handshake.
    Upgrade,
    /// The answer was not complete in time.
    Timeout,
    /// The connection ended before the answer was complete.
    Closed,
    /// The connection failed.
    Reset,
    /// What came is no HTTP/1.1, or no WebSocket.
    Malformed,
    /// The message that came back is not the one sent.
    Echo,
}

impl Failure {
    /// All of them, in the order of reports.
    pub const ALL: [Failure; 7] = [
        Failure::Connect,
        Failure::Upgrade,
        Failure::Timeout,
        Failure::Closed,
        Failure::Reset,
        Failure::Malformed,
        Failure::Echo,
    ];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Failure::Connect => "connect",
            Failure::Upgrade => "upgrade",
            Failure::Timeout => "timeout",
            Failure::Closed => "closed",
            Failure::Reset => "reset",
            Failure::Malformed => "malformed",
            Failure::Echo => "echo",
        }
    }
}

/// One failure with its cause.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) failure: Failure,
    pub(super) cause: String,
}

impl Trouble {
    pub(super) fn new(failure: Failure, cause: impl ToString) -> Trouble {
        Trouble { failure, cause: cause.to_string() }
    }
}

/// A complete answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    /// Of HTTP; 0 for an echo.
    pub(super) status: u16,
    /// The connection may be used again.
    pub(super) keeps: bool,
    pub(super) bytes: u64,
}

/// What was counted.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Requests, or messages, handed to a connection.
    pub sent: u64,
    /// Those of them that were answered, whatever the status.
    pub answered: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Those answered before the time was up: what the rate is made of.
    pub answered_in_time: u64,
    /// Requests that fell due and that no connection was free for; only with a rate.
    pub overdue: u64,
    /// Seconds in which requests were sent.
    pub seconds: f64,
    /// Answers by hundreds of their status.
    pub statuses: [u64; 6],
    /// Failures by kind, those before a request was sent included.
    pub failures: [u64; Failure::ALL.len()],
    /// The first failure's cause.
    pub first_failure: Option<String>,
    /// Connections opened.
    pub connections: u64,
    /// Bytes of answers.
    pub bytes: u64,
    /// Nanoseconds on the CPU of this process while requests were sent.
    pub cpu_ns: u64,
    latencies: Histogram<u64>,
}

impl Figures {
    pub(super) fn new() -> Figures {
        let (low, high) = (LATENCY_MIN.as_nanos() as u64, LATENCY_MAX.as_nanos() as u64);
        Figures {
            sent: 0,
            answered: 0,
            failed: 0,
            answered_in_time: 0,
            overdue: 0,
            seconds: 0.0,
            statuses: [0; 6],
            failures: [0; Failure::ALL.len()],
            first_failure: None,
            connections: 0,
            bytes: 0,
            cpu_ns: 0,
            latencies: Histogram::new_with_bounds(low, high, 3).expect("the bounds are constant and right"),
        }
    }

    pub(super) fn count_answer(&mut self, answer: Answer, latency: Duration) {
        self.answered += 1;
        self.bytes += answer.bytes;
        if let Some(count) = self.statuses.get_mut(usize::from(answer.status / 100)) {
            *count += 1;
        }
        self.latencies.saturating_record(latency.as_nanos() as u64);
    }

    pub(super) fn count_failure(&mut self, trouble: Trouble) {
        self.failures[trouble.failure as usize] += 1;
        let name = trouble.failure.name();
        self.first_failure.get_or_insert_with(|| format!("{name}: {}", trouble.cause));
    }

    /// Adds what another thread counted in the same time.
    pub(super) fn add(&mut self, other: &Figures) {
        self.sent += other.sent;
        self.answered += other.answered;
        self.failed += other.failed;
        self.answered_in_time += other.answered_in_time;
        self.overdue += other.overdue;
        self.seconds = self.seconds.max(other.seconds);
        for (sum, count) in self.statuses.iter_mut().zip(other.statuses) {
            *sum += count;
        }
        for (sum, count) in self.failures.iter_mut().zip(other.failures) {
            *sum += count;
        }
        self.first_failure = self.first_failure.take().or_else(|| other.first_failure.clone());
        self.connections += other.connections;
        self.bytes += other.bytes;
        self.cpu_ns += other.cpu_ns;
        self.latencies.add(&other.latencies).expect("all threads have the same bounds");
    }

    /// Requests that were still waiting for their answer when the bench ended.
    pub fn unfinished(&self) -> u64 {
        self.sent - self.answered - self.failed
    }

    /// The latency that this share of all answers did not exceed, in nanoseconds; 1.0 is the longest.
    pub fn latency_ns(&self, share: f64) -> u64 {
        self.latencies.value_at_quantile(share)
    }

    /// The shortest and the mean latency, in nanoseconds.
    pub fn latency_min_and_mean_ns(&self) -> (u64, u64) {
        (self.latencies.min(), self.latencies.mean() as u64)
    }

    /// How many answers took at most this long, to three digits of the time.
    pub fn answers_up_to_ns(&self, ns: u64) -> u64 {
        self.latencies.count_between(0, ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_stand_in_the_order_of_their_list() {
        for (place, failure) in Failure::ALL.into_iter().enumerate() {
            assert_eq!(failure as usize, place);
        }
    }

    #[test]
    fn threads_add_up() {
        let mut sum = Figures::new();
        for (status, ms) in [(200, 1), (503, 9)] {
            let mut one = Figures::new();
            one.sent = 3;
            one.failed = 1;
            one.count_answer(Answer { status, keeps: true, bytes: 7 }, Duration::from_millis(ms));
            one.count_failure(Trouble::new(Failure::Reset, "broken"));
            sum.add(&one);
        }
        assert_eq!((sum.answered, sum.failed, sum.unfinished(), sum.bytes), (2, 2, 2, 14));
        assert_eq!((sum.statuses[2], sum.statuses[5]), (1, 1));
        assert_eq!(sum.failures[Failure::Reset as usize], 2);
        assert_eq!(sum.first_failure.as_deref(), Some("reset: broken"));
        assert!(sum.latency_ns(1.0).abs_diff(9_000_000) < 20_000);
        assert!(sum.latency_ns(0.5).abs_diff(1_000_000) < 2_000);
        let up_to = [0, 2_000_000, 20_000_000].map(|ns| sum.answers_up_to_ns(ns));
        assert_eq!(up_to, [0, 1, 2]);
    }
}
