//! Our loop on io_uring: one per core, one `io_uring_enter` per turn. Start reading at `ring.rs`.

pub(crate) mod buffers;
mod executor;
mod inbox;
mod mailbox;
mod ops;
mod outbox;
pub(crate) mod probe;
#[expect(clippy::module_inception, reason = "the file that holds the ring itself keeps its plain name")]
pub(crate) mod ring;
pub(crate) mod slab;
pub(crate) mod socket;
pub(crate) mod timer;
