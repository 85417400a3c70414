//! What the fuzz targets share: how octets become a dialogue, and how it is played.

pub mod dialogue;
mod flavour;
pub mod login;
pub mod mail;
pub mod session;
mod wire;
mod witness;
