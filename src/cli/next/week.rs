//! A week as a picture: how many firings each hour has.

use std::collections::HashMap;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use serde::Serialize;

use crate::config::Entry;
use crate::ids::Nominal;
use crate::schedule::Zone;

/// From few to many.
const SHADES: [char; 4] = ['░', '▒', '▓', '█'];

/// The firings of seven days, hour by hour. The fields are a documented interface.
#[derive(Debug, Serialize)]
pub(super) struct Week {
    timezone: String,
    days: Vec<Day>,
    firings: u64,
    busiest: Option<Busiest>,
}

#[derive(Debug, Serialize)]
struct Day {
    #[serde(rename = "date")]
    text: String,
    hours: [u64; 24],
    #[serde(skip)]
    date: Date,
}

/// The hour with the most firings; of several the first.
#[derive(Debug, Serialize)]
struct Busiest {
    date: String,
    hour: usize,
    firings: u64,
}

impl Week {
    /// The seven days from the local day of `from` on, in `zone`.
    pub(super) fn new<'a>(
        entries: impl Iterator<Item = &'a Entry>,
        zone: &Zone,
        from: Timestamp,
    ) -> Result<Self, jiff::Error> {
        let first = zone.rules().to_datetime(from).date();
        let begin = |date: Date| date.to_zoned_datetime(zone.rules().clone())?.start_of_day();
        let (start, end) = (begin(first)?.timestamp(), begin(first.checked_add(7.days())?)?.timestamp());
        let mut days = Vec::with_capacity(7);
        for day in 0..7 {
            let date = first.checked_add(day.days())?;
            days.push(Day { text: date.to_string(), hours: [0; 24], date });
        }
        // Large schedules hold the same calendar many times.
        let mut calendars = HashMap::new();
        for entry in entries {
            let (_, count) =
                calendars.entry(entry.calendar.fingerprint()).or_insert((&entry.calendar, 0_u64));
            *count += 1;
        }
        for (calendar, count) in calendars.into_values() {
            for nominal in calendar.onwards(start).take_while(|nominal| nominal.timestamp() < end) {
                note(&mut days, zone, nominal, count);
            }
        }
        Ok(Self::of(zone, days))
    }

    fn of(zone: &Zone, days: Vec<Day>) -> Self {
        let hours =
            || days.iter().flat_map(|day| day.hours.iter().enumerate().map(move |(hour, n)| (day, hour, *n)));
        let most = hours().map(|(_, _, firings)| firings).max().unwrap_or_default();
        let busiest = hours()
            .find(|(_, _, firings)| *firings == most && most > 0)
            .map(|(day, hour, firings)| Busiest { date: day.text.clone(), hour, firings });
        let firings = hours().map(|(_, _, firings)| firings).sum();
        Self { timezone: zone.name().to_owned(), days, firings, busiest }
    }

    /// For a terminal.
    pub(super) fn picture(&self) -> String {
        let most = self.busiest.as_ref().map_or(0, |busiest| busiest.firings);
        let mut text = String::from("            ");
        (0..24).step_by(3).for_each(|hour| text.push_str(&format!("{hour:02}    ")));
        text.push_str("  FIRINGS\n");
        for day in &self.days {
            text.push_str(&day.date.strftime("%a %d %b  ").to_string());
            for firings in day.hours {
                let cell = shade(firings, most);
                text.extend([cell, if cell == '·' { ' ' } else { cell }]);
            }
            text.push_str(&format!("  {:>7}\n", day.hours.iter().sum::<u64>()));
        }
        let Some(Busiest { date, hour, firings }) = &self.busiest else {
            return text + "nothing is scheduled in these days\n";
        };
        text.push_str(&format!("{}  an hour in {}\n", legend(most), self.timezone));
        text.push_str(&format!("busiest: {date}, {hour:02}:00 to {hour:02}:59, with {firings}\n"));
        text
    }
}

fn note(days: &mut [Day], zone: &Zone, nominal: Nominal, count: u64) {
    let local = zone.rules().to_datetime(nominal.timestamp());
    let hour = usize::from(local.hour().unsigned_abs());
    if let Some(day) = days.iter_mut().find(|day| day.date == local.date()) {
        day.hours[hour] += count;
    }
}

/// The shade of a count: a quarter of the most each.
fn shade(firings: u64, most: u64) -> char {
    match firings {
        0 => '·',
        firings => {
            let quarter = (firings * 4).div_ceil(most.max(1)).clamp(1, 4) - 1;
            usize::try_from(quarter).ok().and_then(|quarter| SHADES.get(quarter).copied()).unwrap_or('█')
        }
    }
}

/// Which counts each shade stands for; shades of no whole number are left out.
fn legend(most: u64) -> String {
    let mut from = 1;
    let mut parts = Vec::new();
    for (quarter, shade) in (1_u64..).zip(SHADES) {
        let to = most * quarter / 4;
        if to >= from {
            parts.push(if to == from {
                format!("{shade} {from}")
            } else {
                format!("{shade} {from} to {to}")
            });
            from = to + 1;
        }
    }
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shade_stands_for_the_counts_that_the_legend_names() {
        assert_eq!(legend(16), "░ 1 to 4  ▒ 5 to 8  ▓ 9 to 12  █ 13 to 16");
        assert_eq!(legend(1), "█ 1");
        assert_eq!(legend(2), "▒ 1  █ 2");
        for most in 1..40 {
            let named = legend(most);
            for count in 1..=most {
                let part = named.split("  ").find(|part| part.starts_with(shade(count, most))).unwrap();
                let bounds: Vec<u64> = part.split(' ').filter_map(|word| word.parse().ok()).collect();
                assert!(
                    bounds[0] <= count && count <= bounds[bounds.len() - 1],
                    "{count} of {most}: {named}"
                );
            }
        }
        assert_eq!(shade(0, 5), '·');
    }
}
