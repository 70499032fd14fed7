//! What Pinion has to reach, by work and figure: the numbers of the first version and those of the finished
//! product. The report prints both, so that a figure that meets the first is not taken for the end.

use crate::report::Figure;
use load::Work;

/// The work that a bare relay on our own ring does, too.
pub(crate) const BARE_WORK: Work = Work::Http { connections: 64 };
/// How much more processor time Pinion may take for it than the bare relay.
pub(crate) const TO_BARE_MAX: f64 = 1.10;

/// Upper bounds: a ratio to the better peer, or KiB for an idle session.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Target {
    /// What the first version has to reach, where it has a number of its own.
    pub(crate) first: Option<f64>,
    /// What the finished product has to reach.
    pub(crate) product: f64,
}

/// The target of `figure` under `work`, if there is one.
pub(crate) fn target(work: Work, figure: Figure) -> Option<Target> {
    let with_first = |first, product| Some(Target { first: Some(first), product });
    let product = |product| Some(Target { first: None, product });
    match (work, figure) {
        (Work::Http { connections: 64 }, Figure::CpuUs) => with_first(0.80, 0.75),
        (Work::Http { connections: 512 }, Figure::CpuUs) => with_first(0.75, 0.70),
        (Work::Http { connections: 2000 }, Figure::CpuUs) => with_first(0.55, 0.50),
        (Work::WebSocket { sessions: 64 }, Figure::CpuUs) => product(1.0),
        (Work::WebSocket { sessions: 2000 }, Figure::CpuUs) => with_first(0.78, 0.72),
        (Work::Idle { .. }, Figure::SessionKib) => with_first(1.5, 1.0),
        (Work::Connect { .. }, Figure::CpuUs) => product(0.85),
        (Work::Body { bytes }, Figure::CpuUs) if bytes == 64 << 10 => product(0.75),
        (Work::Body { bytes }, Figure::CpuUs) if bytes == 1 << 20 || bytes == 16 << 20 => product(0.65),
        (Work::Https { connections: 64 }, Figure::CpuUs) => product(0.85),
        (Work::Handshake { .. }, Figure::CpuUs) => product(0.70),
        (Work::Resumption { .. }, Figure::CpuUs) => product(0.80),
        (Work::HttpsBody { bytes }, Figure::CpuUs) if bytes == 1 << 20 => product(0.9),
        (Work::SecureIdle { .. }, Figure::SessionKib) => product(12.0),
        (Work::Latency { .. }, Figure::AddedP99 | Figure::AddedP999) => product(0.8),
        _ => None,
    }
}
