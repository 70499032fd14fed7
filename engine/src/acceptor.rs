//! The accept loop of one listener on one core: admission, and handing over to a less loaded core.
//!
//! Two limits bound the clients that are let in: `max_connections`, and what descriptors suffice for with a backend
//! connection for each. At either, accepting pauses and the backlog waits. What must hold: as long as the whole process
//! keeps to these limits, no exchange of a client who is in fails for want of a descriptor.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::conn::client::Arrival;
use crate::conn::serve;
use crate::io::{Accepted, TcpListener, sleep, spawn, yield_now};
use crate::local::{self, Local};

/// How often a full listener looks whether a place has come free.
const FULL_PAUSE: Duration = Duration::from_millis(10);
/// How long accepting rests when descriptors have run out.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// How many of a backlog are let in before others have their turn.
const BACKLOG_SHARE: u32 = 64;

/// Accepts until the core drains, for which `core/start.rs` wakes the task. Those that the kernel had accepted by then
/// are served too: nobody who was let in is turned away.
pub(crate) async fn accept_loop(local: Rc<Local>, entrance: Entrance, _accepting: Accepting) {
    let Entrance { listener, tls } = entrance;
    loop {
        listener.accept_ahead(has_room_for_backlog(&local));
        let Some(next) = next(&local, &listener).await else { break };
        match next {
            Ok(accepted) => {
                admit(&local, &listener).await;
                place(&local, Arrival { accepted, tls });
            }
            Err(error) => rest(&local, &listener, &error).await,
        }
    }
    empty_backlog(&local, &listener, tls).await;
}

/// A listener, and what is spoken on it.
pub(crate) struct Entrance {
    pub(crate) listener: TcpListener,
    pub(crate) tls: bool,
}

/// Lets those in who wait in the backlog, as far as the limits allow: where no other process serves the socket, they would
/// be reset with it.
async fn empty_backlog(local: &Rc<Local>, listener: &TcpListener, tls: bool) {
    for count in 1..=local.view().model().server.backlog {
        let max = local.view().model().server.max_connections as usize;
        if !local.shared.admit(max.min(local.shared.connections_by_files())) {
            return;
        }
        let Some(Ok(accepted)) = listener.take_waiting() else { return local.shared.release() };
        place(local, Arrival { accepted, tls });
        if count % BACKLOG_SHARE == 0 {
            yield_now().await;
        }
    }
}

/// Counts an acceptor until it has ended. While one lives, any core may still be handed a connection.
pub(crate) struct Accepting {
    local: Rc<Local>,
}

impl Accepting {
    pub(crate) fn begin(local: &Rc<Local>) -> Accepting {
        local.shared.accepting.fetch_add(1, Ordering::Relaxed);
        Accepting { local: Rc::clone(local) }
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        let shared = &self.local.shared;
        // Released, so that a core that sees zero also sees every connection that was handed to it.
        if shared.accepting.fetch_sub(1, Ordering::Release) == 1 {
            shared.broadcast(|| local::with(|local| local.nudge_main()));
        }
    }
}

/// The next connection; `None` once the core drains and those already accepted have been taken.
async fn next(local: &Local, listener: &TcpListener) -> Option<io::Result<Accepted>> {
    poll_fn(|_| if local.draining.get() { listener.poll_last() } else { listener.poll_accept().map(Some) })
        .await
}

/// Whether descriptors suffice if everybody who may be waiting in the backlog is accepted at once.
fn has_room_for_backlog(local: &Local) -> bool {
    let room = local.shared.connections_by_files().saturating_sub(local.shared.connections());
    room > local.view().model().server.backlog as usize
}

/// Waits for a place under the limits; the backlog waits meanwhile.
async fn admit(local: &Rc<Local>, listener: &TcpListener) {
    let configured = || local.view().model().server.max_connections as usize;
    let by_files = local.shared.connections_by_files();
    let max = || configured().min(by_files);
    if local.shared.admit(max()) {
        return;
    }
    listener.pause();
    if configured() <= by_files {
        local.counters().accept_pauses.add(1);
        tracing::warn!(max_connections = max(), "at max_connections: accepting pauses");
    } else {
        local.counters().accept_exhausted.add(1);
        tracing::warn!(connections = max(), "descriptors for no more connections: accepting pauses");
    }
    loop {
        sleep(FULL_PAUSE).await;
        // While the core drains nothing new is accepted: the few that already were cannot grow in number.
        let max = if local.draining.get() { usize::MAX } else { max() };
        if local.shared.admit(max) {
            return;
        }
    }
}

/// Out of descriptors, most likely: wait until some are closed. Whatever it is, it must neither spin nor end the loop.
async fn rest(local: &Rc<Local>, listener: &TcpListener, error: &io::Error) {
    if matches!(error.raw_os_error(), Some(libc::ECONNABORTED | libc::EPROTO)) {
        return; // The client gave up while it waited.
    }
    listener.pause();
    local.counters().accept_exhausted.add(1);
    tracing::warn!(%error, "cannot accept; trying again shortly");
    sleep(EXHAUSTED_PAUSE).await;
}

/// Serves an admitted connection here, or on a core that has fewer.
fn place(local: &Rc<Local>, arrival: Arrival) {
    // A core that drains keeps what it accepts: the others are about to end too.
    let other = if local.draining.get() { None } else { local.shared.less_loaded_than(local.index) };
    let target = other.unwrap_or(local.index);
    // Counted before it arrives, so that a burst is spread by what is on its way too.
    local.shared.cores[target].connections.fetch_add(1, Ordering::Relaxed);
    if target == local.index {
        spawn(serve::serve(Rc::clone(local), arrival));
        return;
    }
    local.counters().handed_over.add(1);
    if let Some(remote) = local.shared.cores[target].remote.get() {
        remote.post(move || {
            local::with(|local| {
                spawn(serve::serve(Rc::clone(local), arrival));
            })
        });
    }
}
