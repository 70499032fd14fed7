//! Connections that are only held: silent ones until the proxy ends them, others kept alive by a request now and then.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::{Scene, ended_by, heard};
use crate::dice::Dice;
use crate::plan::deadlines;

/// One connection held.
pub(super) async fn life(scene: &Scene, dice: &mut Dice) -> io::Result<&'static str> {
    let mut stream = scene.connect(dice).await?;
    if dice.below(2) == 0 {
        return Ok(ended_by(scene, &mut stream, deadlines::IDLE_MS).await);
    }
    for _ in 0..4 {
        stream.write_all(b"GET /bytes/1/64 HTTP/1.1\r\nHost: hoard\r\n\r\n").await?;
        match heard(&mut stream, scene.patience(0)).await {
            Some("200") => {}
            Some(other) => return Ok(other),
            None => return Ok("!no answer"),
        }
        // Idle, but not for too long.
        let pause = Duration::from_millis(deadlines::IDLE_MS / 2);
        if let Some(label) = heard(&mut stream, pause).await {
            return Ok(label);
        }
    }
    Ok("left")
}
