//! Clients that ask now and then: the low load at which pools that cores do not share come off worst.
//!
//! Started by `mod.rs`, one thread each. Pauses are random and the same in every run, by a seed.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// How clients connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connecting {
    /// Anew for each request.
    Anew,
    /// Once.
    Once,
}

/// What the clients of a run do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crowd {
    pub(super) count: usize,
    pub(super) connecting: Connecting,
    /// Mean of a client's pause between two requests.
    pub(super) pause: Duration,
    pub(super) length: Duration,
}

/// Has every client ask until the time is up; the number of right answers.
pub(super) fn ask(target: SocketAddr, crowd: Crowd) -> io::Result<usize> {
    let end = Instant::now() + crowd.length;
    let clients: Vec<_> =
        (0..crowd.count).map(|number| thread::spawn(move || client(target, crowd, number, end))).collect();
    let mut answers = 0;
    for client in clients {
        let outcome = client.join().map_err(|_| io::Error::other("a client panicked"))?;
        answers += outcome?;
    }
    Ok(answers)
}

fn client(target: SocketAddr, crowd: Crowd, number: usize, end: Instant) -> io::Result<usize> {
    let mut dice = Dice(number as u64 + 1);
    let mut kept = None;
    let mut answers = 0;
    loop {
        super::pause(dice.pause(crowd.pause));
        if Instant::now() >= end {
            return Ok(answers);
        }
        let mut stream = match kept.take() {
            Some(stream) => stream,
            None => connect(target)?,
        };
        let closes = crowd.connecting == Connecting::Anew;
        exchange(&mut stream, closes)?;
        answers += 1;
        if !closes {
            kept = Some(stream);
        }
    }
}

fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(target)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(stream)
}

fn exchange(stream: &mut TcpStream, closes: bool) -> io::Result<()> {
    let close = if closes { "Connection: close\r\n" } else { "" };
    write!(stream, "GET / HTTP/1.1\r\nHost: bench.example\r\n{close}\r\n")?;
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    while !answer.ends_with(b"\r\n\r\nok") {
        let len = stream.read(&mut piece)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&piece[..len]);
    }
    if answer.starts_with(b"HTTP/1.1 200 ") {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()))
}

/// Repeatable random numbers (splitmix64, Steele, Lea and Flood 2014).
struct Dice(u64);

impl Dice {
    /// At least 0, below 1.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Exponential pauses make independent requests, as many strangers do.
    fn pause(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.share()).ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_have_their_mean() {
        let mut dice = Dice(1);
        let mean = Duration::from_millis(20);
        let sum: Duration = (0..10_000).map(|_| dice.pause(mean)).sum();
        let share = sum.as_secs_f64() / (mean.as_secs_f64() * 10_000.0);
        assert!((0.95..1.05).contains(&share), "{share}");
    }
}
