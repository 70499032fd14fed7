//! What a core's loop stands on: io_uring, or epoll where that is missing or forbidden; in the simulation, a world in
//! memory.
//!
//! The loop (`ring/ring.rs`) submits operations and takes completions; sockets, buffers, timers, tasks and the mailbox
//! are the same on every driver, so whatever holds on one holds on the others. A driver promises what io_uring does:
//! operations of one kind on one socket run in order; each completes exactly once (an armed receive or accept also in
//! between, with `more`); a cancellation is confirmed after what it cancels.

mod descriptor;
mod epoll;
pub(crate) mod probe;
#[cfg(feature = "simulation")]
pub(crate) mod simulated;
mod uring;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::ring::buffers::Buffers;
use super::ring::ops::{Completion, Operation};
use epoll::Epoll;
use uring::Uring;

pub(crate) use descriptor::Descriptor;
pub use probe::Features;

/// Which driver a core shall run on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Choice {
    /// io_uring; epoll where the kernel refuses that.
    #[default]
    Auto,
    /// io_uring or nothing.
    Uring,
    /// epoll.
    Epoll,
    /// A world in memory with a clock of its own, made by these rules.
    #[cfg(feature = "simulation")]
    Simulated(simulated::Rules),
}

/// The driver of one core.
pub(crate) enum Driver {
    Uring(Uring),
    Epoll(Epoll),
    #[cfg(feature = "simulation")]
    Simulated(simulated::Simulated),
}

impl Driver {
    /// Whether it stands on a simulated world, with a clock of its own.
    pub(crate) fn is_simulated(&self) -> bool {
        #[cfg(feature = "simulation")]
        return matches!(self, Driver::Simulated(_));
        #[cfg(not(feature = "simulation"))]
        false
    }

    /// Opens the driver that is wanted, or the best that the kernel grants.
    ///
    /// # Errors
    /// As the kernel refuses; the text says what to do.
    pub(crate) fn open(choice: Choice) -> io::Result<(Driver, Features)> {
        if choice == Choice::Epoll {
            return Ok((Driver::Epoll(Epoll::open()?), Features::epoll("as configured")));
        }
        #[cfg(feature = "simulation")]
        if let Choice::Simulated(rules) = choice {
            return Ok((Driver::Simulated(simulated::Simulated::new(rules)), Features::simulated()));
        }
        match Uring::open() {
            Ok((ring, features)) => Ok((Driver::Uring(ring), features)),
            Err(refused) if choice == Choice::Auto => {
                Ok((Driver::Epoll(Epoll::open()?), Features::epoll(&refused.to_string())))
            }
            Err(refused) => Err(refused),
        }
    }

    /// Queues an operation for the next submission.
    #[inline]
    pub(crate) fn push(&self, operation: &Operation) {
        match self {
            Driver::Uring(ring) => ring.push(operation),
            Driver::Epoll(epoll) => epoll.push(operation),
            #[cfg(feature = "simulation")]
            Driver::Simulated(world) => world.push(operation),
        }
    }

    /// There are operations that could not be handed over yet: the core must not sleep on them.
    pub(crate) fn is_congested(&self) -> bool {
        match self {
            Driver::Uring(ring) => ring.is_congested(),
            Driver::Epoll(_) => false,
            #[cfg(feature = "simulation")]
            Driver::Simulated(_) => false,
        }
    }

    /// Hands over what is queued, without waiting.
    ///
    /// # Errors
    /// When the driver itself fails, which ends the core.
    pub(crate) fn submit(&self, buffers: &Buffers) -> io::Result<()> {
        match self {
            Driver::Uring(ring) => ring.submit(),
            Driver::Epoll(epoll) => epoll.turn(buffers, Some(Duration::ZERO)),
            #[cfg(feature = "simulation")]
            Driver::Simulated(world) => world.submit(buffers),
        }
    }

    /// Hands over what is queued and waits for one completion, at most `timeout`.
    ///
    /// # Errors
    /// When the driver itself fails, which ends the core.
    pub(crate) fn wait(&self, buffers: &Buffers, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Driver::Uring(ring) => ring.wait(timeout),
            Driver::Epoll(epoll) => epoll.turn(buffers, timeout),
            #[cfg(feature = "simulation")]
            Driver::Simulated(world) => world.wait(buffers, timeout),
        }
    }

    /// Hands over what is queued and watches for a completion for `time`, without sleeping; true if one came.
    ///
    /// # Errors
    /// When the driver itself fails, which ends the core.
    pub(crate) fn spin(&self, buffers: &Buffers, time: Duration) -> io::Result<bool> {
        self.submit(buffers)?;
        let until = Instant::now() + time;
        while Instant::now() < until {
            let came = match self {
                Driver::Uring(ring) => ring.look(),
                Driver::Epoll(epoll) => {
                    epoll.turn(buffers, Some(Duration::ZERO))?;
                    epoll.has_completions()
                }
                #[cfg(feature = "simulation")]
                Driver::Simulated(_) => return Ok(false),
            };
            if came {
                return Ok(true);
            }
            std::hint::spin_loop();
        }
        Ok(false)
    }

    /// Takes the completions that have come.
    #[inline]
    pub(crate) fn collect(&self, completions: &mut Vec<Completion>) {
        match self {
            Driver::Uring(ring) => ring.collect(completions),
            Driver::Epoll(epoll) => epoll.collect(completions),
            #[cfg(feature = "simulation")]
            Driver::Simulated(world) => world.collect(completions),
        }
    }

    /// The buffers that this driver receives into.
    ///
    /// # Errors
    /// Out of memory, or as the kernel refuses to register them.
    pub(crate) fn buffers(&self, options: &super::Options) -> io::Result<Buffers> {
        match self {
            Driver::Uring(ring) => {
                ring.with_submitter(|submitter| Buffers::new(options.small, options.large, Some(submitter)))
            }
            Driver::Epoll(_) => Buffers::new(options.small, options.large, None),
            #[cfg(feature = "simulation")]
            Driver::Simulated(_) => Buffers::new(options.small, options.large, None),
        }
    }

    /// Time since `start`, which is when the core started.
    #[inline]
    pub(crate) fn elapsed(&self, start: Instant) -> Duration {
        #[cfg(feature = "simulation")]
        if let Driver::Simulated(world) = self {
            return world.elapsed();
        }
        start.elapsed()
    }

    /// Time since 1970, for ids and logs.
    pub(crate) fn since_epoch(&self) -> Duration {
        #[cfg(feature = "simulation")]
        if let Driver::Simulated(world) = self {
            return world.elapsed();
        }
        since_epoch()
    }

    /// Bits that nobody foresees.
    pub(crate) fn entropy(&self) -> u64 {
        #[cfg(feature = "simulation")]
        if let Driver::Simulated(world) = self {
            return world.entropy();
        }
        entropy()
    }
}

/// Time since 1970 by the system's clock.
pub(crate) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Bits from the system's random source: the standard library seeds its hashers from it.
pub(crate) fn entropy() -> u64 {
    RandomState::new().build_hasher().finish()
}
