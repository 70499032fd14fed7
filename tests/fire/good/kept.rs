//! A client that keeps its connection: requests at fixed times, whatever the answers before them took. Some of them go
//! past the proxy, so that what the machine itself takes is known at the same time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use super::Shared;
use super::request::Request;
use super::tally::Lane;
use crate::dice::Dice;
use crate::http::Link;

/// Sends `rate` requests a second to `to` until it is told to stop.
pub(super) async fn run(shared: Arc<Shared>, to: SocketAddr, lane: Lane, rate: u64, mut dice: Dice) {
    let step = Duration::from_micros(1_000_000 / rate.max(1));
    let mut due = Instant::now() + step.mul_f64(dice.below(1_000) as f64 / 1_000.0);
    let mut link: Option<Link> = None;
    loop {
        let was_busy = Instant::now() > due;
        sleep_until(due.into()).await;
        if shared.stopped() {
            return;
        }
        // A request that had to wait for the answer before it has been waiting since it was due. Otherwise the
        // alarm's own coarseness would be counted as the proxy's.
        let counts_from = if was_busy { due } else { Instant::now() };
        let mut open = match link.take() {
            Some(open) => open,
            None => match Link::open(to).await {
                Ok(open) => open,
                Err(broken) => {
                    shared.note(|tally| tally.no_connection(lane, broken.how));
                    due = Instant::now() + step;
                    continue;
                }
            },
        };
        let request = Request::throw(shared.id(), &mut dice, false);
        if request.run(&mut open, &shared, lane, counts_from).await {
            link = Some(open);
        }
        due += step;
    }
}
