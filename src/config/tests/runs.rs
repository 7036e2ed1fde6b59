//! What a schedule file may say about runs after their start.

use super::*;

#[test]
fn a_run_can_only_have_a_deadline_if_it_is_followed() {
    let entry = |more: &str| {
        read(&format!("{AZURE}pipelines:\n  - {{ name: a, pipeline: P, schedule: '@daily', {more} }}\n"))
    };
    let policy = Arc::clone(&entry("run_deadline: 6h, on_deadline: cancel").unwrap().entries[0].policy);
    assert_eq!(policy.run_deadline, Some(Duration::from_secs(6 * 3_600)));
    assert_eq!((policy.follow, policy.on_deadline), (true, OnDeadline::Cancel));
    let problems = entry("run_deadline: 6h, follow: false").unwrap_err();
    assert!(problems.to_string().contains("must be true where there is a `run_deadline`"), "{problems}");
}

#[test]
fn overlap_implies_that_runs_are_followed() {
    let entry = |more: &str| {
        let text = format!("{AZURE}pipelines:\n  - {{ name: a, pipeline: P, schedule: '@daily', {more} }}\n");
        Arc::clone(&read(&text).unwrap().entries[0].policy)
    };
    let policy = entry("overlap: queue_one, overlap_scope: pipeline, max_queued: 7, follow: false");
    assert_eq!((policy.overlap, policy.overlap_scope), (Overlap::QueueOne, OverlapScope::Pipeline));
    assert_eq!((policy.max_queued, policy.max_active, policy.follows()), (7, None, true));
    assert!(entry("max_active: 3, follow: false").follows());
    assert!(!entry("overlap: allow, follow: false").follows());
}

#[test]
fn recovery_is_merged_key_by_key_and_may_be_turned_off() {
    let policies = |defaults: &str, entry: &str| {
        let text = format!(
            "{AZURE}defaults: {{ {defaults} }}\npipelines:\n  - {{ name: a, pipeline: P, schedule: '@daily', {entry} }}\n"
        );
        read(&text).map(|settings| Arc::clone(&settings.entries[0].policy))
    };
    let policy = policies("recovery: { max: 3, from: start }", "recovery: { delay: 1m }").unwrap();
    let wanted = Recovery { max: 3, delay: Duration::from_secs(60), from: RecoverFrom::Start };
    assert_eq!((policy.recovery.as_ref(), policy.follows()), (Some(&wanted), true));
    let policy = policies("follow: false", "recovery: { from: { activity: Load } }").unwrap();
    let wanted = Recovery { from: RecoverFrom::Activity("Load".to_owned()), ..Recovery::default() };
    assert_eq!(policy.recovery, Some(wanted));
    assert_eq!(policies("recovery: {}", "recovery: { max: 0 }").unwrap().recovery, None);
    assert_eq!(
        policies("pause_after_failures: 5", "pause_after_failures: 0").unwrap().pause_after_failures,
        None
    );
    let problems = policies("follow: true", "recovery: { from: midway, max: 11 }").unwrap_err();
    assert_eq!(problems.len(), 2, "{problems}");
}
