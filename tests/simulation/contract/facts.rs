//! What every ledger must do with facts that are to be announced.

use super::*;

pub(super) async fn facts_are_kept_until_they_were_announced(mut ledger: impl Kept) {
    let firing = FiringId::from_random([3; 16]);
    let batch = |id, level| Batch {
        id,
        records: Vec::new(),
        events: vec![
            event(level, Name::RunCreated, firing),
            event(Level::Debug, Name::FiringPlanned, firing),
        ],
    };
    let batches = [batch(4, Level::Info), batch(5, Level::Error), batch(6, Level::Debug)];
    ledger.write(&batches, None).await.unwrap();
    let levels = |facts: Vec<Event>| facts.iter().map(|event| event.level).collect::<Vec<_>>();
    assert_eq!(ledger.load().await.unwrap().next_batch, 6);
    assert_eq!(levels(facts(&mut ledger).await), [Level::Info, Level::Error]);
    ledger.write(&[batch(7, Level::Warn)], Some(0..=4)).await.unwrap();
    assert_eq!(levels(facts(&mut ledger).await), [Level::Error, Level::Warn]);
    ledger.write(&[], Some(0..=7)).await.unwrap();
    assert!(facts(&mut ledger).await.is_empty());
}

pub(super) async fn facts_are_read_from_a_batch_on_in_order_and_so_many_at_a_time(mut ledger: impl Kept) {
    let firing = FiringId::from_random([3; 16]);
    let tells =
        |at: Option<&str>| Event { at: at.map(super::at), ..event(Level::Info, Name::RunCreated, firing) };
    let batch = |id, events| Batch { id, records: Vec::new(), events };
    let batches = [
        batch(9, vec![tells(None), tells(Some("10:00:00"))]),
        batch(11, vec![]),
        batch(12, vec![tells(None)]),
    ];
    ledger.write(&batches, None).await.unwrap();
    let of = |batch: usize| (batches[batch].id, batches[batch].events.clone());
    assert_eq!(ledger.unannounced(0, 9).await.unwrap(), [of(0), of(2)], "with their times");
    assert_eq!(ledger.unannounced(0, 1).await.unwrap(), [of(0)]);
    assert_eq!(ledger.unannounced(10, 9).await.unwrap(), [of(2)]);
    assert_eq!(ledger.unannounced(13, 9).await.unwrap(), []);
    assert_eq!(ledger.load().await.unwrap().next_batch, 13);
}

pub(super) async fn a_refused_record_takes_no_events_of_other_batches_with_it(mut ledger: impl Kept) {
    let intent = intent("a", "10:00:00");
    write(&mut ledger, vec![planned(&intent)]).await;
    let accepted = Batch {
        id: 1,
        records: vec![Record::Progress(attempted(&intent, State::Accepted, 1, "accepted"))],
        events: vec![event(Level::Info, Name::RunCreated, intent.firing_id)],
    };
    let mut second = intent.clone();
    second.planned_at = at("00:00:09");
    let refused = Batch {
        id: 2,
        records: vec![planned(&second), skips("a", "10:00:00", "10:00:00", 1, Reason::Removed)],
        events: vec![event(Level::Warn, Name::FiringSkipped, intent.firing_id)],
    };
    let written = ledger.write(&[accepted, refused], None).await.unwrap();
    assert_eq!(written.refused.len(), 1);
    assert!(written.left_out[&2].is_empty(), "it has a record");
    let unannounced = facts(&mut ledger).await;
    assert_eq!(unannounced.iter().map(|event| event.name).collect::<Vec<_>>(), [Name::RunCreated]);
}

/// All that is kept to be announced.
pub(super) async fn facts(ledger: &mut impl Ledger) -> Vec<Event> {
    let facts = ledger.unannounced(0, u32::MAX).await.unwrap();
    facts.into_iter().flat_map(|(_, events)| events).collect()
}
