//! What every ledger must keep of a backfill, and refuse of it.

use adf_cron::ledger::{Backfill, Wanted};

use super::*;

/// A backfill of all of a day, and a firing of it.
fn backfill(id: &str, again: bool) -> (Backfill, impl Fn(u8, &str) -> Intent) {
    let (first, last) = (mark("a", "00:00:00").nominal, mark("a", "23:00:00").nominal);
    let backfill = Backfill {
        id: id.into(),
        entry: entry("a"),
        fingerprint: Fingerprint("f".to_owned()),
        first,
        last,
        count: 24,
        max_active: 2,
        again,
        mark: Nominal::from_second(first.as_second() - 1).unwrap(),
        passed: 0,
        begun_at: at("23:30:00"),
        ended_at: None,
        reason: None,
    };
    let part_of = Arc::clone(&backfill.id);
    let firing = move |number: u8, time: &str| Intent {
        firing_id: FiringId::from_random([number; 16]),
        kind: Kind::Backfill,
        backfill: Some(Arc::clone(&part_of)),
        ..intent("a", time)
    };
    (backfill, firing)
}

pub(super) async fn a_backfill_is_kept_with_what_needs_no_start_after_its_mark(mut ledger: impl Kept) {
    let (begun, firing) = backfill("1", false);
    let run = |intent: &Intent| Some(RunId::from(intent.firing_id));
    let accepted = |it: &Intent| Progress { run_id: run(it), ..progress(it, State::Accepted, 1) };
    let stands = [("03:00:00", State::Accepted), ("05:00:00", State::Held), ("06:00:00", State::Rejected)];
    for (time, state) in stands {
        let intent = intent("a", time);
        let ended = if state == State::Accepted { accepted(&intent) } else { progress(&intent, state, 1) };
        write(&mut ledger, vec![planned(&intent), Record::Progress(ended)]).await;
    }
    let own = firing(1, "02:00:00");
    let went_on = Backfill { mark: own.nominal, passed: 3, ..begun.clone() };
    let records = vec![
        Record::Backfill(Box::new(begun.clone())),
        planned(&own),
        Record::Backfill(Box::new(went_on.clone())),
        Record::Progress(progress(&own, State::Rejected, 1)),
    ];
    assert!(write(&mut ledger, records).await.is_empty());
    let taken = |times: &[&str]| times.iter().map(|time| mark("a", time).nominal).collect::<Vec<_>>();
    let known = ledger.load().await.unwrap().backfills;
    assert_eq!(known, [(went_on.clone(), taken(&["03:00:00"]))]);
    let wanted =
        |again| Wanted { entry: entry("a"), from: begun.first, until: begun.last, max_active: None, again };
    for again in [false, true] {
        let request = Request::new(again.to_string(), Asks::Backfill(wanted(again)));
        ledger.leave(&request, at("23:40:00")).await;
    }
    let asked = ledger.requests().await.unwrap();
    assert_eq!((&asked[0].taken, &asked[1].taken), (&known[0].1, &taken(&[])));
    let ended_at = Some(at("23:50:00"));
    let ended = Backfill { ended_at, reason: Some(Reason::Stopped), ..went_on };
    write(&mut ledger, vec![Record::Backfill(Box::new(ended))]).await;
    assert!(ledger.load().await.unwrap().backfills.is_empty());
}

pub(super) async fn a_firing_of_a_backfill_is_refused_where_another_is_under_way_or_has_a_run(
    mut ledger: impl Kept,
) {
    let (once, firing) = backfill("1", false);
    let (again, firing_again) = backfill("2", true);
    let both = [once, again].map(|backfill| Record::Backfill(Box::new(backfill)));
    write(&mut ledger, both.to_vec()).await;
    let (waits, ran, failed) = (intent("a", "01:00:00"), intent("a", "02:00:00"), intent("a", "03:00:00"));
    let run_id = Some(RunId::from(ran.firing_id));
    let goes_on = intent("a", "04:00:00");
    let ends = [
        Progress { run_id, ..progress(&ran, State::Accepted, 1) },
        progress(&failed, State::Rejected, 1),
        Progress {
            run_id: Some(RunId::from(goes_on.firing_id)),
            follow: true,
            ..progress(&goes_on, State::Accepted, 1)
        },
    ];
    write(&mut ledger, [&waits, &ran, &failed, &goes_on].map(planned).to_vec()).await;
    write(&mut ledger, ends.map(Record::Progress).to_vec()).await;
    let (first, second, third) = (firing(1, "01:00:00"), firing(2, "02:00:00"), firing(3, "03:00:00"));
    let refused = write(&mut ledger, [&first, &second, &third].map(planned).to_vec()).await;
    assert_eq!(refused, HashSet::from([first.firing_id, second.firing_id]));
    assert!(write(&mut ledger, vec![planned(&third)]).await.is_empty(), "it stands there already");
    let (fourth, fifth) = (firing_again(4, "01:00:00"), firing_again(5, "02:00:00"));
    let sixth = firing_again(6, "04:00:00");
    let refused = write(&mut ledger, [&fourth, &fifth, &sixth].map(planned).to_vec()).await;
    let still = HashSet::from([fourth.firing_id, sixth.firing_id]);
    assert_eq!(refused, still, "a run that is over may be had again");
}
