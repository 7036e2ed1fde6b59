//! The stage of a test is set before what the test is about can happen. Where that happens at a time, and this
//! machine was so busy that the time came first, the stage is set once more.

use jiff::Timestamp;

use crate::process::in_seconds;

/// No machine is so busy that it needs longer than this to set a stage.
const MOST_SECONDS: i64 = 120;

/// Sets a stage for a time that lies at least so many seconds ahead. `set` is given the time, makes everything anew
/// (its place too), and does all that must be done before the time comes. Where that came first, or `set` found that
/// something else did (`None`), it is called again with a time twice as far ahead.
pub(crate) fn before<T>(mut seconds: i64, mut set: impl FnMut(Timestamp) -> Option<T>) -> T {
    while seconds < MOST_SECONDS {
        let at = in_seconds(seconds);
        if let Some(stage) = set(at)
            && crate::process::now() < at
        {
            return stage;
        }
        println!("the stage was not set within {seconds} s; it is set once more");
        seconds *= 2;
    }
    panic!("the stage could not be set within {MOST_SECONDS} s");
}

#[test]
fn a_stage_that_was_set_too_late_is_set_once_more_for_a_later_time() {
    let mut tries = Vec::new();
    let at = before(1, |at| {
        tries.push(at);
        // The first is told of as too late, and the second is.
        let left = at.duration_since(crate::process::now());
        match tries.len() {
            1 => return None,
            2 => std::thread::sleep(std::time::Duration::try_from(left).unwrap()),
            _ => {}
        }
        Some(at)
    });
    assert_eq!((tries.len(), tries.last()), (3, Some(&at)));
}
