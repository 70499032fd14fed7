//! One request of a well-behaved client: thrown with the dice, sent, judged, noted.

use std::time::Instant;

use super::Shared;
use super::tally::{Lane, Row};
use crate::content;
use crate::dice::Dice;
use crate::http::{Answer, Broken, Link};
use crate::judge::{Asked, Class, Method, judge};

/// Messages up to this size count for the latency figures; longer ones would measure their own length.
const SHORT_BYTES_MAX: usize = 4_096;

/// A request ready to be sent.
pub(super) struct Request {
    wire: Vec<u8>,
    method: Method,
    id: u64,
    answer_len: usize,
    is_short: bool,
}

impl Request {
    /// The next one: four GETs to a POST, mostly short.
    pub(super) fn throw(id: u64, dice: &mut Dice, last: bool) -> Request {
        let answer_len = length(dice);
        let close = if last { "Connection: close\r\n" } else { "" };
        if dice.below(5) > 0 {
            let kind = dice.pick(&["bytes", "bytes", "chunks"]);
            let wire = format!("GET /{kind}/{id}/{answer_len} HTTP/1.1\r\nHost: fire\r\n{close}\r\n");
            let is_short = answer_len <= SHORT_BYTES_MAX;
            return Request { wire: wire.into_bytes(), method: Method::Get, id, answer_len, is_short };
        }
        let body = content::upload(id, length(dice));
        let is_short = answer_len.max(body.len()) <= SHORT_BYTES_MAX;
        let line = format!("POST /post/{id}/{answer_len} HTTP/1.1\r\nHost: fire\r\n{close}");
        let mut wire = line.into_bytes();
        if dice.below(2) == 0 {
            wire.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
            wire.extend(body);
        } else {
            wire.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for piece in body.chunks(3_000) {
                wire.extend(format!("{:x}\r\n", piece.len()).bytes());
                wire.extend(piece);
                wire.extend(b"\r\n");
            }
            wire.extend(b"0\r\n\r\n");
        }
        Request { wire, method: Method::Post, id, answer_len, is_short }
    }

    /// Sends it, judges what comes, and notes both. Latency counts from `due`. True if the connection can go on.
    pub(super) async fn run(&self, link: &mut Link, shared: &Shared, lane: Lane, due: Instant) -> bool {
        let row = if lane == Lane::Direct { Row::Direct } else { Row::of(self.method) };
        shared.note(|tally| tally.sent(row));
        let asked =
            Asked { method: self.method, id: self.id, answer_len: self.answer_len, sent_at: Instant::now() };
        let outcome = link.exchange(&self.wire).await;
        let took = due.elapsed();
        let class = judge(&shared.kills, &asked, &outcome);
        shared.note(|tally| {
            tally.judged(row, class);
            if self.is_short && class == Class::Good {
                tally.took(lane, took);
            }
            if matches!(class, Class::Wrong | Class::Lost) {
                tally.trouble(self.trouble(lane, class, &outcome, asked.sent_at));
            }
        });
        matches!(outcome, Ok(answer) if !answer.head.says_close())
    }

    fn trouble(
        &self,
        lane: Lane,
        class: Class,
        outcome: &Result<Answer, Broken>,
        sent_at: Instant,
    ) -> String {
        let what = match outcome {
            Ok(answer) => format!(
                "status {}, {} bytes, request id {}",
                answer.head.status,
                answer.body.len(),
                answer.head.request_id()
            ),
            Err(Broken { how, head: None }) => format!("{how}, no head"),
            Err(Broken { how, head: Some(head) }) => {
                format!("{how} after the head of {}", head.backend().unwrap_or("nobody"))
            }
        };
        let line = self.wire.split(|byte| *byte == b'\r').next().unwrap_or_default();
        format!(
            "{lane:?} {class:?}: {}: {what}; after {} ms",
            String::from_utf8_lossy(line),
            sent_at.elapsed().as_millis()
        )
    }
}

/// Seven of ten fit one small packet, one of a hundred is a long body.
fn length(dice: &mut Dice) -> usize {
    let len = match dice.below(100) {
        0..70 => dice.between(0, 512),
        70..92 => dice.between(512, 4_096),
        92..99 => dice.between(4_096, 65_536),
        _ => dice.between(65_536, 300_000),
    };
    len as usize
}
