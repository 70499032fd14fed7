//! Clients: they ask what the plan says, keep-alive and pipelined, and misbehave as it says.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use engine::io::{Stream, TcpOptions, TcpStream, now_ms, sleep};
use engine::simulation::{self, Chance};

use crate::backend::part_of;
use crate::judge::{self, Flow};
use crate::ledger::Ledger;
use crate::message::pieces;
use crate::plan::{ClientAct, Exchange, Visit};
use crate::wire::{Sender, Wire};

pub(crate) const PROXY: &str = "10.8.0.1:80";
/// Longest wait for a connection. A full backlog is tried again every second.
const CONNECT_PATIENCE: Duration = Duration::from_secs(100);

/// One client, from its first connection to its last.
pub(crate) async fn run(ledger: Rc<Ledger>, index: usize) {
    for visit in &ledger.plan.clients[index] {
        sleep(Duration::from_millis(visit.pause_ms)).await;
        pay_visit(&ledger, visit).await;
    }
    ledger.clients_left.set(ledger.clients_left.get() - 1);
}

async fn pay_visit(ledger: &Ledger, visit: &Visit) {
    let Some(stream) = connect(ledger).await else { return };
    ledger.seen.connections.set(ledger.seen.connections.get() + 1);
    let mut wire = ledger.client_wire(stream);
    let mut after = judge::Before::default();
    for batch in &visit.batches {
        let exchanges: Vec<&Exchange> = batch.iter().map(|index| &ledger.plan.exchanges[*index]).collect();
        if ask(ledger, &mut wire, &exchanges, &mut after).await == Flow::Over {
            break;
        }
    }
    visit.batches.iter().for_each(|batch| ledger.leave(batch));
}

async fn connect(ledger: &Ledger) -> Option<Stream> {
    let address: SocketAddr = PROXY.parse().expect("an address");
    let options = TcpOptions::default();
    let connected = {
        let mut connects = pin!(TcpStream::connect(address, &options));
        let mut waits = pin!(sleep(CONNECT_PATIENCE));
        poll_fn(|ctx| match connects.as_mut().poll(ctx) {
            Poll::Ready(connected) => Poll::Ready(Some(connected)),
            Poll::Pending => waits.as_mut().poll(ctx).map(|()| None),
        })
        .await
    };
    match connected {
        Some(Ok(stream)) => return Some(stream.into()),
        Some(Err(error)) => {
            let is_excused = ledger.drained.get() || ledger.plan.rules.refusals > 0;
            ledger.check(is_excused, || format!("a client cannot connect: {error}"));
        }
        None => {
            ledger.seen.given_up.set(ledger.seen.given_up.get() + 1);
            let rules = &ledger.plan.rules;
            let is_excused = rules.silent_connects > 0 || rules.backlog == 1 || ledger.drained.get();
            ledger.check(is_excused, || "a client waits for a connection for ever".to_owned());
        }
    }
    None
}

/// Sends a batch and reads its answers, both at once.
async fn ask(ledger: &Ledger, wire: &mut Wire, batch: &[&Exchange], before: &mut judge::Before) -> Flow {
    let leave = batch.iter().find_map(|exchange| match exchange.act {
        ClientAct::Leave { after_ms, reset } => Some((Duration::from_millis(after_ms), reset)),
        _ => None,
    });
    before.asked_ms = now_ms();
    let go_ahead = Cell::new(false);
    let sender = wire.sender();
    let mut writes = pin!(write(&sender, batch, &go_ahead));
    let mut reads = pin!(judge::read(ledger, wire, batch, &go_ahead, before));
    let mut leaves = pin!(async {
        let Some((after, reset)) = leave else { return pending().await };
        sleep(after).await;
        if reset {
            sender.stream.reset_on_close();
        }
    });
    let mut has_written = false;
    poll_fn(|ctx| {
        if let Poll::Ready(flow) = reads.as_mut().poll(ctx) {
            return Poll::Ready(flow);
        }
        // The reader may just have had the 100 that the writer waits for.
        if !has_written && let Poll::Ready(stays) = writes.as_mut().poll(ctx) {
            if !stays {
                return Poll::Ready(Flow::Over);
            }
            has_written = true;
        }
        leaves.as_mut().poll(ctx).map(|()| Flow::Over)
    })
    .await
}

/// Sends a batch; false if the client is gone with that.
async fn write(sender: &Sender, batch: &[&Exchange], go_ahead: &Cell<bool>) -> bool {
    for exchange in batch {
        simulation::remark(|| format!("client asks {}: {:?}", exchange.number, exchange.act));
        let request = exchange.request();
        let mut bytes = &request.bytes[..];
        if exchange.expect {
            let (head, body) = bytes.split_at(request.head_len);
            if sender.send(head).await.is_err() {
                return pending().await;
            }
            poll_fn(|_| if go_ahead.get() { Poll::Ready(()) } else { Poll::Pending }).await;
            bytes = body;
        }
        if let ClientAct::Cut { part, .. } | ClientAct::Stall { part } = exchange.act {
            bytes = &bytes[..part_of(bytes.len(), part)];
        }
        if send(sender, exchange, bytes).await.is_none() {
            return pending().await;
        }
        match exchange.act {
            ClientAct::Cut { reset: true, .. } => {
                let _ = sender.flush().await;
                sender.stream.reset_on_close();
                return false;
            }
            ClientAct::Cut { .. } | ClientAct::HalfClose => {
                let _ = sender.finish().await;
            }
            ClientAct::Stall { .. } => return pending().await,
            ClientAct::Good | ClientAct::Leave { .. } | ClientAct::Malformed => {}
        }
    }
    true
}

async fn send(sender: &Sender, exchange: &Exchange, bytes: &[u8]) -> Option<()> {
    let mut chance = Chance::new(u64::from(exchange.number) ^ 0x7777);
    for piece in pieces(bytes, exchange.pace.pieces, &mut chance) {
        sender.send(piece).await.ok()?;
        if exchange.pace.pause_ms_max > 0 {
            sleep(Duration::from_millis(chance.below(exchange.pace.pause_ms_max))).await;
        }
    }
    Some(())
}
