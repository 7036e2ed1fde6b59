//! `check --live`: asks Entra ID and Data Factory what no file can tell. It starts nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};
use tokio::task::JoinSet;

use super::Outside;
use crate::azure::Client;
use crate::azure::inspect::{Declaration, Obstacle, READ_RUNS, START, misfits};
use crate::config::Entry;
use crate::daemon::Exit;
use crate::daemon::schedule_file::Loaded;
use crate::ids::{Factory, Nominal, PipelineName};

/// Questions under way at once: ARM gives a burst of 250 reads, and the daemon needs some of them.
const AT_ONCE: usize = 8;

/// What Azure said.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// What stands in the way of a run.
    pub(super) findings: Vec<Finding>,
    /// What could not be found out, and what was found to be as it should.
    pub(super) notes: Vec<String>,
    #[serde(skip)]
    pub(super) exit: Option<Exit>,
}

/// One thing that stands in the way of a run.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    /// The entry; `None` for what concerns all of a factory, or all.
    pub(super) entry: Option<String>,
    pub(super) pipeline: Option<String>,
    pub(super) factory: Option<String>,
    pub(super) message: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for place in [&self.entry, &self.pipeline, &self.factory].into_iter().flatten() {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)
    }
}

type Asked = BTreeMap<(Factory, PipelineName), Result<Declaration, Obstacle>>;

impl Report {
    fn find(&mut self, exit: Exit, finding: Finding) {
        // Of several codes the one that a person must act upon first: refused, unreachable, then the rest.
        let rank =
            |exit: Exit| [Exit::Failed, Exit::Unavailable, Exit::Refused].iter().position(|e| *e == exit);
        if self.exit.is_none_or(|known| rank(known) < rank(exit)) {
            self.exit = Some(exit);
        }
        self.findings.push(finding);
    }
}

fn exit_of(obstacle: &Obstacle) -> Exit {
    match obstacle {
        Obstacle::Missing(_) => Exit::Failed,
        Obstacle::Refused(_) => Exit::Refused,
        Obstacle::Unreachable(_) => Exit::Unavailable,
    }
}

/// Asks about the enabled entries of a schedule.
pub(super) fn ask(outside: &Outside, loaded: &Loaded, client: &Client) -> Report {
    let mut report = Report::default();
    let nobody = |message: String| Finding { entry: None, pipeline: None, factory: None, message };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        report.find(Exit::Failed, nobody("the system gives no event loop".to_owned()));
        return report;
    };
    let entries: Vec<&Arc<Entry>> = loaded.settings.entries.iter().filter(|entry| entry.enabled).collect();
    runtime.block_on(async {
        // Both are asked, so that who is down is known at once.
        let (token, arm) = tokio::join!(client.token().acquire(), client.reach());
        match token {
            Ok(lifetime) => report.notes.push(format!("token: granted, for {} s", lifetime.as_secs())),
            Err(error) => {
                let refused = client.token().was_refused();
                let exit = if refused { Exit::Refused } else { Exit::Unavailable };
                report.find(exit, nobody(format!("no token: {error}")));
            }
        }
        if let Err(why) = arm {
            report.find(exit_of(&why), nobody(why.to_string()));
        }
        if report.exit.is_some() {
            return;
        }
        let factories: BTreeSet<&Factory> = entries.iter().map(|entry| &entry.factory).collect();
        for factory in factories {
            rights(client, factory, &mut report).await;
        }
        let asked = declarations(client, &entries).await;
        let now = Nominal::at_or_before(outside.clock.now().wall);
        for entry in entries {
            compare(entry, &asked, now, &mut report);
        }
    });
    report
}

/// Whether the application may start runs and look them up.
async fn rights(client: &Client, factory: &Factory, report: &mut Report) {
    let name = factory.name.to_string();
    match client.permissions(factory).await {
        Ok(permissions) => {
            let missing: Vec<&str> =
                [START, READ_RUNS].into_iter().filter(|right| !permissions.allow(right)).collect();
            if missing.is_empty() {
                return report.notes.push(format!("{name}: runs may be started and read"));
            }
            for right in missing {
                let message = format!("the application has no role that allows {right}");
                let factory = Some(name.clone());
                report.find(Exit::Refused, Finding { entry: None, pipeline: None, factory, message });
            }
        }
        Err(why @ Obstacle::Unreachable(_)) => {
            let message = format!("whether runs may be started could not be asked: {why}");
            let factory = Some(name);
            report.find(exit_of(&why), Finding { entry: None, pipeline: None, factory, message });
        }
        // Most applications may not read their own rights; a factory that is not there shows at its pipelines.
        Err(why) => report.notes.push(format!(
            "{name}: whether runs may be started cannot be told without Microsoft.Authorization/permissions/read ({why})"
        )),
    }
}

/// Asks for each pipeline once.
async fn declarations(client: &Client, entries: &[&Arc<Entry>]) -> Asked {
    let mut wanted: BTreeSet<(Factory, PipelineName)> =
        entries.iter().map(|entry| (entry.factory.clone(), entry.pipeline.clone())).collect();
    let (mut asked, mut under_way) = (Asked::new(), JoinSet::new());
    loop {
        while under_way.len() < AT_ONCE
            && let Some((factory, pipeline)) = wanted.pop_first()
        {
            let client = client.clone();
            under_way.spawn(async move {
                let answer = client.declaration(&factory, &pipeline).await;
                ((factory, pipeline), answer)
            });
        }
        match under_way.join_next().await {
            Some(Ok((place, answer))) => asked.insert(place, answer),
            Some(Err(_)) => continue,
            None => return asked,
        };
    }
}

/// Compares what an entry would give at its next nominal time with what its pipeline declares.
fn compare(entry: &Entry, asked: &Asked, now: Nominal, report: &mut Report) {
    let finding = |message: String| Finding {
        entry: Some(entry.name.to_string()),
        pipeline: Some(entry.pipeline.to_string()),
        factory: Some(entry.factory.name.to_string()),
        message,
    };
    let declared = match asked.get(&(entry.factory.clone(), entry.pipeline.clone())) {
        Some(Ok(declared)) => declared,
        Some(Err(obstacle)) => {
            let message = match obstacle {
                Obstacle::Missing(said) => format!("there is no such pipeline or factory ({said})"),
                Obstacle::Refused(said) => format!("the pipeline may not be read ({said})"),
                Obstacle::Unreachable(said) => format!("the pipeline could not be read ({said})"),
            };
            return report.find(exit_of(obstacle), finding(message));
        }
        None => {
            return report.find(Exit::Failed, finding("the question for the pipeline broke off".to_owned()));
        }
    };
    let nominal = entry.calendar.next_after(now).unwrap_or(now);
    let given: Map<String, Value> = match entry.parameters.render(&entry.scheduled(nominal)) {
        Ok(body) => serde_json::from_str(&body).unwrap_or_default(),
        Err(error) => return report.find(Exit::Failed, finding(format!("at {nominal}: {error}"))),
    };
    for misfit in misfits(declared, &given) {
        report.find(Exit::Failed, finding(misfit));
    }
}
