//! What the gateway tells about itself.

pub mod log;
#[cfg(test)]
pub(crate) mod testing;
