//! Idle connections that change cores.
//!
//! A stream belongs to the core that made it: its key, its buffers and the operations on it are that core's. To leave, it
//! stops receiving and waits until the kernel has let go of it; what goes on is a second descriptor of the same connection,
//! while the first is closed like any other. Whatever arrives in between waits in the kernel.

use std::future::poll_fn;

use super::driver::Descriptor;
use super::stream::Stream;

/// An open connection that belongs to no core: it can be sent to another one. Dropped, it closes.
#[derive(Debug)]
pub struct Detached {
    socket: Descriptor,
}

impl Detached {
    /// Makes the connection part of the core that this thread is. It does not receive until asked.
    ///
    /// # Panics
    /// On a thread that is not a core.
    pub fn attach(self) -> Stream {
        Stream::adopt(self.socket.into_raw())
    }
}

impl Stream {
    /// Takes an idle connection off this core, within two turns or so. `None`, and it closes, if it turns out not to be
    /// idle: bytes or the end have come, something is unsent, it failed, or descriptors have run out.
    pub async fn detach(self) -> Option<Detached> {
        if !poll_fn(|_| self.poll_leave()).await {
            return None;
        }
        let socket = self.second_descriptor()?;
        Some(Detached { socket })
    }
}
