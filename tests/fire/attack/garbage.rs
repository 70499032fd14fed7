//! Bytes that are no HTTP/1.1, and HTTP/1.1 that the rules forbid: an answer or the end, soon, and nothing else.

use std::io;

use tokio::io::AsyncWriteExt;

use super::{Scene, ended_by};
use crate::content;
use crate::dice::Dice;
use crate::plan::deadlines;

/// Each is refused for another reason.
const FORBIDDEN: [&[u8]; 16] = [
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello, or its beginning",
    b"GET / HTTP/1.1\nHost: x\n\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n folded: line\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    b"GET / HTTP/3.0\r\nHost: x\r\n\r\n",
    b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nabcd",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked, chunked\r\n\r\n0\r\n\r\n",
    b"POST /sink HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    b"CONNECT backend:80 HTTP/1.1\r\nHost: backend:80\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: !!\r\nx: \x01\r\n\r\n",
];

/// One refusal.
pub(super) async fn life(scene: &Scene, dice: &mut Dice) -> io::Result<&'static str> {
    let mut stream = scene.connect(dice).await?;
    let bytes = match dice.below(4) {
        0 => content::bytes(dice.next(), dice.between(1, 3_000) as usize),
        1 => long_line(dice),
        _ => dice.pick(&FORBIDDEN).to_vec(),
    };
    stream.write_all(&bytes).await?;
    // Random bytes may look like the beginning of a head, so the head's own deadline is the longest that is needed.
    Ok(ended_by(scene, &mut stream, deadlines::REQUEST_HEAD_MS).await)
}

/// Too long a line, or too many fields.
fn long_line(dice: &mut Dice) -> Vec<u8> {
    match dice.below(2) {
        0 => format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(9_000)).into_bytes(),
        _ => format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(200)).into_bytes(),
    }
}
