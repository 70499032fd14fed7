//! Warns in the log before a certificate ends: 30, 7 and 1 days before, once each, and when it has ended.

use std::collections::HashMap;

/// So many days before the end there is a warning.
const WARN_DAYS: [i64; 3] = [1, 7, 30];
const DAY_S: i64 = 86_400;

/// One certificate that clients are shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The file that it was read from.
    pub path: String,
    /// The hosts that it is good for.
    pub names: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub expires_s: i64,
}

/// What has been said of each.
#[derive(Debug, Default)]
pub struct Watch {
    /// By path and end: the least number of days that was told.
    told: HashMap<(String, i64), i64>,
}

impl Watch {
    /// The warnings that are due, and have not been given.
    pub fn warnings(&mut self, shown: &[Shown], now_s: i64) -> Vec<String> {
        self.told.retain(|key, _| shown.iter().any(|one| (&one.path, one.expires_s) == (&key.0, key.1)));
        let mut warnings = Vec::new();
        for one in shown {
            let left_s = one.expires_s - now_s;
            let reached = WARN_DAYS.into_iter().find(|days| left_s <= days * DAY_S);
            let Some(days) = (if left_s <= 0 { Some(0) } else { reached }) else { continue };
            let told = self.told.entry((one.path.clone(), one.expires_s)).or_insert(i64::MAX);
            if days >= *told {
                continue;
            }
            *told = days;
            let names = one.names.join(", ");
            warnings.push(if days == 0 {
                format!("the certificate {} (for {names}) has expired", one.path)
            } else {
                format!("the certificate {} (for {names}) expires in {} days", one.path, left_s / DAY_S)
            });
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_is_told_once_and_a_new_certificate_begins_anew() {
        let one =
            |expires_s| Shown { path: "a.pem".to_owned(), names: vec!["a.example".to_owned()], expires_s };
        let (mut watch, end) = (Watch::default(), 100 * DAY_S);
        let rows = [
            (0, None),
            (69 * DAY_S, None),
            (70 * DAY_S, Some("in 30 days")),
            (80 * DAY_S, None),
            (93 * DAY_S, Some("in 7 days")),
            (94 * DAY_S, None),
            (99 * DAY_S + 1, Some("in 0 days")),
            (end, Some("has expired")),
            (end + 1, None),
        ];
        for (now_s, expected) in rows {
            let warnings = watch.warnings(&[one(end)], now_s);
            match expected {
                None => assert_eq!(warnings, Vec::<String>::new(), "at {now_s}"),
                Some(part) => assert!(warnings.len() == 1 && warnings[0].contains(part), "{warnings:?}"),
            }
        }
        assert_eq!(watch.warnings(&[one(end + DAY_S)], end).len(), 1, "another one with the same name");
        assert_eq!(watch.warnings(&[], end), Vec::<String>::new());
        assert!(watch.told.is_empty(), "what is gone is forgotten");
    }
}
