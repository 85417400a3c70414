//! SASL messages (RFC 4422): encode and decode, nothing else.
