//! A model of the output: it has room for the facts of few batches, and now and then nobody reads it. See
//! `src/telemetry/output.rs`.

use std::collections::VecDeque;
use std::time::Duration;

use adf_cron::event::Event;

use crate::dice::Dice;

/// Batches that may wait to be written.
const ROOM: usize = 3;

/// The output of the process.
pub(crate) struct Output {
    dice: Dice,
    /// Whether it ever blocks in this scenario.
    may_block: bool,
    blocks: bool,
    /// When it begins or ends to block.
    changes_at: Duration,
    waiting: VecDeque<(u64, Vec<Event>)>,
    /// The last batch whose facts are written.
    pub(crate) announced: Option<u64>,
}

impl Output {
    pub(crate) fn new(mut dice: Dice) -> Self {
        let may_block = dice.percent(60);
        let waiting = VecDeque::new();
        Self { dice, may_block, blocks: false, changes_at: Duration::ZERO, waiting, announced: None }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < ROOM
    }

    /// Takes the facts of a batch, if there is room.
    pub(crate) fn offer(&mut self, batch: u64, facts: Vec<Event>) -> bool {
        let has_room = self.has_room();
        if has_room {
            self.waiting.push_back((batch, facts));
        }
        has_room
    }

    /// The facts that are written next, and their batch, unless the output blocks.
    pub(crate) fn next(&mut self, now: Duration, calm: bool) -> Option<(u64, Vec<Event>)> {
        if self.may_block && now >= self.changes_at {
            self.blocks = !self.blocks && self.dice.percent(50);
            let longest = *self.dice.pick(&[10, 120, 1_800]);
            self.changes_at = now + self.dice.up_to(Duration::from_secs(longest));
        }
        if self.blocks && !calm {
            return None;
        }
        self.waiting.pop_front()
    }

    /// A process begins: what the last one had not written is lost.
    pub(crate) fn begins(&mut self) {
        self.waiting.clear();
        self.announced = None;
    }
}
