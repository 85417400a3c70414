//! Mail as it passes.
