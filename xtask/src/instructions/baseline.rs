//! The counts of a run: kept in a file, read from it, compared, and shown as a table.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde_json::{Map, Value, json};

use super::{Count, processor, version};
use crate::run::Failure;

/// The counts, and what they were made with: other compilers and other processors take other instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Baseline {
    pub(super) facts: BTreeMap<String, String>,
    pub(super) counts: BTreeMap<String, Count>,
}

impl Baseline {
    /// The counts of this run.
    pub(super) fn of(counts: BTreeMap<String, Count>) -> Self {
        let facts =
            [("compiler", version("rustc")), ("valgrind", version("valgrind")), ("processor", processor())];
        Self { facts: facts.map(|(name, fact)| (name.to_owned(), fact)).into(), counts }
    }

    /// The counts that are kept; `None` where there are none.
    pub(super) fn read(file: &Path) -> Result<Option<Self>, Failure> {
        let text = match fs::read_to_string(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|error| Failure::Failed(format!("{}: {error}", file.display())))?,
        };
        let read = serde_json::from_str(&text).ok().and_then(|value| Self::from_json(&value));
        read.map(Some)
            .ok_or_else(|| Failure::Failed(format!("{} is damaged; take it from git again", file.display())))
    }

    pub(super) fn write(&self, file: &Path) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::Failed(format!("{}: {error}", file.display()));
        fs::create_dir_all(file.parent().unwrap_or(file)).map_err(failed)?;
        fs::write(file, format!("{:#}\n", self.to_json())).map_err(failed)
    }

    fn to_json(&self) -> Value {
        let count = |(name, count): (&String, &Count)| {
            let Count { unit, units, instructions } = count;
            (name.clone(), json!({ "unit": unit, "units": units, "instructions": instructions }))
        };
        let loops: Map<String, Value> = self.counts.iter().map(count).collect();
        json!({ "facts": self.facts, "loops": loops })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let fact = |(name, fact): (&String, &Value)| Some((name.clone(), fact.as_str()?.to_owned()));
        let count = |(name, count): (&String, &Value)| {
            let number = |key: &str| count.get(key)?.as_u64();
            let unit = count.get("unit")?.as_str()?.to_owned();
            let units = number("units").filter(|&units| units > 0)?;
            Some((name.clone(), Count { unit, units, instructions: number("instructions")? }))
        };
        let table = |key: &str| value.get(key)?.as_object();
        Some(Self {
            facts: table("facts")?.iter().map(fact).collect::<Option<_>>()?,
            counts: table("loops")?.iter().map(count).collect::<Option<_>>()?,
        })
    }

    /// These counts, and in place of those that `newer` has, its own.
    pub(super) fn with(mut self, newer: Self) -> Self {
        self.facts = newer.facts;
        self.counts.extend(newer.counts);
        self
    }

    /// A line for each loop: instructions a unit, now and before.
    pub(super) fn table(&self, before: Option<&Self>) -> String {
        let mut text = format!("{:<14} {:>12} {:>12} {:>9}\n", "loop", "now", "kept", "change");
        for (name, count) in &self.counts {
            let kept = before.and_then(|before| before.counts.get(name));
            let change =
                kept.map_or_else(|| "new".to_owned(), |kept| format!("{:+.2} %", change(kept, count)));
            let kept = kept.map_or_else(String::new, |kept| shown(kept.each()));
            let now = shown(count.each());
            text.push_str(&format!(
                "{name:<14} {now:>12} {kept:>12} {change:>9}   instructions per {}\n",
                count.unit
            ));
        }
        text
    }

    /// What the counts were made with, where that is not the same: then they say little.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let differs =
            |(name, fact): &(&String, &String)| other.facts.get(*name).is_some_and(|now| now != *fact);
        let told =
            |(name, fact): (&String, &String)| format!("the kept counts are of another {name}: {fact}");
        self.facts.iter().filter(differs).map(told).collect()
    }

    /// Fails where a loop takes more than so many per cent more.
    pub(super) fn check(&self, before: &Self, per_cent: f64) -> Result<(), Failure> {
        let mut slower = Vec::new();
        for (name, count) in &self.counts {
            let change = before.counts.get(name).map_or(0.0, |kept| change(kept, count));
            if change > per_cent {
                slower.push(format!("{name} ({change:+.2} %)"));
            }
        }
        if slower.is_empty() {
            return Ok(());
        }
        let list = slower.join(", ");
        Err(Failure::Failed(format!("more than {per_cent} % over the kept counts: {list}")))
    }
}

/// In per cent, a unit; a loop may have another number of units now.
fn change(kept: &Count, now: &Count) -> f64 {
    (now.each() / kept.each() - 1.0) * 100.0
}

fn shown(each: f64) -> String {
    if each < 10.0 { format!("{each:.3}") } else { format!("{each:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(compiler: &str, loops: &[(&str, u64, u64)]) -> Baseline {
        let count = |&(name, units, instructions): &(&str, u64, u64)| {
            (name.to_owned(), Count { unit: "octet".to_owned(), units, instructions })
        };
        Baseline {
            facts: [("compiler".to_owned(), compiler.to_owned())].into(),
            counts: loops.iter().map(count).collect(),
        }
    }

    #[test]
    fn what_is_kept_comes_back() {
        let kept = baseline("rustc 1", &[("a", 10, 1000), ("b", 3, 7)]);
        assert_eq!(Baseline::from_json(&kept.to_json()), Some(kept.clone()));
        assert_eq!(Baseline::from_json(&json!({ "facts": {}, "loops": { "a": { "unit": "x" } } })), None);
        assert_eq!(
            Baseline::from_json(
                &json!({ "facts": {}, "loops": { "a": { "unit": "x", "units": 0, "instructions": 1 } } })
            ),
            None
        );
        let newer = kept.with(baseline("rustc 2", &[("b", 3, 9), ("c", 1, 1)]));
        assert_eq!(newer, baseline("rustc 2", &[("a", 10, 1000), ("b", 3, 9), ("c", 1, 1)]));
    }

    #[test]
    fn the_table_shows_the_change_of_a_unit() {
        let before = baseline("rustc 1", &[("a", 10, 1000)]);
        let now = baseline("rustc 2", &[("a", 20, 2100), ("b", 1000, 1271)]);
        let table = now.table(Some(&before));
        let lines: Vec<Vec<&str>> =
            table.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["a", "105.0", "100.0", "+5.00", "%", "instructions", "per", "octet"]);
        assert_eq!(lines[1], ["b", "1.271", "new", "instructions", "per", "octet"]);
        assert_eq!(before.differences(&now), ["the kept counts are of another compiler: rustc 1"]);
        assert_eq!(before.differences(&before), Vec::<String>::new());
    }

    #[test]
    fn only_more_is_a_failure() {
        let before = baseline("", &[("a", 1, 1000), ("b", 1, 1000)]);
        let now = baseline("", &[("a", 1, 1020), ("b", 1, 500), ("new", 1, 9)]);
        assert_eq!(now.check(&before, 2.5), Ok(()));
        let Err(Failure::Failed(text)) = now.check(&before, 1.0) else { panic!("no failure") };
        assert_eq!(text, "more than 1 % over the kept counts: a (+2.00 %)");
    }
}
