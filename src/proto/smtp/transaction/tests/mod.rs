//! Tests of the transaction: a driver without sockets, golden dialogues, and properties against a small upstream.

mod body;
mod data;
mod dialogues;
mod driver;
mod properties;
mod rules;
mod upstream;
