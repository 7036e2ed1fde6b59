//! Searches for the runs of a pipeline: one at a time for each pipeline, shared by all of its firings that are in
//! doubt. After an outage many are, and the service allows a subscription only so many reads.

use std::collections::HashMap;
use std::sync::Arc;

use super::live::Phase;
use super::{Action, Engine, Intent};
use crate::azure::look::Searched;
use crate::clock::Now;
use crate::ids::FiringId;

/// The factory and the pipeline, as the service compares them.
pub(super) type Aim = (String, String);

/// Where an intent is sent to.
pub(super) fn aim(intent: &Intent) -> Aim {
    (intent.factory.key(), intent.pipeline.as_str().to_lowercase())
}

/// A search that is under way.
#[derive(Debug)]
struct Search {
    /// The firing on whose behalf it is made.
    by: FiringId,
    /// Those that are judged by what it shows.
    serves: Vec<FiringId>,
    /// Those that came while it was under way: what it shows may be older than their calls.
    waits: Vec<FiringId>,
}

/// The searches that are under way.
#[derive(Debug, Default)]
pub(super) struct Searches(HashMap<Aim, Search>);

impl Engine {
    /// Searches for the firing's run, together with others of its pipeline.
    pub(super) fn search(&mut self, firing: FiringId) {
        let Some(live) = self.live.get_mut(&firing) else { return };
        live.phase = Phase::Searching;
        let aim = live.aim();
        match self.searches.0.get_mut(&aim) {
            Some(search) => search.waits.push(firing),
            None => self.begin_search(aim, vec![firing]),
        }
    }

    fn begin_search(&mut self, aim: Aim, mut serves: Vec<FiringId>) {
        let live = |firing: &FiringId| self.live.get(firing).filter(|live| live.phase == Phase::Searching);
        serves.retain(|firing| live(firing).is_some());
        let since = serves.iter().filter_map(live).map(|live| live.sent_since()).min();
        let (Some(by), Some(since)) = (serves.first().and_then(live), since) else { return };
        self.actions.push(Action::Search(Arc::clone(&by.intent), since));
        let search = Search { by: by.id(), serves, waits: Vec::new() };
        self.searches.0.insert(aim, search);
    }

    /// The search that was made on behalf of this firing ended.
    pub(super) fn searched(&mut self, by: FiringId, searched: &Searched, now: Now) {
        let Some((aim, search)) = self.searches.0.extract_if(|_, search| search.by == by).next() else {
            return;
        };
        for firing in search.serves.into_iter().filter(|firing| !search.waits.contains(firing)) {
            if self.live.get(&firing).is_none_or(|live| live.phase != Phase::Searching) {
                continue;
            }
            match searched {
                Searched::Runs(runs) => self.judge(firing, runs, now),
                Searched::NoAnswer(unanswered) => self.no_answer(firing, unanswered, now),
            }
        }
        self.begin_search(aim, search.waits);
    }
}
