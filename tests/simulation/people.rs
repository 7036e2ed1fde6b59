//! The people around a daemon: they fire, pause and resume, try again what was rejected, and settle what is
//! held, by what Data Factory's monitor would show them. They make mistakes that the daemon must refuse.

use std::time::Duration;

use adf_cron::ids::{EntryName, FiringId, Nominal, RunId};
use adf_cron::ledger::{Asks, Request, Settlement, State};

use crate::memory::Row;
use crate::sabotage::Sabotage;
use crate::service::{Ids, fresh, ids_of};
use crate::world::World;

/// A person who is told of a held firing does not look before everything that is late has come.
const THINKS: Duration = Duration::from_secs(180);

impl World {
    /// Somebody asks for something.
    pub(crate) fn person(&mut self) {
        let asks = match self.dice.below(18) {
            _ if self.setup.sabotage == Some(Sabotage::FillsAnew) => self.fills_in(),
            10..=16 => self.fills_in(),
            17 => self.ends_a_backfill(),
            0..=2 => self.fires(),
            3 => Asks::Pause { entry: self.some_entry(), note: Some("for a while".to_owned()) },
            4 | 5 => self.resumes(),
            6 => self.retries(),
            _ => self.settles(),
        };
        self.asks(asks);
        // Some come back to what they began.
        if self.dice.percent(50) {
            let asks = self.resumes();
            self.asks(asks);
        }
    }

    fn asks(&mut self, asks: Asks) {
        self.wishes += 1;
        let request = Request::new(format!("wish-{}", self.wishes), asks);
        self.note(|| format!("somebody asks: {:?}", request.asks));
        let at = self.now().wall;
        self.books.ask(&request, at);
    }

    pub(crate) fn some_entry(&mut self) -> EntryName {
        self.dice.pick(&self.file.entries).name.clone()
    }

    fn fires(&mut self) -> Asks {
        let scheduled_time = self.dice.percent(30).then(|| {
            let ago = self.dice.up_to(Duration::from_secs(7_200));
            Nominal::at_or_before(self.now().wall - ago)
        });
        Asks::Fire { entry: self.some_entry(), parameters: serde_json::Map::new(), scheduled_time }
    }

    fn resumes(&mut self) -> Asks {
        let paused =
            self.books.memory.pauses.iter().filter(|(_, all)| all.iter().any(|it| it.until.is_none()));
        let mut paused: Vec<EntryName> = paused.map(|(entry, _)| entry.clone()).collect();
        paused.sort();
        let entry = if paused.is_empty() { self.some_entry() } else { self.dice.pick(&paused).clone() };
        Asks::Resume { entry }
    }

    /// A firing of which the ledger says that it is in this state, for long enough.
    fn some_firing(&mut self, state: State) -> Option<FiringId> {
        let now = self.time;
        let checker = &self.checker;
        let rows = self.books.memory.rows.iter();
        let mut firings: Vec<FiringId> = rows
            .filter(|(firing, row)| {
                row.state == state && checker.changed_at(**firing).is_some_and(|at| now - at > THINKS)
            })
            .map(|(firing, _)| *firing)
            .collect();
        firings.sort();
        (!firings.is_empty()).then(|| *self.dice.pick(&firings))
    }

    fn retries(&mut self) -> Asks {
        let state = *self.dice.pick(&[State::Rejected, State::Rejected, State::NotStarted, State::Accepted]);
        let firing = self.some_firing(state).unwrap_or_else(|| fresh(&mut self.dice));
        Asks::Retry { firing }
    }

    fn settles(&mut self) -> Asks {
        let Some(firing) = self.some_firing(State::Held) else { return self.retries() };
        let row = &self.books.memory.rows[&firing];
        let takes_ours = ids_of(row.intent.factory.name.as_str()) != Ids::Own;
        let how = match self.run_of(row) {
            // Where the run has the firing's id the daemon finds it by itself.
            Some(_) if takes_ours && self.dice.percent(30) => Settlement::Retry,
            Some(run) => Settlement::Run(run),
            None if self.dice.percent(40) => Settlement::NotStarted,
            None if self.dice.percent(20) => return Asks::Retry { firing },
            None => Settlement::Retry,
        };
        Asks::Settle { firing, how }
    }

    /// The run that a person would find for a firing: its own, or, where another firing has taken that, one that
    /// nobody can tell from it and that is left.
    fn run_of(&self, row: &Row) -> Option<RunId> {
        let ledger = &self.books.memory;
        let mut of = row.intent.firing_id;
        for _ in 0..20 {
            let runs = self.network.service.of(of);
            let free = |run: &&RunId| ledger.owner(**run, row.intent.firing_id).is_none();
            if let Some(left) = runs.iter().find(free) {
                return self.network.service.runs[left].could_be(&row.intent).then_some(*left);
            }
            of = ledger.owner(*runs.first()?, of)?;
        }
        None
    }
}
