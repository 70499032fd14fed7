//! A successor's side: takes the sockets over from its predecessor, says when it is ready, and waits for its turn.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use super::channel::{ACCEPTING, ALL, Channel, GO, LISTENER, READY, Received, VERSION};
use super::{SUCCESSOR_VARIABLE, Sockets};

/// The process that this one takes over from.
#[derive(Debug)]
pub struct Predecessor {
    channel: Channel,
}

/// What a predecessor left to this process; `None` where it was started by somebody else. Call it once, before standard
/// input is used: that is the channel, and is nothing afterwards.
///
/// # Errors
/// When the predecessor has gone, or speaks another language.
pub fn inherit() -> io::Result<Option<(Predecessor, Sockets)>> {
    if std::env::var_os(SUCCESSOR_VARIABLE).is_none() {
        return Ok(None);
    }
    let channel = Channel::of(io::stdin().as_fd().try_clone_to_owned()?)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    let predecessor = Predecessor { channel };
    let sockets = predecessor.sockets()?;
    Ok(Some((predecessor, sockets)))
}

impl Predecessor {
    fn sockets(&self) -> io::Result<Sockets> {
        let version = self.next()?.text;
        if version != VERSION {
            return Err(refused(&version));
        }
        let mut sockets = Sockets::new();
        loop {
            let message = self.next()?;
            if message.text == ALL {
                return Ok(sockets);
            }
            let (index, address) = listener(&message.text).ok_or_else(|| refused(&message.text))?;
            if index == sockets.len() {
                sockets.push((address, Vec::new()));
            }
            match sockets.last_mut().filter(|(known, _)| *known == address) {
                Some((_, list)) => list.extend(message.files),
                None => return Err(refused(&message.text)),
            }
        }
    }

    /// Says that nothing can fail any more, and waits until the sockets may be accepted from.
    ///
    /// # Errors
    /// When the predecessor has changed its mind, or ended: nobody was accepted, and nobody shall be.
    pub fn ready(&self) -> io::Result<()> {
        self.channel.send(READY, &[])?;
        let answer = self.next()?.text;
        if answer == GO { Ok(()) } else { Err(refused(&answer)) }
    }

    /// Says that every socket is accepted from: the predecessor begins to drain.
    ///
    /// # Errors
    /// When the predecessor has ended, which changes nothing any more.
    pub fn accepting(self) -> io::Result<()> {
        self.channel.send(ACCEPTING, &[])
    }

    fn next(&self) -> io::Result<Received> {
        let message = self.channel.receive()?;
        message.ok_or_else(|| io::Error::other("the process to take over from has given up"))
    }
}

/// `listener 3 127.0.0.1:80`
fn listener(text: &str) -> Option<(usize, SocketAddr)> {
    let (index, address) = text.strip_prefix(LISTENER)?.split_once(' ')?;
    Some((index.parse().ok()?, address.parse().ok()?))
}

fn refused(text: &str) -> io::Error {
    io::Error::other(format!("the process to take over from said {text:?}, which this version does not know"))
}

#[cfg(test)]
impl Predecessor {
    pub(super) fn at(channel: Channel) -> io::Result<(Predecessor, Sockets)> {
        let predecessor = Predecessor { channel };
        let sockets = predecessor.sockets()?;
        Ok((predecessor, sockets))
    }
}
