//! Mail as it passes: its bytes are counted and watched, never rewritten.

pub mod body;
