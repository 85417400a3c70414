//! npm's oidc-provider, a certified authorization server, and what it says of its doings.

use std::path::Path;

use crate::daemon::{Daemon, with_free_ports};
use crate::oauth::MAILBOX;

/// The server, for as long as the value lives.
pub(crate) struct Provider {
    pub(crate) port: u16,
    server: Daemon,
}

impl Provider {
    /// Starts it with access tokens that live for `lifetime` seconds. Also gives the address at which Dovecot asks about
    /// tokens.
    pub(crate) fn start(folder: &Path, lifetime: u32) -> (Self, String) {
        let (server, port) = with_free_ports(|[port]| {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/node/provider.js");
            let libraries = concat!("NODE_PATH=", env!("CARGO_TARGET_TMPDIR"), "/node/node_modules");
            let arguments = [libraries, "node", script, &port.to_string(), MAILBOX, &lifetime.to_string()];
            let mut server = Daemon::spawn("provider", folder, Path::new("/usr/bin/env"), &arguments);
            server.answers_on(&[port]).then_some((server, port))
        });
        let introspection = format!("http://dovecot:dovecot-secret@127.0.0.1:{port}/token/introspection");
        (Self { port, server }, introspection)
    }

    /// How often it gave tokens for this grant type.
    pub(crate) fn granted(&self, grant_type: &str) -> usize {
        self.told("granted ").filter(|granted| granted == grant_type).count()
    }

    /// Every access and refresh token there has been.
    pub(crate) fn issued(&self) -> Vec<String> {
        self.told("issued ").collect()
    }

    /// That nothing it was asked for had to be refused, and no sign-in was ended for a refresh token used twice.
    #[track_caller]
    pub(crate) fn assert_content(&self) {
        for trouble in ["refused ", "revoked", "broken "] {
            assert_eq!(self.told(trouble).collect::<Vec<_>>(), Vec::<String>::new(), "{trouble}");
        }
    }

    fn told(&self, start: &str) -> impl Iterator<Item = String> {
        let log = self.server.log();
        let told: Vec<_> = log
            .lines()
            .filter_map(|line| line.strip_prefix(start))
            .map(str::to_owned)
            .collect();
        told.into_iter()
    }
}
