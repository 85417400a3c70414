//! One session, accept to close.
