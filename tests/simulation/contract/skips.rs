//! What every ledger must do with nominal times that are left out: they guard, give way, and are brought back.

use super::*;

pub(super) async fn a_row_of_skips_guards_all_within_it_and_others_are_written_around_what_has_a_record(
    mut ledger: impl Kept,
) {
    write(&mut ledger, vec![loaded("v", "01:00:00", &["a", "b"], &[])]).await;
    let first = skips("a", "02:00:00", "04:00:00", 5, Reason::Missed);
    assert!(write(&mut ledger, vec![first, Record::Marked(mark("a", "04:00:00"))]).await.is_empty());
    let within = intent("a", "03:00:00");
    assert_eq!(write(&mut ledger, vec![planned(&within)]).await, HashSet::from([within.firing_id]));
    assert!(write(&mut ledger, vec![planned(&intent("a", "04:00:01"))]).await.is_empty());
    assert!(write(&mut ledger, vec![planned(&intent("a", "06:00:00"))]).await.is_empty());
    let over = [
        (("01:30:00", "02:30:00"), vec![("01:30:00", "01:30:00", 1)]),
        (("03:30:00", "04:30:00"), vec![("04:30:00", "04:30:00", 1)]),
        (("02:00:00", "04:00:00"), vec![]),
        (
            ("00:30:00", "07:30:00"),
            vec![("00:30:00", "01:00:00", 2), ("05:00:00", "05:30:00", 2), ("06:30:00", "07:30:00", 3)],
        ),
    ];
    for ((from, until), left) in over {
        let row = skips("a", from, until, 99, Reason::Changed);
        let records = vec![row, Record::Marked(mark("a", "08:00:00")), Record::Marked(mark("b", "08:00:00"))];
        let batch = Batch { id: 7, records, events: Vec::new() };
        let written = ledger.write(&[batch], None).await.unwrap();
        assert!(written.refused.is_empty());
        let rows = written.left_out[&7].iter().map(|row| (row.intent.firing_id, row.last, row.count));
        let nominal = |time: &str| Nominal::at_or_before(at(time));
        let left =
            left.iter().map(|(first, last, count)| (intent("a", first).firing_id, nominal(last), *count));
        assert_eq!(rows.collect::<Vec<_>>(), left.collect::<Vec<_>>(), "{from} to {until}");
    }
    for time in ["00:30:00", "01:30:00", "03:00:00", "04:30:00", "05:30:00", "07:00:00"] {
        assert_eq!(
            write(&mut ledger, vec![planned(&intent("a", time))]).await.len(),
            1,
            "{time} has a record"
        );
    }
    let marks = ledger.load().await.unwrap().marks;
    let second = |name: &str| marks[&entry(name)].0.timestamp();
    assert_eq!((second("a"), second("b")), (at("08:00:00"), at("08:00:00")), "all of it has its records");
    let facts = facts(&mut ledger).await;
    let counts: Vec<_> = facts.iter().map(|fact| (fact.fields.first.clone(), fact.fields.count)).collect();
    let count = |time: &str, count| (Some(at(time).to_string()), Some(count));
    assert_eq!(
        counts[counts.len() - 3..],
        [count("00:30:00", 2), count("05:00:00", 2), count("06:30:00", 3)]
    );
}

pub(super) async fn what_was_refused_can_be_planned_once_the_clock_was_set_back_in_the_same_commit(
    mut ledger: impl Kept,
) {
    write(&mut ledger, vec![skips("a", "10:00:00", "12:00:00", 5, Reason::Missed)]).await;
    let covered = Intent { planned_at: at("12:00:01"), ..intent("a", "11:30:00") };
    let to = Nominal::at_or_before(at("11:00:00"));
    let set_back = Record::SetBack { to, calendars: vec![(entry("a"), half_hourly())] };
    let batch = |id, records| Batch { id, records, events: Vec::new() };
    let batches =
        [batch(1, vec![planned(&covered)]), batch(2, vec![set_back]), batch(3, vec![planned(&covered)])];
    ledger.write(&batches, None).await.unwrap();
    let open = ledger.load().await.unwrap().open;
    assert_eq!(open.iter().map(|known| known.intent.nominal).collect::<Vec<_>>(), [covered.nominal]);
}

/// The calendar that a row is of is told by how many of its times it counts.
pub(super) async fn a_row_that_is_cut_keeps_all_its_times_where_another_calendar_counts_it_alike(
    mut ledger: impl Kept,
) {
    let times =
        ["10:00:00", "10:10:00", "10:20:00", "11:50:00", "12:00:00"].map(at).map(Nominal::at_or_before);
    let edited = calendar(Form::At(times.into()));
    let records = vec![
        skips("a", "10:00:00", "12:00:00", 5, Reason::Changed),
        Record::SetBack {
            to: Nominal::at_or_before(at("11:45:00")),
            calendars: vec![(entry("a"), edited), (entry("a"), half_hourly())],
        },
    ];
    write(&mut ledger, records).await;
    assert_eq!(
        write(&mut ledger, vec![planned(&intent("a", "11:30:00"))]).await.len(),
        1,
        "it stays left out"
    );
    assert!(write(&mut ledger, vec![planned(&intent("a", "11:50:00"))]).await.is_empty());
}

pub(super) async fn what_was_removed_gives_way_when_its_entry_comes_back(mut ledger: impl Kept) {
    let intent = intent("a", "10:00:00");
    let removed = Progress { reason: Some(Reason::Removed), ..progress(&intent, State::Skipped, 0) };
    write(&mut ledger, vec![planned(&intent), Record::Progress(removed)]).await;
    assert_eq!(ledger.stands(intent.firing_id).await, Some((State::Skipped, Some(Reason::Removed))));
    assert!(write(&mut ledger, vec![planned(&intent)]).await.is_empty());
    assert_eq!(ledger.stands(intent.firing_id).await, Some((State::Planned, None)));
}

pub(super) async fn a_clock_that_is_set_back_brings_back_what_was_missed_after_it(mut ledger: impl Kept) {
    let sent = intent("a", "12:30:00");
    let records = vec![
        skips("a", "09:30:00", "11:00:00", 4, Reason::Missed),
        skips("a", "12:00:00", "12:10:00", 2, Reason::Missed),
        planned(&sent),
        Record::Progress(attempted(&sent, State::Accepted, 1, "accepted")),
        Record::SetBack {
            to: Nominal::at_or_before(at("10:15:00")),
            calendars: vec![(entry("a"), half_hourly())],
        },
    ];
    write(&mut ledger, records).await;
    assert!(write(&mut ledger, vec![planned(&intent("a", "12:00:00"))]).await.is_empty());
    assert_eq!(
        write(&mut ledger, vec![planned(&intent("a", "10:00:00"))]).await.len(),
        1,
        "it stays left out"
    );
    let again = vec![planned(&intent("a", "10:30:00")), planned(&intent("a", "11:00:00"))];
    assert!(write(&mut ledger, again).await.is_empty(), "the row ends where the clock was set to");
    assert_eq!(write(&mut ledger, vec![planned(&sent)]).await.len(), 1, "what has a run is never repeated");
}
