//! Whole sessions in memory, from the greeting to the close, for the fuzzer and for what it has found: no socket, no token
//! service, and an upstream that is whatever the caller says. Only what comes before the greeting is left out.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::watch::channel;

use super::drive::{Patience, Side};
use super::limits::SessionLimits;
use super::panic::caught;
use super::protocol::{Imap, Pop3, Smtp, Speaks};
use super::record::{Ending, Record};
use super::upstream::Upstreams;
use super::{Arrival, Clearance, Nuisances, Shared, Watchers, log_in};
use crate::config::{Account, Config, Listener, Protocol};
use crate::drain::Drain;
use crate::login::Visit;
use crate::login::directory::Directory;
use crate::login::verify::Verifier;
use crate::net::memory::{Connection, Network, within};
use crate::net::stream::Stream;
use crate::net::tls::Doors;
use crate::oauth::credentials::{
    CredentialFuture, Credentials, Generation, TokenError, TokenFault, UpstreamCredential,
};
use crate::secret::AccessToken;

/// Whose sessions these are.
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A gateway that many sessions are played at. None knows anything of another.
pub struct Stage {
    config: Arc<Config>,
    listener: Arc<Listener>,
    /// Demanded of whoever dials, and of no use: nothing is trusted.
    tls: Arc<ClientConfig>,
}

/// What one session meets.
pub struct Scene {
    /// The client.
    pub downstream: Box<dyn Connection>,
    /// What stands upstream.
    pub network: Network,
    /// What the token service gives: the first one, and another for each that is refused. Then it has none.
    pub tokens: Vec<AccessToken>,
    /// Told once the client has logged in, with how many octets have been read by then of the downstream and the upstream
    /// that the login had no use for.
    pub logged_in: Box<dyn FnOnce(usize, usize) + Send>,
    /// Ends the session in an orderly way.
    pub drain: Drain,
}

impl Stage {
    /// At the first listener of this protocol. All accounts must be of one provider. `None` where there is no such listener,
    /// no account or no TLS.
    #[must_use]
    pub fn new(config: Config, protocol: Protocol) -> Option<Self> {
        let listener = config.listeners.iter().find(|listener| listener.protocol == protocol)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .ok()?;
        let tls = tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        Some(Self { listener: Arc::clone(listener), config: Arc::new(config), tls: Arc::new(tls) })
    }

    /// Plays a session to its end, and says in words how it ended.
    pub async fn play(&self, scene: Scene) -> String {
        let Scene { downstream, network, tokens, logged_in, drain } = scene;
        let (Some(account), Ok(verifier)) = (self.config.accounts.first(), Verifier::new(&self.config)) else {
            return String::from("nothing to play");
        };
        let shared = Shared {
            config: Arc::clone(&self.config),
            directory: channel(Arc::new(Directory::of(&self.config))).1,
            uses: Arc::default(),
            verifier,
            credentials: Arc::new(Tokens(Mutex::new(tokens))),
            upstreams: Upstreams::in_memory(&account.app.provider.name, Arc::clone(&self.tls)),
            limits: Arc::new(SessionLimits::new(1, 1)),
            nuisances: Nuisances::default(),
            clearance: Clearance::default(),
            watchers: Watchers::default(),
            doors: Doors::default(),
            drain,
        };
        let downstream = Side::new(Stream::Memory(downstream));
        let session = async {
            match self.listener.protocol {
                Protocol::Smtp => self.run::<Smtp>(&shared, downstream, logged_in).await,
                Protocol::Imap => self.run::<Imap>(&shared, downstream, logged_in).await,
                Protocol::Pop3 => self.run::<Pop3>(&shared, downstream, logged_in).await,
            }
        };
        let ending = within(network, caught(Box::pin(session))).await;
        ending.unwrap_or(Ending::Internal("a panic")).to_string()
    }

    async fn run<P: Speaks>(&self, shared: &Shared, downstream: Side, logged_in: impl FnOnce(usize, usize)) -> Ending {
        let mut record = Record::new(1, PEER);
        let visit = Visit { peer: PEER, protocol: P::PROTOCOL, encrypted: false };
        let arrival = Arrival { shared, listener: &self.listener, visit, may_log_in: true };
        let patience = Patience::of(shared.config.limits.login_timeout);
        let ending = match log_in::<P>(arrival, downstream, patience, &mut record).await {
            Ok((downstream, upstream, warrant)) => {
                logged_in(downstream.input.len(), upstream.side.input.len());
                P::carry(shared, downstream, upstream, warrant, &mut record).await
            }
            Err(ending) => ending,
        };
        record.write(&self.listener, &ending);
        ending
    }
}

/// Gives tokens in order.
struct Tokens(Mutex<Vec<AccessToken>>);

impl Credentials for Tokens {
    fn credential<'a>(
        &'a self,
        account: &'a Arc<Account>,
        protocol: Protocol,
        refused: Option<Generation>,
    ) -> CredentialFuture<'a> {
        let generation = refused.map_or(Generation(0), |Generation(refused)| Generation(refused + 1));
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let token = usize::try_from(generation.0).ok().and_then(|at| tokens.get(at)).cloned();
        let fault = || TokenFault {
            code: None,
            what: String::from("There is no other token"),
            hint: String::from("Try again"),
            said: None,
            retry_after: None,
        };
        let credential = match (token, refused) {
            (Some(token), _) => Ok(UpstreamCredential { user: account.user(protocol).to_owned(), token, generation }),
            (None, Some(_)) => Err(TokenError::Refused(fault())),
            (None, None) => Err(TokenError::Transient(fault())),
        };
        Box::pin(async { credential })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex};

    use super::*;
    use crate::config::Environment;

    fn stage(protocol: Protocol) -> Stage {
        let text = format!(
            "[[listener]]\nprotocol = \"{protocol}\"\nbind = \"127.0.0.1:0\"\n\
             [provider.memory]\ntoken_url = \"http://127.0.0.1:1/\"\n\
             {protocol} = {{ host = \"localhost\", port = 1, tls = \"none\" }}\n\
             [[account]]\naddress = \"scanner@contoso.example\"\nprovider = \"memory\"\ngrant = \"client-credentials\"\n\
             client_id = \"id\"\nclient_secret = \"secret\"\n\
             [[account.login]]\nusername = \"scanner\"\npassword_hash = \"{}\"\n",
            include_str!("../../tests/common/cheap-hash.txt").trim()
        );
        let config = Config::parse(&text, Path::new("m.toml"), &Environment::of_variables([])).unwrap();
        Stage::new(config, protocol).unwrap()
    }

    /// A client that sends this, and a server; what the login has no use for is expected to be so long.
    async fn scene(sent: &str, left: (usize, usize)) -> (Scene, DuplexStream, DuplexStream) {
        let (mut client, downstream) = duplex(4096);
        let (server, dialed) = duplex(4096);
        client.write_all(sent.as_bytes()).await.unwrap();
        let mut dialed = Some(dialed);
        let scene = Scene {
            downstream: Box::new(downstream),
            network: Box::new(move || Ok(Box::new(dialed.take().unwrap()))),
            tokens: vec![AccessToken::parse("a-token-of-some-length".into()).unwrap()],
            logged_in: Box::new(move |of_downstream, of_upstream| assert_eq!((of_downstream, of_upstream), left)),
            drain: Drain::default(),
        };
        (scene, client, server)
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_needs_no_socket() {
        let sent = "USER scanner\r\nPASS a plain password\r\nSTAT\r\nQUIT\r\n";
        let (scene, mut client, mut server) = scene(sent, (12, 0)).await;
        server.write_all(b"+OK hi\r\n+ \r\n+OK in\r\n").await.unwrap();
        assert_eq!(stage(Protocol::Pop3).play(scene).await, "silent for too long");
        let (mut at_client, mut at_server) = (String::new(), String::new());
        client.read_to_string(&mut at_client).await.unwrap();
        server.read_to_string(&mut at_server).await.unwrap();
        assert_eq!(at_client.lines().count(), 3, "{at_client}");
        assert!(
            at_server.starts_with("AUTH XOAUTH2\r\n") && at_server.ends_with("\r\nSTAT\r\nQUIT\r\n"),
            "{at_server}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_repeats_the_login_among_its_capabilities_does_not_tell_the_client() {
        let (scene, mut client, server) = scene("a LOGIN scanner \"a plain password\"\r\n", (0, 0)).await;
        let mut server = BufReader::new(server);
        let serving = async {
            let greeting = b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] hi\r\n";
            server.write_all(greeting).await.unwrap();
            let mut line = String::new();
            server.read_line(&mut line).await.unwrap();
            let (tag, message) = (line.split(' ').next().unwrap(), line.trim_end().rsplit(' ').next().unwrap());
            let answer = format!("{tag} OK [CAPABILITY IMAP4rev1 X={message} IDLE] in\r\n");
            server.write_all(answer.as_bytes()).await.unwrap();
            drop(server);
        };
        let stage = stage(Protocol::Imap);
        tokio::join!(stage.play(scene), serving);
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.unwrap();
        assert!(heard.contains("a OK [CAPABILITY IMAP4rev1 IDLE]"), "{heard}");
    }
}
