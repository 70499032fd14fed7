//! Clients that leave: half-way with a FIN, at once with a RST, or after one request, over and over.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

use super::{Scene, ended_by, heard};
use crate::dice::Dice;
use crate::http::Link;
use crate::judge::{Asked, Class, Method, judge};
use crate::plan::deadlines;

/// FIN, and then waiting for what is owed: an answer where the request was whole, the end where it was not.
pub(super) async fn half_closed(scene: &Scene, dice: &mut Dice) -> io::Result<&'static str> {
    let mut stream = scene.connect(dice).await?;
    let (id, len) = (dice.next() >> 1, dice.below(20_000) as usize);
    let whole = format!("GET /bytes/{id}/{len} HTTP/1.1\r\nHost: half\r\n\r\n");
    let part = match dice.below(4) {
        0 => "",
        1 => &whole[..dice.between(1, whole.len() as u64 - 1) as usize],
        2 => "POST /sink HTTP/1.1\r\nHost: half\r\nContent-Length: 9\r\n\r\nhalf",
        _ => &whole,
    };
    stream.write_all(part.as_bytes()).await?;
    stream.shutdown().await?;
    if part.len() < whole.len() || part.starts_with("POST") {
        return Ok(ended_by(scene, &mut stream, deadlines::BODY_PROGRESS_MS).await);
    }
    let asked = Asked { method: Method::Get, id, answer_len: len, sent_at: Instant::now() };
    let outcome = Link::over(stream).answer().await;
    Ok(match judge(&scene.kills, &asked, &outcome) {
        Class::Good => "answered",
        Class::CutByKill | Class::InFlightAtKill => "cut by a kill",
        Class::Wrong => "!wrong answer",
        Class::Lost => "!no answer",
    })
}

/// RST in a head, in a body, in an answer, or with nothing said.
pub(super) async fn reset(scene: &Scene, dice: &mut Dice) -> io::Result<&'static str> {
    let mut stream = scene.connect(dice).await?;
    let text = match dice.below(5) {
        0 => "",
        1 => "GET /bytes/1/100 HTTP/1.1\r\nHost: re",
        2 => "POST /sink HTTP/1.1\r\nHost: reset\r\nContent-Length: 100000\r\n\r\nnot all",
        3 => "GET /large/4000000 HTTP/1.1\r\nHost: reset\r\n\r\n",
        _ => "GET /drip/100 HTTP/1.1\r\nHost: reset\r\n\r\n",
    };
    stream.write_all(text.as_bytes()).await?;
    if dice.below(2) == 0 {
        let _ = heard(&mut stream, Duration::from_millis(dice.below(100))).await;
    } else {
        sleep(Duration::from_millis(dice.below(5))).await;
    }
    stream.set_zero_linger()?;
    Ok("left")
}

/// A connection for nothing, or for one small request.
pub(super) async fn churn(scene: &Scene, dice: &mut Dice) -> io::Result<&'static str> {
    let mut stream = scene.connect(dice).await?;
    if dice.below(2) == 0 {
        return Ok("left");
    }
    stream.write_all(b"GET /bytes/1/64 HTTP/1.1\r\nHost: churn\r\n\r\n").await?;
    Ok(heard(&mut stream, scene.patience(0)).await.unwrap_or("!no answer"))
}
