//! IMAP (RFC 3501, 9051) up to the login, on both sides.
