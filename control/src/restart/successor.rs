//! A predecessor's side: starts the executable again, offers the sockets, and watches what becomes of it.
//!
//! ```text
//!  Offered ──ready──► Told ──accepting──► taken over
//!     │ end, wrong word, too late │
//!     └───────────┬───────────────┘
//!              failed: the process is ended and reaped
//! ```

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tracing::{error, info, warn};

use super::channel::{ACCEPTING, ALL, Channel, FILES_MAX, GO, LISTENER, READY, VERSION};
use super::{SUCCESSOR_VARIABLE, Sockets};

/// How long a process that has closed its channel may take to end, so that its own exit code can be told.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// The process that is to take over. It is ended when this is dropped, unless it has taken over.
#[derive(Debug)]
pub struct Successor {
    /// `None` once somebody else looks after it.
    child: Option<Child>,
    id: u32,
    offer: Offer,
    /// For what is expected next.
    until: Instant,
    timeout: Duration,
    /// It has closed its channel; since then.
    ended: Option<Instant>,
}

/// How far a restart has come.
#[derive(Debug)]
pub enum Progress {
    /// Look again soon.
    Pending,
    /// It accepts: time to drain. It is our child: it has to be waited for as long as we live.
    TakenOver(Child),
    /// It has been ended; the reason. Everything is as before.
    Failed(String),
}

impl Successor {
    /// Starts the executable that this process was started with, as this process was started, and offers `sockets` to it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(sockets: Sockets, timeout: Duration) -> io::Result<Successor> {
        let (channel, theirs) = Channel::pair()?;
        let mut arguments = std::env::args_os();
        let mut command = Command::new(executable());
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        let child =
            command.args(arguments).env(SUCCESSOR_VARIABLE, "1").stdin(Stdio::from(theirs)).spawn()?;
        Ok(Successor {
            id: child.id(),
            child: Some(child),
            offer: Offer::new(channel, sockets),
            until: Instant::now() + timeout,
            timeout,
            ended: None,
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Does what can be done without waiting. Not to be called again once it has said anything but `Pending`.
    pub fn advance(&mut self) -> Progress {
        let now = Instant::now();
        if let Some(since) = self.ended {
            return self.ending(now.duration_since(since));
        }
        match self.offer.advance() {
            Ok(Heard::Accepting) => match self.child.take() {
                Some(child) => Progress::TakenOver(child),
                None => Progress::Failed("it has taken over before".to_owned()),
            },
            Ok(Heard::Ready) => {
                self.until = now + self.timeout;
                Progress::Pending
            }
            Ok(Heard::Nothing) if now < self.until => Progress::Pending,
            Ok(Heard::Nothing) => self.fail(format!(
                "it was not {} within {} ms",
                self.offer.expected(),
                self.timeout.as_millis()
            )),
            Ok(Heard::End) => {
                self.ended = Some(now);
                Progress::Pending
            }
            Err(error) => self.fail(error.to_string()),
        }
    }

    fn ending(&mut self, since: Duration) -> Progress {
        let status = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        match status {
            Some(status) => self.fail(format!("it ended with {} before it was ready", described(status))),
            None if since < END_PATIENCE => Progress::Pending,
            None => self.fail("it gave up before it was ready".to_owned()),
        }
    }

    fn fail(&mut self, reason: String) -> Progress {
        self.end();
        Progress::Failed(reason)
    }

    /// Gives the restart up because everything is to stop. One that may have let clients in drains; it is returned then.
    pub fn stop(mut self) -> Option<Child> {
        if !self.offer.is_told {
            return None;
        }
        let child = self.child.take()?;
        signal(&child, Signal::TERM);
        Some(child)
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It fails only where the process has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        self.end();
    }
}

/// Has `process` read its configuration file again.
pub fn hang_up(process: &Child) {
    signal(process, Signal::HUP);
}

/// Waits, on a thread of its own, for a successor that ends while its predecessor still drains: nobody else can.
pub fn look_after(mut process: Child) {
    let wait = move || match process.wait() {
        Ok(status) if status.success() => info!(successor = process.id(), "the successor has stopped"),
        Ok(status) => {
            error!(successor = process.id(), status = described(status), "the successor has failed")
        }
        Err(error) => warn!(%error, "the successor cannot be waited for"),
    };
    if let Err(error) = thread::Builder::new().name("pinion-successor".to_owned()).spawn(wait) {
        warn!(%error, "the successor will not be waited for");
    }
}

fn signal(process: &Child, signal: Signal) {
    let id = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
    // A child that has not been waited for keeps its id: this reaches it, or its remains.
    let _ = id.map(|id| kill_process(id, signal));
}

/// The name by which the kernel was asked to run this process: a newer file of that name is what is meant.
fn executable() -> OsString {
    let name = rustix::param::linux_execfn().to_bytes();
    match std::env::args_os().next() {
        Some(argument) if name.is_empty() => argument,
        _ => OsString::from_vec(name.to_vec()),
    }
}

fn described(status: ExitStatus) -> String {
    status.code().map_or_else(|| status.to_string(), |code| format!("exit code {code}"))
}

/// The conversation, without the process.
#[derive(Debug)]
struct Offer {
    channel: Channel,
    unsent: VecDeque<(String, Vec<OwnedFd>)>,
    /// It was told to accept.
    is_told: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    Ready,
    Accepting,
    End,
}

impl Offer {
    fn new(channel: Channel, sockets: Sockets) -> Offer {
        let mut unsent = VecDeque::from([(VERSION.to_owned(), Vec::new())]);
        for (index, (address, sockets)) in sockets.into_iter().enumerate() {
            let mut sockets = sockets.into_iter().peekable();
            while sockets.peek().is_some() {
                let some = sockets.by_ref().take(FILES_MAX).collect();
                unsent.push_back((format!("{LISTENER}{index} {address}"), some));
            }
        }
        unsent.push_back((ALL.to_owned(), Vec::new()));
        Offer { channel, unsent, is_told: false }
    }

    fn expected(&self) -> &'static str {
        if self.is_told { ACCEPTING } else { READY }
    }

    /// Sends and receives what it can without waiting.
    fn advance(&mut self) -> io::Result<Heard> {
        while let Some((text, files)) = self.unsent.front() {
            match self.channel.send(text, files) {
                Ok(()) => drop(self.unsent.pop_front()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Heard::Nothing),
                // What it said last may still be there to be read; that it has gone is heard below.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                Err(error) => return Err(error),
            }
        }
        let text = match self.channel.try_receive() {
            Ok(Some(message)) => message.text,
            Ok(None) => return Ok(Heard::End),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Heard::Nothing),
            Err(error) => return Err(error),
        };
        match text.as_str() {
            READY if !self.is_told => {
                self.is_told = true;
                self.unsent.push_back((GO.to_owned(), Vec::new()));
                Ok(Heard::Ready)
            }
            ACCEPTING if self.is_told => Ok(Heard::Accepting),
            other => Err(io::Error::other(format!("it said {other:?}, which this version does not know"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};
    use std::thread;

    use super::super::predecessor::Predecessor;
    use super::*;

    fn listeners(count: usize) -> (SocketAddr, Vec<OwnedFd>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let handles = (0..count).map(|_| listener.try_clone().expect("a descriptor").into());
        (address, handles.collect())
    }

    fn offer(sockets: Sockets) -> (Offer, Channel) {
        let (ours, theirs) = Channel::pair().expect("a pair");
        (Offer::new(ours, sockets), Channel::of(theirs).expect("a channel"))
    }

    fn next(offer: &mut Offer) -> Heard {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            match offer.advance().expect("both speak the same") {
                Heard::Nothing => assert!(Instant::now() < until, "nothing is said"),
                heard => return heard,
            }
            thread::yield_now();
        }
    }

    #[test]
    fn every_socket_arrives_under_its_address_and_in_its_order() {
        // More than one message holds; the same address twice, as two listeners on port 0 have it.
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let sent = [listeners(3 * FILES_MAX + 1), listeners(1), listeners(2)];
        let real: Vec<SocketAddr> = sent.iter().map(|(address, _)| *address).collect();
        let counts = sent.each_ref().map(|(_, sockets)| sockets.len());
        let (mut offer, theirs) = offer(sent.into_iter().map(|(_, sockets)| (any, sockets)).collect());
        let successor = thread::spawn(move || {
            let (predecessor, sockets) = Predecessor::at(theirs).expect("the same version");
            predecessor.ready().expect("go");
            predecessor.accepting().expect("it is still there");
            sockets
        });
        assert_eq!(next(&mut offer), Heard::Ready);
        assert_eq!(next(&mut offer), Heard::Accepting);
        assert_eq!(next(&mut offer), Heard::End);
        let sockets = successor.join().expect("no panic");
        assert_eq!(sockets.len(), 3);
        for (at, (address, sockets)) in sockets.into_iter().enumerate() {
            assert_eq!((address, sockets.len()), (any, counts[at]), "{at}");
            for socket in sockets {
                assert_eq!(TcpListener::from(socket).local_addr().expect("a socket"), real[at]);
            }
        }
    }

    #[test]
    fn a_predecessor_that_gives_up_is_noticed_at_every_step() {
        let (gone, theirs) = offer(vec![listeners(1)]);
        drop(gone);
        assert!(Predecessor::at(theirs).is_err(), "before the sockets");

        let (mut changes_its_mind, theirs) = offer(vec![listeners(1)]);
        assert_eq!(changes_its_mind.advance().expect("sent"), Heard::Nothing);
        let (predecessor, _) = Predecessor::at(theirs).expect("the sockets");
        drop(changes_its_mind);
        assert!(predecessor.ready().is_err(), "before go");
    }

    #[test]
    fn what_is_not_understood_is_refused_on_both_sides() {
        let (mut ours, theirs) = offer(Vec::new());
        for word in [ACCEPTING, GO, "ready 2"] {
            theirs.send(word, &[]).expect("there is room");
            assert!(ours.advance().is_err(), "{word} is not expected now");
        }
        for messages in [&["pinion-restart 2"][..], &[VERSION, "listener x"], &[VERSION, "listener 1 [::]:1"]]
        {
            let (sender, theirs) = Channel::pair().expect("a pair");
            for text in messages {
                sender.send(text, &[]).expect("there is room");
            }
            assert!(Predecessor::at(Channel::of(theirs).expect("a channel")).is_err(), "{messages:?}");
        }
        let file = std::fs::File::open("/dev/null").expect("there is one");
        assert!(Channel::of(file.into()).is_err(), "that is no channel");
    }
}
