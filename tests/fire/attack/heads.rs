//! A request head, byte by byte: slower than the pace that is asked, or just fast enough to reach the deadline.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;

use super::{Scene, heard};
use crate::dice::Dice;
use crate::plan::deadlines;

/// One head that never ends.
pub(super) async fn life(scene: &Scene, dice: &mut Dice) -> io::Result<&'static str> {
    let mut stream = scene.connect(dice).await?;
    // 1 byte or 40 bytes at a time: below and above the slowest pace that is allowed.
    let piece = dice.pick(&[1, 1, 40]);
    let begun = Instant::now();
    let mut line = b"GET / HTTP/1.1\r\nHost: slow\r\n".to_vec();
    let mut sent = 0;
    loop {
        if begun.elapsed() > scene.patience(deadlines::REQUEST_HEAD_MS) {
            return Ok("!outlived its deadline");
        }
        while line.len() < sent + piece {
            line.extend(b"X-More: and more and more and more\r\n");
        }
        stream.write_all(&line[sent..sent + piece]).await?;
        sent += piece;
        if let Some(label) = heard(&mut stream, Duration::from_millis(50)).await {
            return Ok(label);
        }
    }
}
