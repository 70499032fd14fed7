//! Clients that open a connection for one request each: they start at fixed times and do not wait for each other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::Shared;
use super::request::Request;
use super::tally::Lane;
use crate::dice::Dice;
use crate::http::Link;

/// Most of them at once; those that were due beyond it are put off, and their delay counts.
const AT_ONCE_MAX: usize = 400;

/// Starts `rate` clients a second until it is told to stop, then waits for the last.
pub(super) async fn run(shared: Arc<Shared>, rate: u64, mut dice: Dice) {
    let step = Duration::from_micros(1_000_000 / rate.max(1));
    let mut due = Instant::now();
    let mut clients = JoinSet::new();
    loop {
        due += step;
        let is_late = Instant::now() > due;
        sleep_until(due.into()).await;
        if shared.stopped() {
            break;
        }
        while clients.try_join_next().is_some() {}
        while clients.len() >= AT_ONCE_MAX {
            clients.join_next().await;
        }
        let counts_from = if is_late { due } else { Instant::now() };
        clients.spawn(one(Arc::clone(&shared), Dice::new(dice.next()), counts_from));
    }
    while clients.join_next().await.is_some() {}
}

async fn one(shared: Arc<Shared>, mut dice: Dice, due: Instant) {
    match Link::open(shared.addr).await {
        Ok(mut link) => {
            let last = dice.below(2) == 0;
            let request = Request::throw(shared.id(), &mut dice, last);
            request.run(&mut link, &shared, Lane::Fresh, due).await;
        }
        Err(broken) => shared.note(|tally| tally.no_connection(Lane::Fresh, broken.how)),
    }
}
