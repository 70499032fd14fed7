//! Connections that are only held: silent ones until the proxy ends them, others kept alive by a request now and then.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::{OVERSTAY, Scene, heard};
use crate::dice::Dice;
use crate::plan::deadlines;

/// How long a connection may wait in the backlog for its place: others must be idle for as long before it.
const QUEUE: Duration = Duration::from_secs(60);

/// One connection held.
pub(super) async fn life(scene: &Scene, dice: &mut Dice) -> io::Result<&'static str> {
    let mut stream = scene.connect(dice).await?;
    if dice.below(2) == 0 {
        let idle = Duration::from_millis(deadlines::IDLE_MS);
        return Ok(heard(&mut stream, QUEUE + idle + OVERSTAY).await.unwrap_or("!outlived its deadline"));
    }
    for _ in 0..4 {
        stream.write_all(b"GET /bytes/1/64 HTTP/1.1\r\nHost: hoard\r\n\r\n").await?;
        match heard(&mut stream, QUEUE).await {
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
