//! A request body that comes in drops for a while, or stops in the middle.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::{Scene, ended_by, heard};
use crate::dice::Dice;
use crate::plan::deadlines;

/// One upload.
pub(super) async fn life(scene: &Scene, dice: &mut Dice) -> io::Result<&'static str> {
    let mut stream = scene.connect(dice).await?;
    let framing = dice.pick(&["Content-Length: 5000", "Transfer-Encoding: chunked"]);
    stream.write_all(format!("POST /sink HTTP/1.1\r\nHost: slow\r\n{framing}\r\n\r\n").as_bytes()).await?;
    if dice.below(2) == 0 {
        stream.write_all(b"8\r\nthe").await?;
        return Ok(ended_by(scene, &mut stream, deadlines::BODY_PROGRESS_MS).await);
    }
    // Each drop is progress, so this one may stay; it leaves by itself. The drops fit either framing.
    for _ in 0..dice.between(5, 40) {
        stream.write_all(b"1\r\n.\r\n").await?;
        if let Some(label) = heard(&mut stream, Duration::from_millis(200)).await {
            return Ok(label);
        }
    }
    Ok("left")
}
