//! The accept loop of one listener on one core: admission, and handing over to a less loaded core.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use crate::conn::serve;
use crate::io::{Accepted, TcpListener, sleep, spawn};
use crate::local::{self, Local};

/// How often a full listener looks whether a place has come free.
const FULL_PAUSE: Duration = Duration::from_millis(10);
/// How long accepting rests when descriptors have run out.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the core drains. The task is woken for that by `core/start.rs`.
pub(crate) async fn accept_loop(local: Rc<Local>, listener: TcpListener) {
    loop {
        match accept_unless_draining(&local, &listener).await {
            None => break,
            Some(Ok(accepted)) => {
                if !admit(&local, &listener).await {
                    break;
                }
                place(&local, accepted);
            }
            Some(Err(error)) => rest(&local, &listener, &error).await,
        }
    }
}

/// The next connection; `None` once the core drains and those already accepted have been taken.
async fn accept_unless_draining(local: &Local, listener: &TcpListener) -> Option<io::Result<Accepted>> {
    let mut accept = pin!(listener.accept());
    poll_fn(|ctx| match accept.as_mut().poll(ctx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending if local.draining.get() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Waits for a place under `max_connections`; the backlog waits meanwhile. False when the core drains first.
async fn admit(local: &Rc<Local>, listener: &TcpListener) -> bool {
    let max = || local.view().model().server.max_connections as usize;
    if local.shared.admit(max()) {
        return true;
    }
    listener.pause();
    local.counters().accept_pauses.add(1);
    tracing::warn!(max_connections = max(), "at max_connections: accepting pauses");
    loop {
        sleep(FULL_PAUSE).await;
        if local.shared.admit(max()) {
            return true;
        }
        if local.draining.get() {
            return false;
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
fn place(local: &Rc<Local>, accepted: Accepted) {
    let target = local.shared.less_loaded_than(local.index).unwrap_or(local.index);
    // Counted before it arrives, so that a burst is spread by what is on its way too.
    local.shared.cores[target].connections.fetch_add(1, Ordering::Relaxed);
    if target == local.index {
        spawn(serve::serve(Rc::clone(local), accepted));
        return;
    }
    local.counters().handed_over.add(1);
    if let Some(remote) = local.shared.cores[target].remote.get() {
        remote.post(move || {
            local::with(|local| {
                spawn(serve::serve(Rc::clone(local), accepted));
            })
        });
    }
}
