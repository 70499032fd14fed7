//! A name server with scripted answers: UDP, A and AAAA, each name with its own TTL or failure.
//!
//! Used by tests of backends that are named. What is not scripted does not exist.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Answer codes (RFC 1035 4.1.1).
mod code {
    pub(super) const NO_ERROR: u8 = 0;
    pub(super) const SERVER_FAILURE: u8 = 2;
    pub(super) const NO_SUCH_NAME: u8 = 3;
}

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;
const HEAD_BYTES: usize = 12;

/// A name server on a port of its own; stops when dropped.
pub struct NameServer {
    addr: SocketAddr,
    socket: Arc<UdpSocket>,
    zone: Arc<Mutex<Zone>>,
}

#[derive(Default)]
struct Zone {
    names: HashMap<String, Script>,
    /// Questions so far, by name: only those for A, so that a look-up counts once.
    asked: HashMap<String, usize>,
    stopped: bool,
}

enum Script {
    Addresses { addresses: Vec<IpAddr>, ttl_seconds: u32 },
    Fails,
    Silent,
}

impl NameServer {
    /// Starts to answer; knows no name yet.
    pub fn start() -> NameServer {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port can be bound");
        let addr = socket.local_addr().expect("a bound socket has an address");
        let (socket, zone) = (Arc::new(socket), Arc::new(Mutex::new(Zone::default())));
        let server = NameServer { addr, socket: Arc::clone(&socket), zone: Arc::clone(&zone) };
        thread::spawn(move || {
            let mut buf = [0; 1500];
            while let Ok((len, from)) = socket.recv_from(&mut buf) {
                let mut zone = lock(&zone);
                if zone.stopped {
                    return;
                }
                if let Some(answer) = zone.answer(&buf[..len]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        server
    }

    /// Where it is asked, as a line of `[dns]`.
    pub fn line(&self) -> String {
        format!("servers = [\"{}\"]", self.addr)
    }

    /// From now on `name` has these addresses, for so long.
    pub fn answer(&self, name: &str, addresses: &[&str], ttl_seconds: u32) {
        let addresses = addresses.iter().map(|text| text.parse().expect("an address")).collect();
        self.script(name, Script::Addresses { addresses, ttl_seconds });
    }

    /// From now on look-ups of `name` fail.
    pub fn fail(&self, name: &str) {
        self.script(name, Script::Fails);
    }

    /// From now on look-ups of `name` are not answered.
    pub fn keep_silent(&self, name: &str) {
        self.script(name, Script::Silent);
    }

    /// From now on there is no `name`.
    pub fn remove(&self, name: &str) {
        lock(&self.zone).names.remove(name);
    }

    /// How often `name` has been looked up.
    pub fn asked(&self, name: &str) -> usize {
        lock(&self.zone).asked.get(name).copied().unwrap_or_default()
    }

    fn script(&self, name: &str, script: Script) {
        lock(&self.zone).names.insert(name.to_owned(), script);
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        lock(&self.zone).stopped = true;
        // Wakes the thread.
        let _ = self.socket.send_to(&[], self.addr);
    }
}

fn lock(zone: &Mutex<Zone>) -> MutexGuard<'_, Zone> {
    zone.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Zone {
    /// `None` where nothing is to be said.
    fn answer(&mut self, query: &[u8]) -> Option<Vec<u8>> {
        let question = Question::parse(query)?;
        *self.asked.entry(question.name.clone()).or_default() += usize::from(question.kind == TYPE_A);
        let (code, addresses, ttl) = match self.names.get(&question.name) {
            None => (code::NO_SUCH_NAME, &[][..], 0),
            Some(Script::Fails) => (code::SERVER_FAILURE, &[][..], 0),
            Some(Script::Silent) => return None,
            Some(Script::Addresses { addresses, ttl_seconds }) => {
                (code::NO_ERROR, addresses.as_slice(), *ttl_seconds)
            }
        };
        let records: Vec<Vec<u8>> =
            addresses.iter().filter_map(|address| record(question.kind, *address, ttl)).collect();
        let mut answer = query[..2].to_vec();
        // An answer to what was asked recursively, by a server that does that.
        answer.extend([0b1000_0001, 0b1000_0000 | code]);
        for count in [1, records.len() as u16, 0, 0] {
            answer.extend(count.to_be_bytes());
        }
        answer.extend(&query[HEAD_BYTES..question.end]);
        answer.extend(records.concat());
        Some(answer)
    }
}

/// The one question of a query.
struct Question {
    /// In lower case, without the final dot.
    name: String,
    kind: u16,
    /// Where it ends within the query.
    end: usize,
}

impl Question {
    fn parse(query: &[u8]) -> Option<Question> {
        let mut labels = Vec::new();
        let mut at = HEAD_BYTES;
        loop {
            let len = usize::from(*query.get(at)?);
            let label = query.get(at + 1..at + 1 + len)?;
            at += 1 + len;
            if len == 0 {
                break;
            }
            labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        }
        let kind = u16::from_be_bytes(query.get(at..at + 2)?.try_into().ok()?);
        query.get(at + 2..at + 4)?;
        Some(Question { name: labels.join("."), kind, end: at + 4 })
    }
}

/// An answer's record (RFC 1035 3.2.1), if the address is of the kind that was asked for.
fn record(kind: u16, address: IpAddr, ttl_seconds: u32) -> Option<Vec<u8>> {
    let data = match (kind, address) {
        (TYPE_A, IpAddr::V4(address)) => address.octets().to_vec(),
        (TYPE_AAAA, IpAddr::V6(address)) => address.octets().to_vec(),
        _ => return None,
    };
    // The name is the question's: a pointer to the first byte behind the head.
    let mut record = vec![0xC0, HEAD_BYTES as u8];
    record.extend(kind.to_be_bytes());
    record.extend(CLASS_IN.to_be_bytes());
    record.extend(ttl_seconds.to_be_bytes());
    record.extend((data.len() as u16).to_be_bytes());
    record.extend(data);
    Some(record)
}
