//! WebSocket sessions that are opened and killed, broken by bad frames, flooded, or left without a word.

use std::io;
use std::time::Duration;

use harness::ws::{self, client_frame, frame, opcode, server_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Scene, heard, status};
use crate::dice::Dice;
use crate::plan::deadlines;

/// One session, or one handshake that is none.
pub(super) async fn life(scene: &Scene, dice: &mut Dice) -> io::Result<&'static str> {
    let mut stream = scene.connect(dice).await?;
    let path = dice.pick(&["/ws", "/ws", "/ws", "/ws", "/ws", "/ws", "/bytes/1/10"]);
    stream.write_all(ws::upgrade(path).as_bytes()).await?;
    let mut head = [0; 2_048];
    let count = timeout(scene.patience(0), stream.read(&mut head)).await.unwrap_or(Ok(0))?;
    let opened = status(&head[..count]);
    if opened != "101" {
        return Ok(opened);
    }
    match dice.below(7) {
        0 => stream.set_zero_linger().map(|()| "left with a reset"),
        1 => {
            // In the middle of a frame.
            let whole = client_frame(opcode::BINARY, &[0; 5_000]);
            stream.write_all(&whole[..dice.between(1, 5_000) as usize]).await?;
            Ok("left in a frame")
        }
        2 => {
            let bad: Vec<u8> = match dice.below(5) {
                0 => server_frame(opcode::TEXT, b"not masked"),
                1 => client_frame(0x3, b"no such opcode"),
                2 => frame(0xf2, b"reserved bits", Some([1, 2, 3, 4])),
                3 => client_frame(opcode::PING, &[0; 126]),
                _ => client_frame(opcode::CONTINUATION, b"of nothing"),
            };
            stream.write_all(&bad).await?;
            until_end(&mut stream, scene.patience(0)).await
        }
        3 => {
            // A flood of small frames, the echoes hardly read.
            let ping = client_frame(opcode::PING, b"ping").repeat(200);
            for _ in 0..20 {
                stream.write_all(&ping).await?;
                let _ = heard(&mut stream, Duration::from_millis(5)).await;
            }
            Ok("left the flood")
        }
        4 => {
            // A message that never ends, in fragments.
            stream.write_all(&frame(opcode::TEXT, b"begun", Some([1; 4]))).await?;
            let more = frame(opcode::CONTINUATION, &[b'.'; 3_000], Some([1; 4]));
            for _ in 0..100 {
                stream.write_all(&more).await?;
                let _ = heard(&mut stream, Duration::from_millis(1)).await;
            }
            Ok("left the message")
        }
        5 => {
            // More than a hundred megabytes are announced, little comes.
            stream.write_all(&[0x82, 0xff, 0, 0, 0, 0, 0x7f, 0, 0, 0, 1, 2, 3, 4, 5, 6]).await?;
            until_end(&mut stream, scene.patience(deadlines::WEBSOCKET_IDLE_MS)).await
        }
        _ => until_end(&mut stream, scene.patience(deadlines::WEBSOCKET_IDLE_MS)).await,
    }
}

/// Waits for the Close or the end that the proxy must bring.
async fn until_end(stream: &mut TcpStream, within: Duration) -> io::Result<&'static str> {
    let mut buf = [0; 4_096];
    match timeout(within, stream.read(&mut buf)).await {
        Err(_) => Ok("!outlived its deadline"),
        Ok(Ok(count)) if count > 0 && buf[0] == 0x88 => Ok("told to close"),
        Ok(Ok(0)) => Ok("closed"),
        Ok(Ok(_)) => Ok("other frames"),
        Ok(Err(_)) => Ok("reset"),
    }
}
