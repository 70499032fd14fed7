//! A hierarchical timer wheel with millisecond ticks: arming, moving and cancelling cost O(1).
//!
//! Six levels of 64 slots each; level n holds what is due within 64^(n+1) ms. Called by the turn loop
//! (`ring.rs`), which asks for the next expiry and makes it the one kernel timeout of the turn.
//!
//! Owners that move their deadline several times per request do not come here each time: see `Alarm` in `time.rs`.

use super::slab::{Key, Slab};

const LEVELS: usize = 6;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const NONE: u32 = u32::MAX;
/// A deadline that never comes.
pub(crate) const NEVER: u64 = u64::MAX;
/// Later than this (about a year) is treated as this: it keeps slot arithmetic inside the six levels.
const HORIZON_MS: u64 = 1 << (SLOT_BITS * LEVELS as u32 - 1);

struct Timer {
    key: Key,
    deadline: u64,
    /// Who is woken then.
    task: Option<Key>,
    place: Option<Place>,
    prev: u32,
    next: u32,
}

#[derive(Clone, Copy)]
struct Place {
    level: u8,
    slot: u8,
}

pub(crate) struct Wheel {
    timers: Slab<Timer>,
    heads: [[u32; SLOTS]; LEVELS],
    occupied: [u64; LEVELS],
    /// All slots up to and including this time have been handled.
    elapsed: u64,
    /// The tasks that the last `advance` found due.
    fired: Vec<Key>,
}

impl Wheel {
    pub(crate) fn new(now: u64) -> Wheel {
        Wheel {
            timers: Slab::new(),
            heads: [[NONE; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            elapsed: now,
            // Room from the start: else the first tick of a busy core would allocate.
            fired: Vec::with_capacity(SLOTS),
        }
    }

    /// Timers that exist, set or not.
    pub(crate) fn len(&self) -> usize {
        self.timers.len()
    }

    /// Makes a timer that is not yet set.
    pub(crate) fn create(&mut self) -> Key {
        let key = self.timers.insert(Timer {
            key: Key { index: 0, generation: 0 },
            deadline: NEVER,
            task: None,
            place: None,
            prev: NONE,
            next: NONE,
        });
        if let Some(timer) = self.timers.get_mut(key) {
            timer.key = key;
        }
        key
    }

    pub(crate) fn destroy(&mut self, key: Key) {
        self.unlink(key);
        self.timers.remove(key);
    }

    /// Sets the deadline (ms on the core's clock; [`NEVER`] clears it).
    pub(crate) fn set(&mut self, key: Key, deadline: u64) {
        self.unlink(key);
        if let Some(timer) = self.timers.get_mut(key) {
            timer.deadline = deadline;
        }
        if deadline != NEVER {
            self.link(key, deadline);
        }
    }

    /// Who is to be woken when the deadline comes.
    pub(crate) fn wake_on_expiry(&mut self, key: Key, task: Option<Key>) {
        if let Some(timer) = self.timers.get_mut(key) {
            timer.task = task;
        }
    }

    /// Moves time on to `now`; returns the tasks whose deadlines have passed.
    pub(crate) fn advance(&mut self, now: u64) -> &[Key] {
        self.fired.clear();
        while let Some((at, place)) = self.next_slot() {
            if at > now {
                break;
            }
            self.elapsed = self.elapsed.max(at);
            self.empty_slot(place);
        }
        self.elapsed = self.elapsed.max(now);
        &self.fired
    }

    /// The earliest time at which [`Wheel::advance`] may have work; `None` when nothing is linked.
    pub(crate) fn next_expiry(&self) -> Option<u64> {
        self.next_slot().map(|(at, _)| at)
    }

    /// Every timer of the slot either fires, or is linked again closer to its deadline.
    fn empty_slot(&mut self, place: Place) {
        let (level, slot) = (place.level as usize, place.slot as usize);
        let mut index = std::mem::replace(&mut self.heads[level][slot], NONE);
        self.occupied[level] &= !(1 << slot);
        while index != NONE {
            let Some((key, next, deadline, task)) = self.timer_at(index) else { break };
            index = next;
            if let Some(timer) = self.timers.get_mut(key) {
                timer.place = None;
            }
            if deadline <= self.elapsed {
                self.fired.extend(task);
            } else {
                self.link(key, deadline);
            }
        }
    }

    fn timer_at(&mut self, index: u32) -> Option<(Key, u32, u64, Option<Key>)> {
        let timer = self.timers.at_mut(index)?;
        Some((timer.key, timer.next, timer.deadline, timer.task))
    }

    fn link(&mut self, key: Key, deadline: u64) {
        let at = deadline.clamp(self.elapsed + 1, self.elapsed + HORIZON_MS);
        let level = (63 - ((self.elapsed ^ at) | (SLOTS as u64 - 1)).leading_zeros()) / SLOT_BITS;
        let level = (level as usize).min(LEVELS - 1);
        let slot = (at >> (SLOT_BITS * level as u32)) as usize & (SLOTS - 1);
        let head = std::mem::replace(&mut self.heads[level][slot], key.index);
        self.occupied[level] |= 1 << slot;
        if let Some(timer) = self.timers.get_mut(key) {
            timer.place = Some(Place { level: level as u8, slot: slot as u8 });
            timer.prev = NONE;
            timer.next = head;
        }
        if let Some(after) = self.timers.at_mut(head) {
            after.prev = key.index;
        }
    }

    fn unlink(&mut self, key: Key) {
        let Some(timer) = self.timers.get_mut(key) else { return };
        let Some(place) = timer.place.take() else { return };
        let (prev, next) = (timer.prev, timer.next);
        let head = &mut self.heads[place.level as usize][place.slot as usize];
        if *head == key.index {
            *head = next;
            if next == NONE {
                self.occupied[place.level as usize] &= !(1 << place.slot);
            }
        }
        if let Some(before) = self.timers.at_mut(prev) {
            before.next = next;
        }
        if let Some(after) = self.timers.at_mut(next) {
            after.prev = prev;
        }
    }

    /// The next occupied slot in time order: a lower level always comes up before a higher one.
    fn next_slot(&self) -> Option<(u64, Place)> {
        for level in 0..LEVELS {
            let occupied = self.occupied[level];
            if occupied == 0 {
                continue;
            }
            let shift = SLOT_BITS * level as u32;
            let current = (self.elapsed >> shift) & (SLOTS as u64 - 1);
            let ahead = u64::from(occupied.rotate_right(current as u32).trailing_zeros());
            let slot = (current + ahead) & (SLOTS as u64 - 1);
            let round = 1u64 << (shift + SLOT_BITS);
            let mut at = (self.elapsed & !(round - 1)) + (slot << shift);
            if at < self.elapsed && slot < current {
                at += round; // only the top level wraps
            }
            return Some((at.max(self.elapsed), Place { level: level as u8, slot: slot as u8 }));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(n: u32) -> Key {
        Key { index: n, generation: 1 }
    }

    fn timer(wheel: &mut Wheel, n: u32, deadline: u64) -> Key {
        let key = wheel.create();
        wheel.wake_on_expiry(key, Some(task(n)));
        wheel.set(key, deadline);
        key
    }

    #[test]
    fn fires_at_the_deadline_and_not_before() {
        for distance in [1, 2, 63, 64, 65, 4095, 4096, 4097, 60_000, 300_000, 20_000_000] {
            for start in [0, 1, 63, 64, 4_095, 1_234_567] {
                let mut wheel = Wheel::new(start);
                timer(&mut wheel, 7, start + distance);
                assert!(wheel.advance(start + distance - 1).is_empty(), "{start}+{distance}");
                assert_eq!(wheel.advance(start + distance), &[task(7)], "{start}+{distance}");
                assert_eq!(wheel.next_expiry(), None);
            }
        }
    }

    #[test]
    fn a_deadline_moved_later_fires_once_at_the_new_time() {
        let mut wheel = Wheel::new(0);
        let key = timer(&mut wheel, 1, 100);
        wheel.set(key, 5_000);
        assert!(wheel.advance(4_999).is_empty());
        assert_eq!(wheel.advance(5_000), &[task(1)]);
    }

    #[test]
    fn a_deadline_moved_earlier_fires_at_the_new_time() {
        let mut wheel = Wheel::new(0);
        let key = timer(&mut wheel, 1, 60_000);
        wheel.set(key, 10);
        assert_eq!(wheel.advance(10), &[task(1)]);
    }

    #[test]
    fn cleared_and_destroyed_timers_stay_silent() {
        let mut wheel = Wheel::new(0);
        let cleared = timer(&mut wheel, 1, 50);
        let gone = timer(&mut wheel, 2, 50);
        timer(&mut wheel, 3, 50);
        wheel.set(cleared, NEVER);
        wheel.destroy(gone);
        assert_eq!(wheel.advance(100), &[task(3)]);
        wheel.set(cleared, 120);
        assert_eq!(wheel.advance(120), &[task(1)]);
    }

    #[test]
    fn agrees_with_a_sorted_list_over_a_long_random_run() {
        let mut seed = 0x9E37_79B9_7F4A_7C15u64;
        let mut random = move |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        let mut wheel = Wheel::new(1_000);
        let mut now = 1_000;
        let mut model: Vec<(Key, u32, u64)> = Vec::new();
        for n in 0..20_000u32 {
            match random(4) {
                0 | 1 => {
                    let deadline = now + 1 + random(if n % 3 == 0 { 100 } else { 400_000 });
                    let key = timer(&mut wheel, n, deadline);
                    model.push((key, n, deadline));
                }
                2 if !model.is_empty() => {
                    let pick = random(model.len() as u64) as usize;
                    let deadline = now + 1 + random(5_000);
                    wheel.set(model[pick].0, deadline);
                    model[pick].2 = deadline;
                }
                _ => {
                    now += random(3_000);
                    let mut fired: Vec<u32> = wheel.advance(now).iter().map(|task| task.index).collect();
                    let mut due: Vec<u32> =
                        model.iter().filter(|(_, _, at)| *at <= now).map(|(_, n, _)| *n).collect();
                    fired.sort_unstable();
                    due.sort_unstable();
                    assert_eq!(fired, due, "at {now}");
                    for (key, ..) in model.iter().filter(|(_, _, at)| *at <= now) {
                        wheel.destroy(*key);
                    }
                    model.retain(|(_, _, at)| *at > now);
                }
            }
            let earliest = model.iter().map(|(_, _, at)| *at).min();
            if let Some(earliest) = earliest {
                assert!(wheel.next_expiry().is_some_and(|at| at <= earliest));
            }
        }
    }
}
