//! Runs after their start: followed to their end, and kept from running at once, against the stand-in.

mod follow;
mod overlap;
