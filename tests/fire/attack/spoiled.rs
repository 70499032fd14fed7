//! Requests whose backend misbehaves on purpose: silence, half an answer, nonsense, a reset, drops.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::{Scene, ended_by, heard};
use crate::dice::Dice;
use crate::plan::deadlines;

/// One bad answer. What comes of it is 502, 504, or an answer that visibly ends early.
pub(super) async fn life(scene: &Scene, dice: &mut Dice) -> io::Result<&'static str> {
    let mut stream = scene.connect(dice).await?;
    let target = dice.pick(&["silent", "cut", "reset", "nonsense", "drip/20"]);
    stream.write_all(format!("GET /{target} HTTP/1.1\r\nHost: bad\r\n\r\n").as_bytes()).await?;
    if target == "silent" && dice.below(2) == 0 {
        return Ok(heard(&mut stream, Duration::from_millis(500)).await.unwrap_or("left"));
    }
    Ok(ended_by(scene, &mut stream, deadlines::FIRST_BYTE_MS).await)
}
