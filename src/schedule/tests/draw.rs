//! Cron expressions by chance: every form of every field, each with every other.

use jiff::civil::Date;

use super::chance::Chance;

pub(crate) const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
pub(crate) const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// The forms of a minute, an hour and a second. `{n}` is a value, `{N}` a name, `{r}` and `{R}` are ranges of them,
/// `{o}` and `{O}` ranges of one, `{s}` is a step, and `{k}` is 1 to 5.
const TIMES: [&str; 17] = [
    "*",
    "{n}",
    "{n}",
    "{n}",
    "{n}",
    "{n}",
    "{n}",
    "{n},{n}",
    "{r}",
    "{r}/{s}",
    "*/{s}",
    "*/100",
    "{n},*/{s}",
    "{o}",
    "{n},{r},{n}",
    "*,{n}",
    "{n},{n},{n}",
];
pub(crate) const DAYS: [&str; 31] = [
    "*",
    "?",
    "{n}",
    "{n},{n}",
    "{r}",
    "{r}/{s}",
    "*/{s}",
    "?/{s}",
    "*/1",
    "*/100",
    "*/100,{r}",
    "*/100,1-7",
    "*,{n}",
    "{n},*",
    "{n},*/{s}",
    "{o}",
    "1-31",
    "31",
    "29-31",
    "1-7",
    "L",
    "l",
    "LW",
    "L,LW",
    "LW,{n},L",
    "{n}W",
    "1W,31w,{n}W",
    "{n},L",
    "L,{r}/{s},{n}W",
    "LW,{r}",
    "*/{s},L,{n}W",
];
pub(crate) const WEEKS: [&str; 58] = [
    "*",
    "?",
    "{n}",
    "7",
    "0",
    "{N}",
    "{n},{N}",
    "{r}",
    "{r}/{s}",
    "{R}",
    "{R}/{s}",
    "mon-Fri",
    "*/{s}",
    "?/{s}",
    "*/1",
    "*/7",
    "*/100",
    "*/{s},{n}",
    "{N},*/{s}",
    "*,{N}",
    "{o}",
    "{O}",
    "SUN-SUN",
    "0-SUN",
    "7-SUN",
    "7-7",
    "SUN-7",
    "0-7",
    "1-7",
    "6-7",
    "SAT-SUN",
    "{N}-SUN",
    "{N}-SUN/{s}",
    "5-7/{s}",
    "{n}#{k}",
    "{N}#{k}",
    "7#{k}",
    "{n}#{k},{N}#{k}",
    "{r}#{k}",
    "MON-FRI#1",
    "*/{s}#{k}",
    "*#{k}",
    "SUN-SUN#{k}",
    "{n}L",
    "7L",
    "fril",
    "{N}#L",
    "{r}#L",
    "{n}L,{N}",
    "{n}#{k},{N}L,{N}",
    "{r}/{s}#{k},{n}",
    "*/{s}#L,{n}L",
    "+*",
    "+{N}",
    "+{r}",
    "+{n}#{k}",
    "+*/{s}",
    "+{N}L,{n}",
];
const MONTHLY: [&str; 12] =
    ["*", "*", "{n}", "{N}", "{n},{N}", "{r}", "{R}", "{R}/{s}", "*/{s}", "*/100", "{O}", "{N},*/{s}"];

/// Puts values into a form.
fn filled(chance: &mut Chance, form: &str, (least, most): (usize, usize), names: &[&str]) -> String {
    let mut text = form.to_owned();
    while let Some(at) = text.find('{') {
        let value = |chance: &mut Chance| least + chance.below(most + 1 - least);
        let range = |chance: &mut Chance, count: usize| {
            let (a, b) = (chance.below(count), chance.below(count));
            (a.min(b), a.max(b))
        };
        let drawn = match &text[at + 1..at + 2] {
            "n" => value(chance).to_string(),
            "N" => chance.one_of(names).to_owned(),
            "s" => (1 + chance.below(9)).to_string(),
            "k" => (1 + chance.below(5)).to_string(),
            "o" => {
                let one = value(chance);
                format!("{one}-{one}")
            }
            "O" => {
                let one = chance.one_of(names);
                format!("{one}-{one}")
            }
            "r" => {
                let (a, b) = range(chance, most + 1 - least);
                format!("{}-{}", least + a, least + b)
            }
            "R" => {
                let (a, b) = range(chance, names.len());
                format!("{}-{}", names[a], names[b])
            }
            other => panic!("no such token: {other}"),
        };
        text.replace_range(at..at + 3, &drawn);
    }
    text
}

/// The field of the day in one of its forms; some of its values are near a day of the month.
pub(crate) fn day(chance: &mut Chance, form: &str, near: i8) -> String {
    let around = match chance.below(2) {
        0 => (1, 31),
        _ => (usize::try_from(near - 2).unwrap_or(1).max(1), usize::try_from(near + 2).unwrap().min(31)),
    };
    filled(chance, form, around, &[])
}

pub(crate) fn weekday(chance: &mut Chance, form: &str) -> String {
    filled(chance, form, (0, 7), &WEEKDAYS)
}

pub(crate) fn month(chance: &mut Chance) -> String {
    let form = chance.one_of(&MONTHLY);
    filled(chance, form, (1, 12), &MONTHS)
}

/// A field of values from 0 to `most`.
pub(crate) fn time(chance: &mut Chance, most: usize) -> String {
    let form = chance.one_of(&TIMES);
    filled(chance, form, (0, most), &[])
}

/// The day, month and weekday of an expression; in most, one of them is about all or about a date.
pub(crate) fn date(chance: &mut Chance, near: Date) -> String {
    let any = |chance: &mut Chance, forms: &[&'static str]| match chance.below(3) {
        0 => "*",
        _ => chance.one_of(forms),
    };
    let (days, weeks) = (any(chance, &DAYS), any(chance, &WEEKS));
    let day = day(chance, days, near.day());
    let month = match chance.below(4) {
        0 => month(chance),
        1 => MONTHS[usize::from(near.month().unsigned_abs()) - 1].to_owned(),
        _ => "*".to_owned(),
    };
    format!("{day} {month} {}", weekday(chance, weeks))
}

/// A whole expression: of five fields, of six, or a macro.
pub(crate) fn expression(chance: &mut Chance) -> String {
    const MACROS: [&str; 8] =
        ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly", "@Midnight"];
    let near =
        jiff::civil::date(2026, 1, 1) + jiff::SignedDuration::from_hours(24 * chance.below(365) as i64);
    let second = match chance.below(40) {
        0 => return chance.one_of(&MACROS).to_owned(),
        1..9 => time(chance, 59) + " ",
        _ => String::new(),
    };
    format!("{second}{} {} {}", time(chance, 59), time(chance, 23), date(chance, near))
}
