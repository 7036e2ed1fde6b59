//! Chance against what reads texts: schedule files, templates, and triggers to import. Nothing panics, nothing
//! overflows, and nothing takes long.

use std::time::{Duration, Instant};

use adf_cron::config::{Outside, load, load_accepted};
use adf_cron::schedule::CronRules;

use crate::chance::Chance;
use crate::process::{Place, errors, example};

/// For how many seconds the longer part runs, by the environment; without it a short part.
const SECONDS: &str = "ADF_CRON_FUZZ_SECS";

/// How long one answer may take: two seconds for the optimised program, more without optimisation and beside others.
const SOON: Duration = Duration::from_secs(if cfg!(debug_assertions) { 15 } else { 2 });

/// The stack of the thread on which schedules are read, and that of the main thread.
const STACK: usize = 8 * 1024 * 1024;

/// Runs one after the other until the time is over, at least so many.
fn until_over(least: usize, mut one: impl FnMut(usize)) {
    let seconds = std::env::var(SECONDS).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let (began, mut count) = (Instant::now(), 0);
    while count < least || began.elapsed() < Duration::from_secs(seconds) {
        one(count);
        count += 1;
    }
    println!("{count} inputs in {:?}", began.elapsed());
}

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.number() % most.max(1) as u64).unwrap()
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    /// A small number mostly, and now and then a large one.
    fn count(&mut self) -> usize {
        let most = [2, 4, 16, 200, 5_000][self.below(5)];
        self.below(most)
    }
}

const PIECES: &[&str] = &[
    "[",
    "]",
    "{",
    "}",
    ": ",
    "- ",
    "? ",
    ", ",
    "\n",
    "\n  ",
    "\n    ",
    "\t",
    "'",
    "\"",
    "|\n",
    ">\n",
    "&a ",
    "*a",
    "!!binary ",
    "!x ",
    "<<: ",
    "---\n",
    "...\n",
    "# ",
    "@daily",
    "* * * * *",
    "*/2 * * * * *",
    "0 0 29 2 MON#5",
    "2026-02-30",
    "99999999999999999999",
    ".nan",
    "1e999",
    "~",
    "\u{0}",
    "\u{feff}",
    "\u{85}",
    "\u{2028}",
    "\u{1b}[2J",
    "é",
    "%YAML 1.1\n",
    "`",
    "=",
    "client_secret",
    "azure",
    "pipelines",
    "schedule",
    "parameters",
    "except",
    "recurrence",
    "every",
    "at",
    "cron",
    "timezone",
    "file: /dev/zero",
    "{{ entry }}",
];

const OPERANDS: &[&str] = &[
    "entry",
    "scheduled_time",
    "next_time",
    "1",
    "-1",
    "1000000000",
    "'x'",
    "[1]",
    "[entry, 2]",
    "{'a': 1}",
    "range(99)",
    "none",
    "1.5",
    "x",
    "loop.index",
    "namespace(a=1)",
    "dict(a=1)",
    "''",
    "'%s'",
    "\"é\"",
    "99999999999999999999",
];

const FILTERS: &[&str] = &[
    "upper",
    "length",
    "list",
    "join('-')",
    "join(entry)",
    "replace('e', 'ee')",
    "tojson",
    "tojson(indent=3)",
    "tojson(9999999)",
    "int",
    "float",
    "round(2)",
    "round(999999999)",
    "batch(3)",
    "slice(3)",
    "sort",
    "unique",
    "first",
    "last",
    "reverse",
    "string",
    "indent(4)",
    "indent(99999999)",
    "default('x')",
    "date('%F')",
    "date('%9999999Y')",
    "shift(days=-1)",
    "shift(months=999999)",
    "start_of('month')",
    "zone('Asia/Tokyo')",
    "format(1)",
    "items",
    "dictsort",
    "pprint",
    "map('upper')",
    "select('==', 1)",
    "split('e')",
    "abs",
    "sum",
    "title",
    "trim",
    "lines",
    "groupby('a')",
    "attr('a')",
    "min",
    "max",
    "zip([1])",
    "chain([2])",
    "bool",
    "escape",
];

const OPERATORS: &[&str] = &[
    " + ",
    " - ",
    " * ",
    " / ",
    " // ",
    " % ",
    " ** ",
    " ~ ",
    " == ",
    " < ",
    " in ",
    " and ",
    " or ",
    " is defined and ",
    " not in ",
];

fn expression(chance: &mut Chance, depth: usize) -> String {
    let inner = |chance: &mut Chance| expression(chance, depth.saturating_sub(1));
    match chance.below(if depth == 0 { 2 } else { 9 }) {
        0 | 1 => chance.one_of(OPERANDS).to_owned(),
        2 | 3 => format!("{}|{}", inner(chance), chance.one_of(FILTERS)),
        4 => format!("({}{}{})", inner(chance), chance.one_of(OPERATORS), inner(chance)),
        5 => format!("[{}, {}]", inner(chance), inner(chance)),
        6 => format!("({} if {} else {})", inner(chance), inner(chance), inner(chance)),
        7 => format!("{}[{}]", inner(chance), inner(chance)),
        _ => {
            let (open, close) =
                [("(", ")"), ("[", "]"), ("{1: ", "}"), ("not ", ""), ("-", "")][chance.below(5)];
            let count = chance.count();
            format!("{}{}{}", open.repeat(count), inner(chance), close.repeat(count))
        }
    }
}

fn template(chance: &mut Chance, depth: usize) -> String {
    let inner = |chance: &mut Chance| template(chance, depth.saturating_sub(1));
    let value = expression(chance, 4);
    match chance.below(if depth == 0 { 2 } else { 8 }) {
        0 => format!("{{{{ {value} }}}}"),
        1 => format!("a{{{{ {value} }}}}{}", chance.one_of(PIECES)),
        2 => format!("{{% for x in {value} %}}{}{{% endfor %}}", inner(chance)),
        3 => format!("{{% if {value} %}}{}{{% else %}}{}{{% endif %}}", inner(chance), inner(chance)),
        4 => format!("{{% set x = {value} %}}{}", inner(chance)),
        5 => format!("{{% set x %}}{}{{% endset %}}{}", inner(chance), inner(chance)),
        6 => {
            format!("{{% for x in [{value}] recursive %}}{{{{ loop([x]) }}}}{}{{% endfor %}}", inner(chance))
        }
        _ => format!("{}{}", inner(chance), inner(chance)),
    }
}

/// Cuts, doubles, moves and replaces pieces of a text.
fn mutated(chance: &mut Chance, text: &str) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for _ in 0..=chance.below(6) {
        let at = chance.below(letters.len());
        let end = (at + chance.count()).min(letters.len());
        match chance.below(4) {
            0 => drop(letters.drain(at..end)),
            1 => {
                let again: Vec<char> = letters[at..end].repeat(1 + chance.count() % 50);
                letters.splice(at..at, again);
            }
            _ => {
                let piece = chance.one_of(PIECES).repeat(1 + chance.count());
                letters.splice(at..at, piece.chars());
            }
        }
        letters.truncate(1 << 20);
    }
    letters.into_iter().collect()
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn schedule(chance: &mut Chance, examples: &[String]) -> String {
    let whole = &examples[chance.below(examples.len())];
    match chance.below(4) {
        0 => mutated(chance, whole),
        1 => {
            let count = 1 + chance.count();
            whole.clone() + &(0..count).map(|_| chance.one_of(PIECES)).collect::<String>()
        }
        _ => {
            let azure = whole.split("\nledger:").next().unwrap().split("\npipelines:").next().unwrap();
            let template = quoted(&template(chance, 3));
            format!(
                "{azure}\npipelines:\n  - {{ name: e, pipeline: P, schedule: '@daily', parameters: {{ p: {template} }} }}\n"
            )
        }
    }
}

/// Does work on the stack that the program has for it.
fn on_its_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(STACK).spawn(work).unwrap().join().unwrap()
}

#[test]
fn no_schedule_makes_the_reading_of_it_panic_or_take_long() {
    let examples: Vec<String> = ["complete.yaml", "minimal.yaml", "quickstart.yaml"]
        .iter()
        .map(|name| std::fs::read_to_string(example(name)).unwrap())
        .collect();
    let mut chance = Chance::new();
    on_its_stack(move || {
        let now = "2026-11-24T04:00:00Z".parse().unwrap();
        let outside = Outside { environment: &|_| None, file: &|_| Err("there is no such file".to_owned()) };
        let (mut valid, mut slowest) = (0, (Duration::ZERO, String::new()));
        until_over(300, |_| {
            let text = schedule(&mut chance, &examples);
            let began = Instant::now();
            let read = load(text.as_bytes(), "s.yaml", outside, now);
            valid += usize::from(read.is_ok());
            if let Err(problems) = &read {
                assert!(!problems.to_string().is_empty(), "{text:.2000}");
            }
            let _ = load_accepted(text.as_bytes(), "s.yaml", &|_| None, CronRules::CURRENT);
            let took = began.elapsed();
            assert!(took < SOON, "{took:?}:\n{text:.4000}");
            if took > slowest.0 {
                slowest = (took, text);
            }
        });
        println!("{valid} were valid; the slowest took {:?}: {:.300}", slowest.0, slowest.1);
        assert!(valid > 0, "the generator draws nothing that is right");
    });
}

#[test]
fn no_trigger_makes_the_import_of_it_panic_or_take_long() {
    let trigger = serde_json::json!({"name": "t", "properties": {"type": "ScheduleTrigger", "runtimeState": "Started",
        "typeProperties": {"recurrence": {"frequency": "Week", "interval": 1, "startTime": "2026-01-05T02:30:00",
            "timeZone": "W. Europe Standard Time", "schedule": {"weekDays": ["Monday", "Friday"], "hours": [2], "minutes": [30]}}},
        "pipelines": [{"pipelineReference": {"referenceName": "Copy Sales", "type": "PipelineReference"},
            "parameters": {"a": "@formatDateTime(trigger().scheduledTime, 'yyyy-MM-dd')", "b": [1, {"c": null}]}}]}});
    let text = trigger.to_string();
    let pieces = [
        "@concat(",
        "@{",
        "trigger().scheduledTime",
        "'",
        "[parameters('a')]",
        "\u{1b}[2J",
        "1e999",
        "[[[[[[",
        "\"Day\"",
        "-1",
    ];
    let place = Place::new();
    let mut chance = Chance::new();
    until_over(12, |_| {
        let mut text = mutated(&mut chance, &text);
        let at = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        text.insert_str(at, &chance.one_of(&pieces).repeat(1 + chance.count()));
        let path = place.path("trigger.json");
        std::fs::write(&path, &text).unwrap();
        let began = Instant::now();
        let output = place.run(&["import", &path.display().to_string()]);
        let (took, said) = (began.elapsed(), errors(&output));
        assert!(took < SOON, "{took:?}:\n{text:.4000}");
        assert!(output.status.code().is_some() && !said.contains("panicked"), "{said}\n{text:.4000}");
    });
}
