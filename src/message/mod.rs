//! Mail as it passes: its line ends made good, its header where a login's mail carries the account's name.

pub mod header;
pub mod line_ends;
pub mod sender;
