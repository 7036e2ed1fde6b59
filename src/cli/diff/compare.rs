//! Two schedules side by side: which firings the one has that the other does not have.

use std::iter::Peekable;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::config::Entry;
use crate::ids::Nominal;
use crate::schedule::Zone;

/// From this instant on, and before that one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

/// One firing that is not in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Added(Nominal),
    Removed(Nominal),
    /// On the same local day at another time.
    Moved(Nominal, Nominal),
}

/// What an edit does to one entry.
#[derive(Debug, Default)]
pub(super) struct Difference {
    pub(super) added: u64,
    pub(super) removed: u64,
    pub(super) moved: u64,
    /// What its firings start otherwise than before, by the keys of the file.
    pub(super) changed: Vec<&'static str>,
    /// The first of the firings that are not in both, in order.
    pub(super) firings: Vec<Change>,
}

impl Difference {
    pub(super) fn is_none(&self) -> bool {
        self.added + self.removed + self.moved == 0 && self.changed.is_empty()
    }

    fn note(&mut self, change: Change, most: usize) {
        *match change {
            Change::Added(_) => &mut self.added,
            Change::Removed(_) => &mut self.removed,
            Change::Moved(..) => &mut self.moved,
        } += 1;
        if self.firings.len() < most {
            self.firings.push(change);
        }
    }
}

/// Compares an entry as it was with itself as it will be. At most `most` firings are listed, all are counted.
pub(super) fn entry(old: Option<&Entry>, new: Option<&Entry>, range: Range, most: usize) -> Difference {
    let mut difference = Difference::default();
    // A disabled entry fires as little as one that is not there.
    let (old, new) = (old.filter(|entry| entry.enabled), new.filter(|entry| entry.enabled));
    if let (Some(old), Some(new)) = (old, new) {
        difference.changed = changed(old, new);
        if old.calendar.same_as(&new.calendar) {
            return difference;
        }
    }
    let Some(zone) = new.or(old).map(|entry| entry.calendar.zone().clone()) else { return difference };
    let mut before = firings(old, range).peekable();
    let mut after = firings(new, range).peekable();
    while let Some(first) = before.peek().into_iter().chain(after.peek()).min() {
        let day = local_day(&zone, *first);
        let (removed, added) = (of_day(&mut before, &zone, day), of_day(&mut after, &zone, day));
        for change in changes(&removed, &added) {
            difference.note(change, most);
        }
    }
    difference
}

/// The keys of an entry that differ and make its firings start something else, or later.
fn changed(old: &Entry, new: &Entry) -> Vec<&'static str> {
    let differ = [
        ("pipeline", old.pipeline != new.pipeline),
        ("factory", old.factory != new.factory),
        ("parameters", old.parameters != new.parameters),
        ("jitter", old.calendar.spec().jitter != new.calendar.spec().jitter),
    ];
    differ.into_iter().filter(|(_, differ)| *differ).map(|(key, _)| key).collect()
}

fn firings(entry: Option<&Entry>, range: Range) -> impl Iterator<Item = Nominal> {
    entry.into_iter().flat_map(move |entry| {
        entry.calendar.onwards(range.from).take_while(move |nominal| nominal.timestamp() < range.until)
    })
}

fn local_day(zone: &Zone, nominal: Nominal) -> Date {
    zone.rules().to_datetime(nominal.timestamp()).date()
}

fn of_day(firings: &mut Peekable<impl Iterator<Item = Nominal>>, zone: &Zone, day: Date) -> Vec<Nominal> {
    std::iter::from_fn(|| firings.next_if(|nominal| local_day(zone, *nominal) == day)).collect()
}

/// What one day's firings become: those that stand stay out of it, and of the others the first becomes the
/// first, and so on.
fn changes(old: &[Nominal], new: &[Nominal]) -> Vec<Change> {
    let without = |of: &[Nominal], other: &[Nominal]| -> Vec<Nominal> {
        of.iter().filter(|nominal| other.binary_search(nominal).is_err()).copied().collect()
    };
    let (removed, added) = (without(old, new), without(new, old));
    let both = removed.len().min(added.len());
    let moved = removed.iter().zip(&added).map(|(old, new)| Change::Moved(*old, *new));
    let removed_for_good = removed[both..].iter().map(|old| Change::Removed(*old));
    moved.chain(removed_for_good).chain(added[both..].iter().map(|new| Change::Added(*new))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: &[i64]) -> Vec<Nominal> {
        seconds.iter().map(|second| Nominal::from_second(*second).unwrap()).collect()
    }

    #[test]
    fn what_stands_is_no_change_and_what_is_left_moves_in_its_order() {
        let told = |old: &[i64], new: &[i64]| changes(&at(old), &at(new));
        let [one, two, three, four] = at(&[1, 2, 3, 4])[..] else { panic!("four") };
        assert_eq!(told(&[1, 2], &[1, 2]), []);
        assert_eq!(told(&[2], &[1, 2, 3]), [Change::Added(one), Change::Added(three)]);
        assert_eq!(told(&[1, 3], &[2]), [Change::Moved(one, two), Change::Removed(three)]);
        assert_eq!(told(&[1, 2, 3], &[2, 3, 4]), [Change::Moved(one, four)]);
    }
}
