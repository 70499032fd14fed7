//! Requests and answers of a plan as bytes.

use engine::simulation::Chance;
use harness::ws;

use crate::bodies::{Owner, Part};
use crate::plan::{BackendAct, Body, ClientAct, Exchange, Framing};

/// A message and where its head ends.
pub(crate) struct Message {
    pub(crate) bytes: Vec<u8>,
    pub(crate) head_len: usize,
}

/// Names the exchange and the attempt in an answer.
pub(crate) const MARKER: &str = "x-exchange";
/// Stands in it for the exchange where nobody had asked.
pub(crate) const UNASKED: &str = "unasked";
/// The exchange that a poisoned answer claims to be for: none.
const NOBODY: u32 = 99_999_999;

impl Exchange {
    /// What the client sends.
    pub(crate) fn request(&self) -> Message {
        let number = self.number;
        let mut head = format!("{} /e/{number} HTTP/1.1\r\nHost: sim\r\nX-Asks: {number}\r\n", self.method);
        if self.act == ClientAct::Malformed {
            head.push_str("Broken field: 1\r\n");
        }
        match self.body {
            Some(Body { bytes, framing: Framing::Length, .. }) => {
                head.push_str(&format!("Content-Length: {bytes}\r\n"));
            }
            Some(_) => head.push_str("Transfer-Encoding: chunked\r\n"),
            None => {}
        }
        if self.expect {
            head.push_str("Expect: 100-continue\r\n");
        }
        if self.close {
            head.push_str("Connection: close\r\n");
        }
        if self.session.is_some() {
            head.push_str("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
            head.push_str(&format!("Sec-WebSocket-Key: {}\r\n", ws::KEY));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        let head_len = bytes.len();
        if let Some(body) = self.body {
            write_body(&mut bytes, Owner { exchange: number, part: Part::Request }, body, "");
        }
        Message { bytes, head_len }
    }

    /// What a backend sends to an attempt, interim answers not included. `key` is that of the handshake.
    pub(crate) fn answer_message(&self, attempt: u32, key: &str) -> Message {
        let answer = self.answer(attempt);
        let mut head =
            format!("HTTP/1.1 {} Word\r\nX-Exchange: {}/{attempt}\r\n", answer.status, self.number);
        if answer.status == 101 {
            let key = if answer.act == BackendAct::BadAccept { "another" } else { key };
            let accept = ws::accept(key);
            head.push_str("Upgrade: websocket\r\nConnection: Upgrade\r\n");
            head.push_str(&format!("Sec-WebSocket-Accept: {accept}\r\n\r\n"));
            return Message { head_len: head.len(), bytes: head.into_bytes() };
        }
        if answer.act == BackendAct::MalformedHead {
            head.push_str("no colon\r\n");
        }
        match answer.body.framing {
            _ if answer.status == 204 => {}
            Framing::Length => head.push_str(&format!("Content-Length: {}\r\n", answer.body.bytes)),
            Framing::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
            Framing::UntilClose => {}
        }
        if answer.trailers {
            head.push_str("Trailer: X-Sum\r\n");
        }
        if answer.close {
            head.push_str("Connection: close\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        let head_len = bytes.len();
        if self.has_answer_body(answer.status) {
            let owner = Owner { exchange: self.number, part: Part::Answer };
            write_body(&mut bytes, owner, answer.body, if answer.trailers { "X-Sum: 1\r\n" } else { "" });
        }
        match answer.act {
            BackendAct::Poison => {
                let other =
                    format!("HTTP/1.1 200 Word\r\nX-Exchange: {NOBODY}/0\r\nContent-Length: 0\r\n\r\n");
                bytes.extend_from_slice(other.as_bytes());
            }
            BackendAct::MalformedBody => {
                // The last chunk and what follows it give way to a size that is none.
                let end = bytes.len() - b"0\r\n\r\n".len() - if answer.trailers { 10 } else { 0 };
                bytes.truncate(end);
                bytes.extend_from_slice(b"xyz\r\n");
            }
            _ => {}
        }
        Message { bytes, head_len }
    }
}

fn write_body(out: &mut Vec<u8>, owner: Owner, body: Body, trailers: &str) {
    if body.framing != Framing::Chunked {
        return out.extend(owner.bytes(0, body.bytes as usize));
    }
    let mut chance = Chance::new(u64::from(owner.exchange));
    let mut at = 0;
    while at < body.bytes {
        let size = (1 + chance.any_scale(100_000)).min(body.bytes - at);
        let extension = if chance.below(20) == 0 { ";a=b" } else { "" };
        out.extend(format!("{size:x}{extension}\r\n").into_bytes());
        out.extend(owner.bytes(at, size as usize));
        out.extend(b"\r\n");
        at += size;
    }
    out.extend(format!("0\r\n{trailers}\r\n").into_bytes());
}

/// Cuts bytes into so many pieces of any sizes.
pub(crate) fn pieces<'a>(bytes: &'a [u8], count: u64, chance: &mut Chance) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = (1..count).map(|_| chance.below(bytes.len() as u64 + 1) as usize).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).filter(|piece| !piece.is_empty()).collect()
}
