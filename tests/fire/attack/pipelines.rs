//! Many requests at once on one connection: answers in order where they are read, an end where they are not.

use std::io;
use std::time::Instant;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::Scene;
use crate::dice::Dice;
use crate::http::Link;
use crate::judge::{Asked, Class, Method, judge};
use crate::plan::deadlines;

/// More than all buffers from here to the backend hold of requests that nobody answers any more.
const TAKEN_BYTES_MAX: usize = 64 << 20;

/// One flood.
pub(super) async fn life(scene: &Scene, dice: &mut Dice) -> io::Result<&'static str> {
    if dice.below(4) == 0 { reads_nothing(scene, dice).await } else { reads_all(scene, dice).await }
}

/// Every answer must come, whole and in order.
async fn reads_all(scene: &Scene, dice: &mut Dice) -> io::Result<&'static str> {
    let mut stream = scene.connect(dice).await?;
    let sent_at = Instant::now();
    let asked: Vec<Asked> = (0..dice.between(2, 100))
        .map(|_| Asked {
            method: Method::Get,
            id: dice.next() >> 1,
            answer_len: dice.below(800) as usize,
            sent_at,
        })
        .collect();
    let lines = asked
        .iter()
        .map(|one| format!("GET /bytes/{}/{} HTTP/1.1\r\nHost: many\r\n\r\n", one.id, one.answer_len));
    stream.write_all(lines.collect::<String>().as_bytes()).await?;
    let mut link = Link::over(stream);
    for one in &asked {
        let outcome = link.answer().await;
        match judge(&scene.kills, one, &outcome) {
            Class::Good => {}
            // The answers behind it went with the connection.
            Class::CutByKill | Class::InFlightAtKill => return Ok("cut by a kill"),
            Class::Wrong => return Ok("!wrong answer"),
            Class::Lost => return Ok("!no answer"),
        }
    }
    Ok("all answered")
}

/// Asks for more and more and reads nothing, until the proxy no longer listens and then gives up.
async fn reads_nothing(scene: &Scene, dice: &mut Dice) -> io::Result<&'static str> {
    let mut stream = scene.connect_with(dice, Some(4_096)).await?;
    let many = "GET /bytes/1/3000 HTTP/1.1\r\nHost: flood\r\n\r\n".repeat(50);
    let begun = Instant::now();
    let patience = scene.patience(deadlines::WRITE_STALL_MS);
    let mut taken_bytes = 0;
    // On a busy machine it may take long until all buffers on the way are full.
    while begun.elapsed() < patience {
        // It no longer takes any: that is right; in the end there is an error.
        match timeout(patience, stream.write_all(many.as_bytes())).await {
            Ok(Ok(())) => taken_bytes += many.len(),
            Ok(Err(_)) => return Ok("ended"),
            Err(_) => return Ok("!outlived its deadline"),
        }
        if taken_bytes > TAKEN_BYTES_MAX {
            return Ok("!taken without end");
        }
    }
    Ok("left")
}
