//! Turns the signals of the operator into events, on a thread of their own, never on a core.
//!
//! `SIGTERM` and `SIGINT` mean [`Event::Stop`], `SIGHUP` means [`Event::Reload`], `SIGUSR1` means [`Event::Statistics`],
//! `SIGUSR2` means [`Event::Restart`].

use std::io;
use std::sync::mpsc::{self, Sender};
use std::thread;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Stop; a second one means at once.
    Stop,
    /// Read the configuration file again.
    Reload,
    /// Say what each core has counted.
    Statistics,
    /// Have another process take over.
    Restart,
}

/// Sends an event for every signal from the moment that this returns, until the receiver is gone.
pub fn follow(events: Sender<Event>) -> io::Result<()> {
    let (ready, is_ready) = mpsc::channel();
    thread::Builder::new().name("pinion-signals".to_owned()).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(ready.send(Err(error))),
        };
        runtime.block_on(async {
            match Signals::register() {
                Ok(signals) => {
                    let _ = ready.send(Ok(()));
                    signals.forward(&events).await;
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        });
    })?;
    is_ready.recv().unwrap_or_else(|_| Err(io::Error::other("the signal thread ended early")))
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    user_1: Signal,
    user_2: Signal,
}

impl Signals {
    /// Must be called inside a runtime.
    fn register() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
        })
    }

    async fn forward(mut self, events: &Sender<Event>) {
        loop {
            let event = tokio::select! {
                Some(()) = self.terminate.recv() => Event::Stop,
                Some(()) = self.interrupt.recv() => Event::Stop,
                Some(()) = self.hang_up.recv() => Event::Reload,
                Some(()) = self.user_1.recv() => Event::Statistics,
                Some(()) = self.user_2.recv() => Event::Restart,
                else => return,
            };
            if events.send(event).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_signal_is_one_event() {
        let (sender, events) = mpsc::channel();
        follow(sender).expect("signals can be followed");
        let signals = [
            ("-HUP", Event::Reload),
            ("-TERM", Event::Stop),
            ("-INT", Event::Stop),
            ("-USR1", Event::Statistics),
            ("-USR2", Event::Restart),
        ];
        for (name, event) in signals {
            let command = format!("kill {name} {}", std::process::id());
            assert!(Command::new("sh").args(["-c", &command]).status().expect("a shell").success());
            assert_eq!(events.recv_timeout(Duration::from_secs(10)), Ok(event), "{name}");
        }
    }
}
