//! Our loop: one per core, one submit-and-wait per turn, on whatever driver the core has. Start reading at `ring.rs`.

pub(crate) mod buffers;
mod executor;
mod inbox;
mod mailbox;
pub(crate) mod ops;
mod outbox;
mod region;
#[expect(clippy::module_inception, reason = "the file that holds the ring itself keeps its plain name")]
pub(crate) mod ring;
pub(crate) mod slab;
pub(crate) mod socket;
mod spare;
pub(crate) mod timer;
