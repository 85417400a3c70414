//! The ways in which the gateway is set up that whole sessions are played at.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use mailferry::config::{Config, Environment, Protocol};
use mailferry::session::fuzzing::Stage;

/// The password of every login.
pub(crate) const PASSWORD: &[u8] = b"a plain password";

/// Its hash: one that takes no time.
const HASH: &str = include_str!("../../tests/common/cheap-hash.txt");

/// How the gateway is set up: one octet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flavour(pub(crate) u8);

impl Flavour {
    const fn is(self, bit: u8) -> bool {
        self.0 >> bit & 1 == 1
    }

    /// What the client speaks.
    pub(crate) const fn protocol(self) -> Protocol {
        match self.0 & 3 {
            1 => Protocol::Imap,
            2 => Protocol::Pop3,
            _ => Protocol::Smtp,
        }
    }

    /// Whether the client's address opens a login of its own.
    pub(crate) const fn is_by_address(self) -> bool {
        self.0 & 3 == 3
    }

    /// Whether no password is taken: there is no TLS here.
    pub(crate) const fn takes_no_password(self) -> bool {
        self.is(2)
    }

    /// Whether the upstream has to begin TLS, which leads nowhere here.
    pub(crate) const fn demands_tls(self) -> bool {
        self.is(3)
    }

    fn config(self) -> Config {
        let Self(number) = self;
        let protocol = self.protocol();
        let clear = if self.takes_no_password() { "tls = \"auto\"\nplaintext_login = []\n" } else { "" };
        let tls = if self.demands_tls() { "starttls" } else { "none" };
        let mut rules = String::new();
        for (bit, rule) in [
            (4, "sender = \"force\"\n"),
            (5, "lone_lf_ends_message = true\n"),
            (7, "recipients = [\"@example.com\"]\n"),
        ] {
            if self.is(bit) {
                rules += rule;
            }
        }
        let max_message = if self.is(6) { "max_message = \"1KB\"\n" } else { "" };
        let by_address = if self.is_by_address() {
            format!(
                "[[account.login]]\nusername = \"plotter\"\nwithout_password = true\nnetworks = [\"127.0.0.1\"]\n{rules}"
            )
        } else {
            String::new()
        };
        let text = format!(
            "hostname = \"gateway.example\"\n\
             [[listener]]\nprotocol = \"{protocol}\"\nbind = \"127.0.0.1:0\"\n{clear}\
             [provider.memory]\ntoken_url = \"http://127.0.0.1:1/\"\nsmtp_extensions = [\"CHUNKING\"]\n\
             smtp = {{ host = \"localhost\", port = 587, tls = \"{tls}\" }}\n\
             imap = {{ host = \"localhost\", port = 143, tls = \"{tls}\" }}\n\
             pop3 = {{ host = \"localhost\", port = 110, tls = \"{tls}\" }}\n\
             [[account]]\naddress = \"scanner@contoso.example\"\nprovider = \"memory\"\ngrant = \"client-credentials\"\n\
             client_id = \"id\"\nclient_secret = \"secret\"\n{max_message}\
             [[account.login]]\nusername = \"scanner\"\npassword_hash = \"{}\"\n{rules}{by_address}",
            HASH.trim()
        );
        let config = Config::parse(&text, Path::new("/nowhere/mailferry.toml"), &Environment::of_variables([]));
        config.unwrap_or_else(|errors| panic!("flavour {number}: {errors}"))
    }

    /// The gateway, set up once.
    pub(crate) fn stage(self) -> Rc<Stage> {
        thread_local! {
            static STAGES: RefCell<HashMap<u8, Rc<Stage>>> = RefCell::default();
        }
        let made = || Rc::new(Stage::new(self.config(), self.protocol()).expect("a listener and TLS"));
        STAGES.with_borrow_mut(|stages| Rc::clone(stages.entry(self.0).or_insert_with(made)))
    }
}
