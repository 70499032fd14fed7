//! What the strategies promise, over many weights, backends and seeds.

use std::cell::{Cell, RefCell};

use config_core::{BackendId, UpstreamId};

use super::dice::Dice;
use super::in_flight::InFlight;
use super::*;

const ALL: [Strategy; 6] = [
    Strategy::RoundRobin,
    Strategy::Weighted,
    Strategy::LeastConnections,
    Strategy::Random,
    Strategy::IpHash,
    Strategy::LeastLatency,
];

/// Backends in whatever state a test wants.
pub(super) struct Fake {
    pub(super) usable: RefCell<Vec<bool>>,
    pub(super) shares: RefCell<Vec<f32>>,
    pub(super) in_flight: RefCell<Vec<u32>>,
}

impl Fake {
    pub(super) fn all(count: usize) -> Fake {
        Fake {
            usable: RefCell::new(vec![true; count]),
            shares: RefCell::new(vec![1.0; count]),
            in_flight: RefCell::new(vec![0; count]),
        }
    }

    fn without(count: usize, dead: &[usize]) -> Fake {
        let fake = Fake::all(count);
        dead.iter().for_each(|index| fake.usable.borrow_mut()[*index] = false);
        fake
    }
}

impl Backends for Fake {
    fn is_usable(&self, index: usize) -> bool {
        self.usable.borrow()[index]
    }

    fn share(&self, index: usize) -> f32 {
        self.shares.borrow()[index]
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.in_flight.borrow()[index]
    }
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("10.0.{}.{}:8080", index / 256, index % 256)).collect()
}

fn plan(strategy: Strategy, weights: &[u16]) -> Arc<Plan> {
    let ids = ids(weights.len());
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    Arc::new(Plan::new(strategy, weights, &ids))
}

fn balancer(strategy: Strategy, weights: &[u16], seed: u64) -> Balancer {
    Balancer::new(plan(strategy, weights), seed)
}

/// Moments of an endless stream of clients.
struct Stream(RefCell<Dice>);

impl Stream {
    fn new(seed: u64) -> Stream {
        Stream(RefCell::new(Dice::new(seed)))
    }

    fn next(&self) -> Moment {
        let mut dice = self.0.borrow_mut();
        Moment { now_ms: 1_000, random: dice.roll(), client_hash: dice.roll() }
    }
}

fn counts(balancer: &Balancer, fake: &Fake, count: usize, picks: usize) -> Vec<usize> {
    let stream = Stream::new(9);
    let mut counts = vec![0; count];
    for _ in 0..picks {
        counts[balancer.pick(fake, &stream.next()).expect("some are usable")] += 1;
    }
    counts
}

fn random_weights(dice: &mut Dice) -> Vec<u16> {
    let (count, most) = (2 + dice.below(40), [1, 3, 10, 100, 1_000][dice.below(5)]);
    (0..count).map(|_| 1 + dice.below(most) as u16).collect()
}

/// How far the count of any backend is from its part, at the worst moment of a run.
fn worst_lag(weights: &[u16], picks: usize, mut pick: impl FnMut() -> usize) -> f64 {
    let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
    let mut counts = vec![0.0; weights.len()];
    let mut worst: f64 = 0.0;
    for done in 1..=picks {
        counts[pick()] += 1.0;
        for (count, weight) in counts.iter().zip(weights) {
            worst = worst.max((count - f64::from(*weight) * done as f64 / total).abs());
        }
    }
    worst
}

#[test]
fn weighted_turns_are_smooth_for_any_weights() {
    let mut dice = Dice::new(1);
    for round in 0..400 {
        let weights = random_weights(&mut dice);
        let (balancer, fake, stream) =
            (balancer(Strategy::Weighted, &weights, dice.roll()), Fake::all(weights.len()), Stream::new(2));
        let total: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
        let picks = (3 * total).min(6_000);
        let lag =
            worst_lag(&weights, picks, || balancer.pick(&fake, &stream.next()).expect("all are usable"));
        assert!(lag < 2.5, "round {round}: {lag:.2} picks from its part, weights {weights:?}");
    }
}

#[test]
fn the_heaviest_comes_in_no_bursts() {
    for (weights, run_max) in [
        (vec![5, 1, 1], 3),
        (vec![10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], 2),
        (vec![1_000, 500, 500], 2),
        (vec![3, 1], 3),
        (vec![1; 10], 1),
    ] {
        for seed in 0..50_u64 {
            let (balancer, fake) =
                (balancer(Strategy::Weighted, &weights, dice::mix(seed)), Fake::all(weights.len()));
            let stream = Stream::new(seed);
            let (mut run, mut longest, mut last) = (0, 0, None);
            for _ in 0..2_000 {
                let picked = balancer.pick(&fake, &stream.next());
                run = if picked == last { run + 1 } else { 1 };
                longest = longest.max(run);
                last = picked;
            }
            assert!(longest <= run_max, "{longest} in a row, weights {weights:?}, seed {seed}");
        }
    }
}

#[test]
fn cores_together_are_fair() {
    for (strategy, weights) in
        [(Strategy::RoundRobin, vec![1; 7]), (Strategy::Weighted, vec![1, 2, 3, 4, 5, 6, 7])]
    {
        let plan = plan(strategy, &weights);
        let cores: Vec<Balancer> =
            (0..8).map(|core| Balancer::new(Arc::clone(&plan), dice::mix(core))).collect();
        let (fake, stream) = (Fake::all(weights.len()), Stream::new(3));
        let (mut turn, mut dice) = (0, Dice::new(4));
        // Connections come to any core; each core's turns are its own.
        let lag = worst_lag(&weights, 5_000, || {
            turn = dice.below(cores.len());
            cores[turn].pick(&fake, &stream.next()).expect("all are usable")
        });
        assert!(lag < 8.0, "{}: {lag:.2} picks", strategy.as_str());
        let firsts: Vec<_> = (0..64)
            .map(|core| Balancer::new(Arc::clone(&plan), dice::mix(core)).pick(&fake, &stream.next()))
            .collect();
        let different = (0..7).filter(|index| firsts.contains(&Some(*index))).count();
        assert!(different >= 4, "{}: cores begin at {different} of 7", strategy.as_str());
    }
}

#[test]
fn every_strategy_finds_the_last_usable_backend_and_no_other() {
    for strategy in ALL {
        for count in [1, 2, 3, 10, 33, 200] {
            let weights: Vec<u16> = (0..count).map(|index| 1 + (index * 37 % 1_000) as u16).collect();
            let (balancer, stream) = (balancer(strategy, &weights, 5), Stream::new(6));
            for left in [0, count / 2, count - 1] {
                let dead: Vec<usize> = (0..count).filter(|index| *index != left).collect();
                let fake = Fake::without(count, &dead);
                for _ in 0..20 {
                    assert_eq!(
                        balancer.pick(&fake, &stream.next()),
                        Some(left),
                        "{} {count}",
                        strategy.as_str()
                    );
                }
            }
            let dead: Vec<usize> = (0..count).collect();
            assert_eq!(balancer.pick(&Fake::without(count, &dead), &stream.next()), None);
        }
    }
}

#[test]
fn dead_backends_are_never_picked_and_their_part_goes_to_all_others() {
    for strategy in ALL {
        let weights = vec![10_u16; 10];
        let balancer = balancer(strategy, &weights, 7);
        let picked = counts(&balancer, &Fake::without(10, &[3, 4]), 10, 16_000);
        assert_eq!((picked[3], picked[4]), (0, 0), "{}", strategy.as_str());
        for (index, count) in picked.iter().enumerate().filter(|(index, _)| ![3, 4].contains(index)) {
            assert!((1_600..=2_400).contains(count), "{} {index}: {picked:?}", strategy.as_str());
        }
    }
}

#[test]
fn round_robin_takes_each_in_turn_from_where_its_seed_says() {
    let (balancer, fake, stream) =
        (balancer(Strategy::RoundRobin, &[9, 1, 1], 7), Fake::all(3), Stream::new(0));
    let picks: Vec<usize> = (0..6).filter_map(|_| balancer.pick(&fake, &stream.next())).collect();
    assert_eq!(picks, [1, 2, 0, 1, 2, 0], "whatever the weights");
}

#[test]
fn turns_behind_a_dead_backend_are_not_doubled() {
    for strategy in [Strategy::RoundRobin, Strategy::Weighted] {
        let picked = counts(&balancer(strategy, &[1; 5], 8), &Fake::without(5, &[2]), 5, 4_000);
        assert_eq!(picked, [1_000, 1_000, 0, 1_000, 1_000], "{}", strategy.as_str());
    }
}

#[test]
fn who_comes_back_is_served_its_part_and_makes_up_for_nothing() {
    let weights = [100, 100, 100, 100];
    for strategy in [Strategy::RoundRobin, Strategy::Weighted, Strategy::Random, Strategy::LeastLatency] {
        let (balancer, fake, stream) =
            (balancer(strategy, &weights, 9), Fake::without(4, &[1]), Stream::new(10));
        for _ in 0..10_000 {
            balancer.pick(&fake, &stream.next());
        }
        fake.usable.borrow_mut()[1] = true;
        let back = (0..400).filter(|_| balancer.pick(&fake, &stream.next()) == Some(1)).count();
        assert!((60..=150).contains(&back), "{}: {back} of 400", strategy.as_str());
    }
}

#[test]
fn weights_are_kept_in_proportion() {
    let weights = [1, 2, 5, 12, 20];
    for strategy in [Strategy::Weighted, Strategy::Random, Strategy::LeastConnections, Strategy::LeastLatency]
    {
        let picked = counts(&balancer(strategy, &weights, 11), &Fake::all(5), 5, 40_000);
        for (index, weight) in weights.iter().enumerate() {
            let part = 1_000 * usize::from(*weight);
            // Of two lots the second differs from the first, which favours the light ones.
            let slack = if strategy == Strategy::LeastLatency { part } else { part / 8 };
            assert!(picked[index].abs_diff(part) <= slack, "{} {index}: {picked:?}", strategy.as_str());
        }
    }
}

#[test]
fn random_keeps_the_proportion_among_the_few_that_are_left() {
    let mut weights = vec![50; 100];
    (weights[7], weights[70]) = (10, 30);
    let dead: Vec<usize> = (0..100).filter(|index| ![7, 70].contains(index)).collect();
    let picked = counts(&balancer(Strategy::Random, &weights, 12), &Fake::without(100, &dead), 100, 8_000);
    assert!((1_800..=2_200).contains(&picked[7]), "{} of 8,000", picked[7]);
}

#[test]
fn a_slow_starter_gets_its_share_of_a_share() {
    for strategy in ALL {
        let (balancer, fake) = (balancer(strategy, &[4; 4], 13), Fake::all(4));
        fake.shares.borrow_mut()[2] = 0.25;
        let picked = counts(&balancer, &fake, 4, 13_000);
        assert!((600..=1_900).contains(&picked[2]), "{}: {picked:?}", strategy.as_str());
        fake.shares.replace(vec![0.05; 4]);
        let picked = counts(&balancer, &fake, 4, 4_000);
        assert!(
            picked.iter().all(|count| (500..=1_600).contains(count)),
            "{}: {picked:?}",
            strategy.as_str()
        );
    }
}

#[test]
fn the_least_loaded_for_its_weight_is_picked_of_few_and_of_many() {
    let (few, stream) = (balancer(Strategy::LeastConnections, &[1, 2, 4], 14), Stream::new(15));
    let fake = Fake::all(3);
    fake.in_flight.replace(vec![2, 3, 7]);
    assert_eq!(few.pick(&fake, &stream.next()), Some(1), "2, 1.5 and 1.75 for each unit of weight");
    let many = balancer(Strategy::LeastConnections, &[1; 500], 16);
    let fake = Fake::all(500);
    fake.in_flight.replace(vec![100; 500]);
    fake.in_flight.borrow_mut()[321] = 5;
    let found = (0..500).find(|_| many.pick(&fake, &stream.next()) == Some(321)).expect("it is found");
    for _ in found..found + 50 {
        assert_eq!(
            many.pick(&fake, &stream.next()),
            Some(321),
            "and remembered for as long as it is the best"
        );
    }
}

/// Backends whose sessions are really counted, on several cores.
struct Counted(Vec<InFlight>, Cell<usize>);

impl Backends for Counted {
    fn is_usable(&self, index: usize) -> bool {
        index < self.1.get()
    }

    fn share(&self, _: usize) -> f32 {
        1.0
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.0[index].total()
    }
}

#[test]
fn sessions_of_all_cores_are_counted_and_stay_fair_as_backends_come() {
    for (count, slack) in [(10, 1), (100, 6)] {
        let plan = plan(Strategy::LeastConnections, &vec![1; count]);
        let cores: Vec<Balancer> = (0..4).map(|core| Balancer::new(Arc::clone(&plan), core)).collect();
        let backends = Counted((0..count).map(|_| InFlight::new(4)).collect(), Cell::new(count / 2));
        let (stream, mut dice) = (Stream::new(17), Dice::new(18));
        let mut open = |sessions: usize| {
            for _ in 0..sessions {
                let core = dice.below(4);
                let picked = cores[core].pick(&backends, &stream.next()).expect("some are usable");
                backends.0[picked].enter(core);
            }
        };
        open(10 * count);
        // The other half comes: new sessions go there, until all have the same.
        backends.1.set(count);
        open(10 * count);
        let totals: Vec<u32> = backends.0.iter().map(InFlight::total).collect();
        let (least, most) = (totals.iter().min().expect("some"), totals.iter().max().expect("some"));
        assert!(most - least <= slack, "{least} to {most} of {count}");
    }
}

/// Of many clients, which backend each has.
fn clients_of(weights: &[u16], ids: &[String], fake: &Fake) -> Vec<String> {
    let names: Vec<&str> = ids.iter().map(String::as_str).collect();
    let balancer = Balancer::new(Arc::new(Plan::new(Strategy::IpHash, weights, &names)), 0);
    let of = |client: u32| {
        let moment = Moment { now_ms: 0, random: 0, client_hash: hash_of(&client.to_be_bytes()) };
        ids[balancer.pick(fake, &moment).expect("some are usable")].clone()
    };
    (0..40_000).map(of).collect()
}

fn moved(before: &[String], after: &[String]) -> f64 {
    before.iter().zip(after).filter(|(before, after)| before != after).count() as f64 / before.len() as f64
}

#[test]
fn a_backend_that_comes_or_goes_moves_its_own_clients_only() {
    for count in [2, 3, 5, 10, 20, 100] {
        let ids = ids(count);
        let weights = vec![1; count];
        let before = clients_of(&weights, &ids, &Fake::all(count));
        // An n-th and a tenth of it for the ring, and for 40,000 clients not being all.
        let most = 1.1 / count as f64 + 3.0 * (1.0 / (count as f64 * 40_000.0)).sqrt();
        for gone in [0, count / 2, count - 1] {
            let (mut fewer, gone) = (ids.clone(), ids[gone].clone());
            fewer.retain(|id| *id != gone);
            let after = clients_of(&weights[1..], &fewer, &Fake::all(count - 1));
            let moved = moved(&before, &after);
            assert!(moved <= most, "{moved:.4} of the clients of {count}; at most {most:.4}");
            assert!(before.iter().zip(&after).all(|(before, after)| before == after || *before == gone));
            // A dead backend moves the same clients as one that is gone.
            let index = ids.iter().position(|id| *id == gone).expect("it is one of them");
            let dead = clients_of(&weights, &ids, &Fake::without(count, &[index]));
            assert_eq!(dead, after, "{count}");
        }
    }
}

#[test]
fn clients_are_divided_by_weight_and_wherever_they_come_in() {
    let ids = ids(4);
    let before = clients_of(&[1, 2, 3, 4], &ids, &Fake::all(4));
    for (index, id) in ids.iter().enumerate() {
        let part = before.iter().filter(|owner| *owner == id).count() as f64 / 4_000.0;
        assert!((part / (index + 1) as f64 - 1.0).abs() < 0.12, "{id}: {part}");
    }
    let reversed: Vec<String> = ids.iter().rev().cloned().collect();
    assert_eq!(clients_of(&[4, 3, 2, 1], &reversed, &Fake::all(4)), before, "another order is the same ring");
    let extreme = clients_of(&[1, 1_000, 1_000], &ids[..3], &Fake::all(3));
    let light = extreme.iter().filter(|owner| **owner == ids[0]).count();
    assert!((4..=80).contains(&light), "{light} of 40,000, where 20 are its part");
}

#[test]
fn a_client_keeps_its_backend_however_many_are_dead() {
    let ids = ids(100);
    let before = clients_of(&[1; 100], &ids, &Fake::without(100, &(5..100).collect::<Vec<_>>()));
    let after = clients_of(&[1; 100], &ids, &Fake::without(100, &(4..100).collect::<Vec<_>>()));
    assert!(before.iter().zip(&after).all(|(before, after)| before == after || *before == ids[4]));
    let fifth = before.iter().filter(|owner| **owner == ids[4]).count();
    assert!((6_400..=9_600).contains(&fifth), "{fifth} of 40,000");
}

#[test]
fn hashes_are_the_same_everywhere() {
    // Values of 2026-11-21: to change them moves every client of every node.
    let rows: [(&[u8], u64); 4] = [
        (b"", 0x4821_8226_FF3C_D4BF),
        (b"a", 0xDA39_2E04_1ECC_1ABE),
        (b"192.0.2.7", 0x187E_7D3C_FD49_5C84),
        (&[0; 16], 0x3F2E_EA81_DA60_3294),
    ];
    for (key, hash) in rows {
        assert_eq!(hash_of(key), hash, "{key:?}");
    }
    assert_ne!(hash_of(&[0; 8]), hash_of(&[0; 7]));
    assert_ne!(hash_of(b"12345678"), hash_of(b"12345678\0"));
}

#[test]
fn a_plan_follows_the_model() {
    let backend = |id: &str, weight| model::Backend {
        send_proxy: None,
        tls: None,
        id: BackendId::new(id),
        url: format!("http://{id}"),
        scheme: model::Scheme::Http,
        location: model::Location::Tcp { host: id.to_owned(), port: 80 },
        path_prefix: String::new(),
        root_path: "/".to_owned(),
        weight,
        max_connections: None,
        slow_start_ms: 0,
    };
    let upstream = model::Upstream {
        id: UpstreamId::new("u"),
        strategy: Strategy::IpHash,
        hash_key: model::HashKey::ClientIp,
        panic_threshold_percent: 0,
        backends: vec![backend("a", 3), backend("b", 1)],
    };
    let plan = Plan::of(&upstream);
    assert_eq!((plan.strategy, &*plan.weights), (Strategy::IpHash, &[3, 1][..]));
    let balancer = Balancer::new(Arc::new(plan), 0);
    let picked = counts(&balancer, &Fake::all(2), 2, 10_000);
    assert!((7_000..8_000).contains(&picked[0]), "{picked:?}");
}

/// Picks of each backend of two, of many at one moment.
fn of_two(balancer: &Balancer, fake: &Fake, now_ms: u64) -> [usize; 2] {
    let stream = Stream::new(19);
    let mut picked = [0; 2];
    for _ in 0..100 {
        let moment = Moment { now_ms, ..stream.next() };
        picked[balancer.pick(fake, &moment).expect("both are usable")] += 1;
    }
    picked
}

#[test]
fn the_one_that_answers_sooner_is_picked_until_it_has_enough_in_flight() {
    let (balancer, fake) = (balancer(Strategy::LeastLatency, &[1, 1], 20), Fake::all(2));
    balancer.on_first_byte(0, 10_000, 1_000);
    balancer.on_first_byte(1, 40_000, 1_000);
    assert_eq!(of_two(&balancer, &fake, 1_000), [100, 0]);
    fake.in_flight.replace(vec![4, 0]);
    assert_eq!(of_two(&balancer, &fake, 1_000), [0, 100], "five times 10 ms are more than 40");
}

#[test]
fn a_peak_counts_at_once_and_fades() {
    let (balancer, fake) = (balancer(Strategy::LeastLatency, &[1, 1], 21), Fake::all(2));
    balancer.on_first_byte(0, 10_000, 0);
    balancer.on_first_byte(1, 10_000, 0);
    balancer.on_first_byte(0, 90_000, 0);
    balancer.on_first_byte(0, 10_000, 10);
    assert_eq!(of_two(&balancer, &fake, 10), [0, 100], "one good answer does not wipe it out");
    // The other one answers all the time, this one is not asked: after some while it is worth a try.
    for second in 1..=25 {
        balancer.on_first_byte(1, 10_000, second * 1_000);
        let expected = if second < 22 { [0, 100] } else { [100, 0] };
        assert_eq!(of_two(&balancer, &fake, second * 1_000), expected, "after {second} s");
    }
}

#[test]
fn failures_count_as_slow() {
    let (balancer, fake) = (balancer(Strategy::LeastLatency, &[1, 1], 22), Fake::all(2));
    balancer.on_first_byte(0, 10_000, 0);
    balancer.on_first_byte(1, 300_000, 0);
    balancer.on_failure(0, 0);
    assert_eq!(of_two(&balancer, &fake, 0), [0, 100], "it failed within a millisecond");
    balancer.on_failure(1, 15_000);
    balancer.on_first_byte(0, 10_000, 20_000);
    assert_eq!(of_two(&balancer, &fake, 20_000), [100, 0], "it answers again");
}

#[test]
fn of_unknown_backends_the_less_busy_is_tried_first() {
    let (balancer, fake) = (balancer(Strategy::LeastLatency, &[1, 1], 23), Fake::all(2));
    fake.in_flight.replace(vec![1, 0]);
    assert_eq!(of_two(&balancer, &fake, 0), [0, 100]);
    balancer.on_first_byte(1, 50_000, 0);
    fake.in_flight.replace(vec![0, 3]);
    assert_eq!(of_two(&balancer, &fake, 0), [100, 0], "unknown counts as typical");
}

#[test]
fn only_who_needs_it_is_given_a_hash_or_latencies() {
    for strategy in ALL {
        let balancer = balancer(strategy, &[1, 1], 0);
        assert_eq!(balancer.needs_hash(), strategy == Strategy::IpHash);
        assert_eq!(balancer.needs_latency(), strategy == Strategy::LeastLatency);
    }
}
