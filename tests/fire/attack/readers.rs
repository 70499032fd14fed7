//! A client that asks for much and reads little, or nothing, through a tiny receive buffer.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::Scene;
use crate::dice::Dice;
use crate::plan::deadlines;

const RECEIVE_BYTES: u32 = 4_096;

/// One large answer, hardly read.
pub(super) async fn life(scene: &Scene, dice: &mut Dice) -> io::Result<&'static str> {
    let mut stream = scene.connect_with(dice, Some(RECEIVE_BYTES)).await?;
    let len = dice.pick(&[1_u64 << 20, 8 << 20, 64 << 20]);
    stream.write_all(format!("GET /large/{len} HTTP/1.1\r\nHost: slow\r\n\r\n").as_bytes()).await?;
    if dice.below(3) == 0 {
        return Ok(reads_nothing(scene, &stream).await);
    }
    let mut piece = [0; 512];
    for _ in 0..dice.between(10, 60) {
        match stream.read(&mut piece).await {
            Ok(0) => return Ok("closed"),
            Ok(_) => {}
            Err(_) => return Ok("reset"),
        }
        sleep(Duration::from_millis(200)).await;
    }
    Ok("left")
}

/// The proxy must give up on a client that takes nothing: the reset shows as an error of the socket, even while unread
/// bytes wait.
async fn reads_nothing(scene: &Scene, stream: &TcpStream) -> &'static str {
    let begun = Instant::now();
    let patience = scene.patience(deadlines::WRITE_STALL_MS);
    while begun.elapsed() < patience {
        sleep(Duration::from_millis(100)).await;
        let error = stream.take_error();
        let ready = stream.ready(Interest::WRITABLE).await;
        if !matches!(error, Ok(None)) || ready.is_ok_and(|ready| ready.is_write_closed()) {
            return "reset";
        }
    }
    "!outlived its deadline"
}
