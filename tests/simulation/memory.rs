//! A ledger in memory, for the scenarios that need no disk. The contract tests hold it to what the SQLite
//! ledger does, and scenarios on SQLite run both side by side.

mod clock;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use adf_cron::event::Event;
use adf_cron::ids::{EntryName, FiringId, Kind, Nominal, RunId};
use adf_cron::ledger::{
    About, Answer, Asks, Backfill, Batch, Facts, FollowedRun, Intent, Known, LastSchedule, Ledger,
    LedgerError, Loaded, Pause, Progress, Reason, Record, Request, RunProgress, Settlement, Skips, Snapshot,
    State, Written,
};
use adf_cron::schedule::Fingerprint;
use jiff::Timestamp;

/// What became of one firing, or of several nominal times that were left out together.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) intent: Arc<Intent>,
    pub(crate) last: Nominal,
    /// How many nominal times it stands for, if they were left out; else 0.
    pub(crate) skipped: u64,
    pub(crate) state: State,
    pub(crate) reason: Option<Reason>,
    pub(crate) attempts: u32,
    pub(crate) counted: u32,
    pub(crate) next_at: Option<Timestamp>,
    pub(crate) first_sent_at: Option<Timestamp>,
    pub(crate) reopened_at: Option<Timestamp>,
    pub(crate) run_id: Option<RunId>,
    pub(crate) error_message: Option<String>,
    pub(crate) accepted_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) run_status: Option<String>,
    /// Whether its run is followed.
    pub(crate) following: bool,
    pub(crate) overdue: bool,
    /// The outcomes of its attempts, by number.
    pub(crate) outcomes: BTreeMap<u32, &'static str>,
}

/// A request and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) asked_at: Timestamp,
    pub(crate) request: Request,
    pub(crate) answer: Option<Answer>,
}

/// The ledger.
#[derive(Debug, Default)]
pub(crate) struct MemoryLedger {
    pub(crate) rows: HashMap<FiringId, Row>,
    /// The guard: the firing of each scheduled nominal time.
    scheduled: BTreeMap<(EntryName, Nominal), FiringId>,
    /// The last nominal times of the rows that stand for several, by the first.
    wide: BTreeMap<(EntryName, Nominal), Nominal>,
    marks: HashMap<EntryName, (Nominal, Fingerprint)>,
    failures: HashMap<EntryName, u32>,
    pub(crate) backfills: HashMap<Arc<str>, Backfill>,
    learned: HashMap<String, bool>,
    pub(crate) pauses: HashMap<EntryName, Vec<Pause>>,
    /// The firings that took each run.
    owners: HashMap<RunId, Vec<FiringId>>,
    in_force: Option<LastSchedule>,
    clean_stop: bool,
    reached: Option<Timestamp>,
    heartbeat_at: Option<Timestamp>,
    announcements: BTreeMap<u64, Vec<Event>>,
    /// Whether nothing can be written.
    pub(crate) is_full: bool,
    pub(crate) wishes: HashMap<String, Wish>,
    /// The firings that requests have led to, pruned ones included.
    pub(crate) asked_for: HashSet<FiringId>,
    /// What was pruned, for those who check that nothing is missing.
    pub(crate) pruned: Vec<Row>,
}

fn is_open(row: &Row) -> bool {
    matches!(row.state, State::Planned | State::Waiting | State::Unknown | State::Held)
}

/// Times are kept to the millisecond.
pub(crate) fn kept(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap()
}

impl MemoryLedger {
    /// Leaves a request for the daemon.
    pub(crate) fn ask(&mut self, request: &Request, at: Timestamp) {
        let wish = Wish { asked_at: at, request: request.clone(), answer: None };
        assert!(self.wishes.insert(request.request_id.clone(), wish).is_none(), "a request asked twice");
    }

    fn write_now(&mut self, batches: &[Batch], announced: Option<RangeInclusive<u64>>) -> Written {
        if let Some(announced) = announced {
            self.announcements.retain(|batch, _| !announced.contains(batch));
        }
        let mut written = Written::default();
        for batch in batches {
            for record in &batch.records {
                self.apply(batch.id, record, &mut written);
            }
        }
        for batch in batches {
            let events: Vec<Event> =
                batch.announced(&written).filter(|event| event.is_kept()).map(Cow::into_owned).collect();
            if !events.is_empty() {
                self.announcements.insert(batch.id, events);
            }
        }
        written
    }

    fn apply(&mut self, batch: u64, record: &Record, written: &mut Written) {
        let refused = &mut written.refused;
        match record {
            Record::Loaded(loaded) => self.loaded(loaded),
            Record::Planned(intent) => {
                if !self.plan(intent, State::Planned, None) && !self.holds(intent, State::Planned) {
                    refused.insert(intent.firing_id);
                }
            }
            Record::Stillborn(intent, progress) => {
                if self.plan(intent, progress.state, progress.reason) {
                    let row = self.rows.get_mut(&intent.firing_id).unwrap();
                    row.finished_at = Some(kept(progress.at));
                    row.error_message.clone_from(&progress.error_message);
                } else if !self.holds(intent, progress.state) {
                    refused.insert(intent.firing_id);
                }
            }
            Record::Skipped(skips) => {
                let rows = self.skip(skips);
                written.left_out.entry(batch).or_default().extend(rows);
            }
            Record::Marked(mark) => {
                if let Some((known, _)) = self.marks.get_mut(&mark.entry) {
                    *known = mark.nominal;
                }
            }
            Record::Withdrawn(firing) => self.withdraw(*firing),
            Record::SetBack { to, calendars } => self.set_back(*to, calendars),
            Record::Progress(progress) => self.progress(progress),
            Record::Run(run) => self.run(run),
            Record::Reopened { firing_id, at } => {
                if !self.reopen(*firing_id, kept(*at)) {
                    refused.insert(*firing_id);
                }
            }
            Record::Paused { entry, at, .. } => self.pause(entry, kept(*at)),
            Record::Resumed { entry, at } => self.resume(entry, kept(*at)),
            Record::Backfill(backfill) => self.backfill(backfill),
            Record::Failures { entry, count } => drop(self.failures.insert(entry.clone(), *count)),
            Record::Learned { factory, takes_our_id } => {
                self.learned.insert(factory.clone(), *takes_our_id);
            }
            Record::Answered { request, answer, at } => {
                self.answered(
                    Wish { asked_at: kept(*at), request: (**request).clone(), answer: None },
                    answer,
                );
            }
            Record::CleanStop(clean) => {
                self.reached = self.reached.filter(|_| !clean);
                self.clean_stop = *clean;
            }
            Record::Sign(sign) => self.heartbeat_at = Some(sign.heartbeat_at),
            Record::Reached(reached) => self.reached = reached.map(kept),
            Record::Moved { firing_id, next_at, first_sent_at } => {
                self.moved(*firing_id, next_at.map(kept), first_sent_at.map(kept));
            }
        }
    }

    fn answered(&mut self, asked: Wish, answer: &Answer) {
        let wish = self.wishes.entry(asked.request.request_id.clone()).or_insert(asked);
        wish.answer = Some(answer.clone());
        if let Answer::Firing(firing) = answer {
            self.asked_for.insert(*firing);
        }
    }

    fn pause(&mut self, entry: &EntryName, at: Timestamp) {
        let pauses = self.pauses.entry(entry.clone()).or_default();
        if !pauses.iter().any(|pause| pause.from == at) {
            pauses.push(Pause { from: at, until: None });
            pauses.sort_by_key(|pause| pause.from);
        }
    }

    fn resume(&mut self, entry: &EntryName, at: Timestamp) {
        for pause in self.pauses.get_mut(entry).into_iter().flatten() {
            pause.until = pause.until.or(Some(at));
        }
    }

    fn loaded(&mut self, loaded: &Loaded) {
        self.in_force = Some(LastSchedule {
            version: Arc::clone(&loaded.version),
            text: Arc::clone(&loaded.text),
            rules: Some(loaded.rules),
        });
        for ended in &loaded.ended {
            self.marks.remove(ended);
        }
        for (mark, fingerprint) in &loaded.begun {
            self.marks.insert(mark.entry.clone(), (mark.nominal, fingerprint.clone()));
        }
    }

    /// Enters a firing, unless the guard holds; returns whether it is entered.
    fn plan(&mut self, intent: &Arc<Intent>, state: State, reason: Option<Reason>) -> bool {
        if intent.kind == Kind::Scheduled {
            self.make_way(&intent.entry, intent.nominal, intent.nominal);
            if self.is_covered(&intent.entry, intent.nominal, intent.nominal) {
                return false;
            }
        }
        !self.is_taken(intent) && self.enter(Arc::clone(intent), intent.nominal, 0, state, reason)
    }

    /// Whether a row of several nominal times, begun at `first` or before, covers `nominal`.
    fn is_covered(&self, entry: &EntryName, first: Nominal, nominal: Nominal) -> bool {
        let until = (entry.clone(), first);
        // Such rows do not overlap, so none before the nearest one reaches further.
        let nearest = self.wide.range(..=until).next_back().filter(|((of, _), _)| of == entry);
        nearest.is_some_and(|(_, last)| *last >= nominal)
    }

    fn enter(
        &mut self,
        intent: Arc<Intent>,
        last: Nominal,
        skipped: u64,
        state: State,
        reason: Option<Reason>,
    ) -> bool {
        let guard = (intent.entry.clone(), intent.nominal);
        let guarded = intent.kind == Kind::Scheduled && self.scheduled.contains_key(&guard);
        if guarded || self.rows.contains_key(&intent.firing_id) {
            return false;
        }
        if intent.kind == Kind::Scheduled {
            if skipped > 1 {
                self.wide.insert(guard.clone(), last);
            }
            self.scheduled.insert(guard, intent.firing_id);
        }
        let finished_at = (state == State::Skipped).then(|| kept(intent.planned_at));
        let row = Row {
            last,
            skipped,
            state,
            reason,
            attempts: 0,
            counted: 0,
            next_at: None,
            first_sent_at: None,
            reopened_at: None,
            run_id: None,
            error_message: None,
            accepted_at: None,
            finished_at,
            run_status: None,
            following: false,
            overdue: false,
            outcomes: BTreeMap::new(),
            intent,
        };
        self.rows.insert(row.intent.firing_id, row);
        true
    }

    /// Whether this very intent has been written before.
    fn holds(&self, intent: &Intent, state: State) -> bool {
        self.rows.get(&intent.firing_id).is_some_and(|row| {
            row.intent.planned_at.as_millisecond() == intent.planned_at.as_millisecond()
                && row.attempts == 0
                && row.state == state
        })
    }

    /// The firings of an entry's nominal times from one to another.
    fn between(&self, entry: &EntryName, first: Nominal, last: Nominal) -> Vec<FiringId> {
        let range = (entry.clone(), first)..=(entry.clone(), last);
        self.scheduled.range(range).map(|(_, firing)| *firing).collect()
    }

    /// Firings that were skipped because their entry went away give way when it comes back.
    fn make_way(&mut self, entry: &EntryName, first: Nominal, last: Nominal) {
        for firing in self.between(entry, first, last) {
            let row = &self.rows[&firing];
            if row.reason == Some(Reason::Removed) && row.attempts == 0 && row.skipped <= 1 {
                self.remove(firing);
            }
        }
    }

    /// Enters nominal times that were left out, around those that have a record; returns their rows.
    fn skip(&mut self, skips: &Skips) -> Vec<Skips> {
        let (entry, first) = (&skips.intent.entry, skips.intent.nominal);
        self.make_way(entry, first, skips.last);
        let planned_at = skips.intent.planned_at.as_millisecond();
        // Its own rows stand there if this is written once more.
        let is_its_own = |row: &Row| {
            row.state == State::Skipped
                && row.reason == Some(skips.reason)
                && row.intent.planned_at.as_millisecond() == planned_at
        };
        let mut taken: Vec<(Nominal, Nominal)> = Vec::new();
        let nearest = self.wide.range(..(entry.clone(), first)).next_back();
        if let Some(((of, begun), last)) = nearest
            && of == entry
            && *last >= first
        {
            taken.push((*begun, *last));
        }
        let within = self.between(entry, first, skips.last);
        let within = within.iter().map(|firing| &self.rows[firing]).filter(|row| !is_its_own(row));
        taken.extend(within.map(|row| (row.intent.nominal, row.last)));
        let rows = if taken.is_empty() { vec![skips.clone()] } else { skips.around(&taken) };
        for row in &rows {
            let intent = Arc::new(row.intent.clone());
            self.enter(intent, row.last, row.count, State::Skipped, Some(row.reason));
        }
        rows
    }

    fn reopen(&mut self, firing: FiringId, at: Timestamp) -> bool {
        let Some(row) = self.rows.get_mut(&firing) else { return false };
        let over = matches!(row.state, State::Rejected | State::Held | State::NotStarted);
        if !over && row.reopened_at != Some(at) {
            return false;
        }
        row.state = State::Waiting;
        row.reason = None;
        row.counted = 0;
        row.next_at = None;
        row.finished_at = None;
        row.error_message = None;
        row.reopened_at = Some(at);
        true
    }

    fn withdraw(&mut self, firing: FiringId) {
        let unsent = self
            .rows
            .get(&firing)
            .is_some_and(|row| matches!(row.state, State::Planned | State::Waiting) && row.attempts == 0);
        if unsent {
            self.remove(firing);
        }
    }

    fn remove(&mut self, firing: FiringId) -> Option<Row> {
        let row = self.rows.remove(&firing)?;
        if row.intent.kind == Kind::Scheduled {
            let guard = (row.intent.entry.clone(), row.intent.nominal);
            self.scheduled.remove(&guard);
            self.wide.remove(&guard);
        }
        Some(row)
    }

    fn remove_where(&mut self, gone: impl Fn(&Row) -> bool) {
        let gone: Vec<FiringId> =
            self.rows.iter().filter(|(_, row)| gone(row)).map(|(firing, _)| *firing).collect();
        for firing in gone {
            self.remove(firing);
        }
    }

    fn progress(&mut self, progress: &Progress) {
        let Some(row) = self.rows.get_mut(&progress.firing_id) else { return };
        if let Some(attempt) = &progress.attempt {
            row.outcomes.entry(attempt.number).or_insert(attempt.outcome);
        }
        let over =
            matches!(row.state, State::Accepted | State::Rejected | State::Skipped | State::NotStarted);
        let sent = row.state == State::Held || row.attempts > 0;
        if (over && row.state != progress.state) || (progress.state == State::Skipped && sent) {
            return;
        }
        row.following |= progress.follow && row.state != State::Accepted;
        row.state = progress.state;
        row.reason = progress.reason;
        row.attempts = progress.attempts;
        row.counted = progress.counted;
        row.next_at = progress.next_at.map(kept);
        if let Some(attempt) = &progress.attempt {
            row.first_sent_at = row.first_sent_at.or(Some(kept(attempt.sent_at)));
        }
        if let Some(run) = progress.run_id {
            row.run_id = Some(run);
            self.owners.entry(run).or_default().push(progress.firing_id);
        }
        if progress.error_message.is_some() {
            row.error_message.clone_from(&progress.error_message);
        }
        match progress.state {
            State::Accepted => {
                row.accepted_at = Some(kept(progress.at));
                row.error_message = None;
            }
            State::Rejected | State::Skipped | State::NotStarted => row.finished_at = Some(kept(progress.at)),
            _ => {}
        }
    }

    fn run(&mut self, run: &RunProgress) {
        let row = self.rows.get_mut(&run.firing_id).filter(|row| row.state == State::Accepted);
        let Some(row) = row else { return };
        row.run_status = run.status.clone().or(row.run_status.take());
        row.finished_at = run.finished_at.map(kept).or(row.finished_at);
        row.error_message = run.error_message.clone().or(row.error_message.take());
        row.overdue |= run.overdue_at.is_some();
        row.following = run.followed;
    }

    fn followed(&self) -> Vec<FollowedRun> {
        let followed = self.rows.values().filter(|row| row.following);
        let mut followed: Vec<FollowedRun> = followed
            .map(|row| FollowedRun {
                intent: Arc::clone(&row.intent),
                run_id: row.run_id.unwrap(),
                status: row.run_status.clone(),
                since: row.first_sent_at.unwrap_or_else(|| row.intent.sent_since()),
                accepted_at: row.accepted_at.unwrap(),
                overdue: row.overdue,
            })
            .collect();
        followed.sort_by_key(|run| (run.intent.due.as_millisecond(), run.intent.firing_id));
        followed
    }

    fn snapshot(&self) -> Snapshot {
        let in_state = |states: &[State]| {
            let rows = self.rows.values().filter(|row| states.contains(&row.state));
            let mut known: Vec<Known> = rows.map(known).collect();
            known.sort_by_key(|known| (known.intent.due.as_millisecond(), known.intent.firing_id));
            known
        };
        Snapshot {
            marks: self.marks.clone(),
            open: in_state(&[State::Planned, State::Waiting, State::Unknown]),
            held: in_state(&[State::Held]),
            followed: self.followed(),
            pauses: self.pauses.clone(),
            failures: self.failures.clone(),
            backfills: self.open_backfills(),
            learned: self.learned.clone(),
            schedule: self.in_force.clone(),
            clean_stop: self.clean_stop,
            reached: self.reached.max(self.heartbeat_at).filter(|_| !self.clean_stop),
            next_batch: self.announcements.keys().next_back().map_or(0, |batch| batch + 1),
        }
    }

    fn waiting(&self) -> Vec<Request> {
        let mut waiting: Vec<&Wish> = self.wishes.values().filter(|wish| wish.answer.is_none()).collect();
        waiting.sort_by_key(|wish| (wish.asked_at.as_millisecond(), wish.request.request_id.clone()));
        let about = |asks: &Asks| {
            let firing = asks.firing()?;
            let owner = match asks {
                Asks::Settle { how: Settlement::Run(run), .. } => self.owner(*run, firing),
                _ => None,
            };
            Some(Box::new(About { firing: known(self.rows.get(&firing)?), owner }))
        };
        let read = |wish: &Wish| {
            let asks = &wish.request.asks;
            Request { about: about(asks), taken: self.taken_of(asks), ..wish.request.clone() }
        };
        waiting.into_iter().map(read).collect()
    }

    /// The firing, other than `but`, that owns this run.
    pub(crate) fn owner(&self, run: RunId, but: FiringId) -> Option<FiringId> {
        let itself = FiringId::parse(&run.to_string()).ok().filter(|firing| self.rows.contains_key(firing));
        let took = self.owners.get(&run).into_iter().flatten().copied();
        took.filter(|firing| self.rows.get(firing).is_some_and(|row| row.run_id == Some(run)))
            .chain(itself)
            .find(|firing| *firing != but)
    }

    fn prune_now(&mut self, before: Timestamp) -> u64 {
        let ms = before.as_millisecond();
        let second = ms.div_euclid(1_000);
        let old = |row: &Row| {
            let end = row.finished_at.or(row.accepted_at).unwrap_or(row.intent.planned_at);
            row.intent.nominal.as_second() < second
                && row.last.as_second() < second
                && row.intent.due.as_millisecond() < ms
                && end.as_millisecond() < ms
                && !row.following
                && matches!(row.state, State::Accepted | State::Rejected | State::Skipped | State::NotStarted)
        };
        let old: Vec<FiringId> =
            self.rows.iter().filter(|(_, row)| old(row)).map(|(firing, _)| *firing).collect();
        for firing in &old {
            let row = self.remove(*firing);
            self.pruned.extend(row);
        }
        for pauses in self.pauses.values_mut() {
            pauses.retain(|pause| pause.until.is_none_or(|until| until.as_millisecond() >= ms));
        }
        self.pauses.retain(|_, pauses| !pauses.is_empty());
        let kept = |backfill: &Backfill| backfill.ended_at.is_none_or(|at| at.as_millisecond() >= ms);
        self.backfills.retain(|_, backfill| kept(backfill));
        self.wishes.retain(|_, wish| wish.answer.is_none() || wish.asked_at.as_millisecond() >= ms);
        old.len() as u64
    }
}

fn known(row: &Row) -> Known {
    Known {
        intent: Arc::clone(&row.intent),
        state: row.state,
        reason: row.reason,
        attempts: row.attempts,
        counted: row.counted,
        next_at: row.next_at,
        first_sent_at: row.first_sent_at,
        reopened_at: row.reopened_at,
        ever_unknown: row.outcomes.values().any(|outcome| *outcome == "unknown"),
    }
}

impl Ledger for MemoryLedger {
    async fn write(
        &mut self,
        batches: &[Batch],
        announced: Option<RangeInclusive<u64>>,
    ) -> Result<Written, LedgerError> {
        if self.is_full {
            return Err(LedgerError::Unreadable { what: "memory", detail: "it is full".to_owned() });
        }
        Ok(self.write_now(batches, announced))
    }

    async fn load(&mut self) -> Result<Snapshot, LedgerError> {
        Ok(self.snapshot())
    }

    async fn owners(
        &mut self,
        runs: &[RunId],
        but: FiringId,
    ) -> Result<HashMap<RunId, FiringId>, LedgerError> {
        Ok(runs.iter().filter_map(|run| Some((*run, self.owner(*run, but)?))).collect())
    }

    async fn unannounced(&mut self, first: u64, most: u32) -> Result<Vec<Facts>, LedgerError> {
        let waiting = self.announcements.range(first..).take(most as usize);
        Ok(waiting.map(|(batch, events)| (*batch, events.clone())).collect())
    }

    async fn requests(&mut self) -> Result<Vec<Request>, LedgerError> {
        Ok(self.waiting())
    }

    async fn prune(&mut self, before: Timestamp) -> Result<u64, LedgerError> {
        Ok(self.prune_now(before))
    }

    async fn close(self) {}
}
