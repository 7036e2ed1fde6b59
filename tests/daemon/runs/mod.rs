//! Runs after their start: followed to their end, kept from running at once, and recovered, against the stand-in.

mod follow;
mod overlap;
mod recovery;
