//! Runs after their start: followed to their end, against the stand-in.

mod follow;
