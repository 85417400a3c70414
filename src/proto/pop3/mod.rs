//! POP3 (RFC 1939) up to the login, on both sides.
