//! Chance for tests: a seed that is printed, and that brings the same draws again.

use std::time::Duration;

/// The variable that gives a test the seed of an earlier one.
const SEED: &str = "ADF_CRON_TEST_SEED";

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
pub(crate) struct Chance(u64);

impl Chance {
    /// Begins with the seed that the environment gives, or a new one, and says which. What a test prints is shown
    /// when it fails.
    pub(crate) fn new() -> Self {
        let seed = match std::env::var(SEED) {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("{SEED} is no number: {text}")),
            Err(_) => uuid::Uuid::new_v4().as_u64_pair().0,
        };
        println!("the seed is {seed}; {SEED}={seed} draws the same again");
        Self(seed)
    }

    /// Any number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// So many milliseconds, at least `from` and less than `to`.
    pub(crate) fn milliseconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.number() % (to - from))
    }
}
