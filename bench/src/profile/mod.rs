//! Where the time goes: Pinion, and the bare relay beside it, sampled by `perf` at each closed loop after the rounds.
//!
//! `turns` takes a [`Profile`] per work; `report` prints them all with [`markdown`]. A profile has a turn of its own, for
//! sampling takes time. Where there is no `perf`, or it may not look, the report says so and is whole otherwise.

mod part;
mod perf;
mod stack;

use std::collections::HashMap;
use std::fmt::Write as _;

use load::Work;

use crate::peers::Proxy;
use part::Part;
pub(crate) use perf::{Recorder, install_if_missing};
pub(crate) use stack::Stack;

/// Functions that are named for each work.
const HOTTEST: usize = 8;

/// Where one proxy spent its time under one work.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) proxy: Proxy,
    pub(crate) work: Work,
    /// CPU microseconds per request in the turn that was sampled.
    pub(crate) cpu_us: f64,
    /// What ran at each sample, or why there is none.
    pub(crate) stacks: Result<Vec<Stack>, String>,
}

impl Profile {
    fn title(&self) -> String {
        format!("{} {}", self.proxy, self.work)
    }

    fn samples(&self) -> &[Stack] {
        self.stacks.as_deref().unwrap_or_default()
    }

    /// Share of the samples in `part`.
    fn share(&self, part: Part) -> f64 {
        let count = self.samples().iter().filter(|stack| Part::of(stack) == part).count();
        count as f64 / self.samples().len().max(1) as f64
    }

    /// The functions that were found running most often, with their shares.
    fn hottest(&self) -> Vec<(String, f64)> {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for stack in self.samples() {
            *counts.entry(stack.leaf()).or_default() += 1;
        }
        let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
        counts.sort_by(|(name, count), (other_name, other)| other.cmp(count).then(name.cmp(other_name)));
        let all = self.samples().len() as f64;
        counts.into_iter().take(HOTTEST).map(|(name, count)| (name, count as f64 / all)).collect()
    }
}

/// The section of the report; nothing where nothing was to be sampled.
pub(crate) fn markdown(profiles: &[Profile]) -> String {
    let mut text = String::new();
    if profiles.is_empty() {
        return text;
    }
    let _ = writeln!(
        text,
        "\n## Where the time goes\n\n\
         Sampled with `perf record -e cpu-clock` in a turn of its own after the rounds: share of the time on a processor, and \
         µs of it for each request, of the turn that was sampled.\n"
    );
    let (sampled, failed): (Vec<&Profile>, Vec<&Profile>) =
        profiles.iter().partition(|profile| !profile.samples().is_empty());
    parts_table(&mut text, &sampled);
    hottest_list(&mut text, &sampled);
    for profile in failed {
        let cause = profile.stacks.as_ref().err().map_or("perf found nothing running", String::as_str);
        let _ = writeln!(text, "- No profile of {}: {cause}", profile.title());
    }
    text
}

fn parts_table(text: &mut String, profiles: &[&Profile]) {
    if profiles.is_empty() {
        return;
    }
    let titles: Vec<String> = profiles.iter().map(|profile| profile.title()).collect();
    let _ = writeln!(text, "| part | {} |", titles.join(" | "));
    let _ = writeln!(text, "|{}", "---|".repeat(1 + titles.len()));
    for part in Part::ALL {
        let cells = profiles.iter().map(|profile| {
            let share = profile.share(part);
            format!("{:.1} %, {:.2}", share * 100.0, share * profile.cpu_us)
        });
        let _ = writeln!(text, "| {} | {} |", part.title(), cells.collect::<Vec<_>>().join(" | "));
    }
    let sums =
        profiles.iter().map(|profile| format!("{} samples, {:.2}", profile.samples().len(), profile.cpu_us));
    let _ = writeln!(text, "| *all* | {} |", sums.collect::<Vec<_>>().join(" | "));
}

fn hottest_list(text: &mut String, profiles: &[&Profile]) {
    if profiles.is_empty() {
        return;
    }
    let _ = writeln!(text, "\nThe functions found running most often (*k*: the kernel's):\n");
    for profile in profiles {
        let hottest = profile.hottest();
        let named = hottest.iter().map(|(name, share)| format!("{name} {:.1} %", share * 100.0));
        let _ = writeln!(text, "- **{}**: {}", profile.title(), named.collect::<Vec<_>>().join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(stacks: Result<Vec<Stack>, String>) -> Profile {
        let proxy = Proxy::Pinion;
        Profile { proxy, work: Work::Http { connections: 64 }, cpu_us: 10.0, stacks }
    }

    #[test]
    fn shares_are_of_all_samples_and_of_the_turns_cost() {
        let own = "  55d0 engine::run (/bin/pinion)\n";
        let sent = "  ffffffff81000001 memcpy ([kernel.kallsyms])\n  ffffffff81000002 tcp_sendmsg ([kernel.kallsyms])\n";
        let text = format!("{own}\n{sent}\n{sent}\n{sent}\n");
        let text = markdown(&[profile(Ok(stack::parse(&text)))]);
        assert!(text.contains("| part | pinion http64 |"), "{text}");
        assert!(text.contains(&format!("| {} | 25.0 %, 2.50 |", Part::Own.title())), "{text}");
        assert!(text.contains(&format!("| {} | 75.0 %, 7.50 |", Part::Sending.title())), "{text}");
        assert!(text.contains("| *all* | 4 samples, 10.00 |"), "{text}");
        assert!(text.contains("- **pinion http64**: `memcpy` *k* 75.0 %, `engine::run` 25.0 %"), "{text}");
    }

    #[test]
    fn a_profile_that_could_not_be_taken_is_told() {
        let text = markdown(&[profile(Err("perf: no such program".to_owned()))]);
        assert!(text.contains("- No profile of pinion http64: perf: no such program"), "{text}");
        assert!(!text.contains("| part |"), "{text}");
        assert!(markdown(&[profile(Ok(Vec::new()))]).contains("perf found nothing running"));
        assert_eq!(markdown(&[]), "");
    }
}
