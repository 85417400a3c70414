//! Sockets, TLS, dialing and HTTP.
