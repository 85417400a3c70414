//! One try at an upstream: dial it, hear its greeting, log in. The token goes out here, and nowhere else.

use std::fmt::Write as _;
use std::sync::Arc;

use rustls::ClientConfig;
use thiserror::Error;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::Upstream;
use crate::config::{Account, Server, UpstreamTls};
use crate::net::dial::{self, GREETING, within};
use crate::net::stream::Stream;
use crate::oauth::credentials::UpstreamCredential;
use crate::proto::sasl::{oauthbearer, xoauth2};
use crate::proto::{Credential, Machine, OCTETS_BEFORE_TLS, ProtoError, UpstreamEvent, UpstreamRefusal};
use crate::secret::redacted;
use crate::session::Shared;
use crate::session::breaker::Dial;
use crate::session::drive::{Lost, Outcome, Patience, Side};
use crate::session::protocol::Speaks;
use crate::telemetry::log::PeerText;

/// Why one try at the upstream did not succeed.
#[derive(Debug, Error)]
pub(super) enum OpenError {
    #[error("{0}")]
    Unreachable(std::io::Error),
    /// It could not be reached of late, and nobody has tried again. Says itself which one it is.
    #[error("{0}")]
    LeftAlone(String),
    #[error("{0}")]
    Lost(Lost),
    #[error("it did not answer the login in time")]
    TooSlow,
    /// A machine wants to log in without the TLS that is demanded: our own fault, and no token for it.
    #[error("the login was about to go out in clear; no token was sent")]
    InClear,
    #[error("{}", refused(.0))]
    Refused(UpstreamRefusal),
}

/// Dials `server` and logs `account` in by `until`. The dial has succeeded once the server has done all that is the same
/// for every account.
pub(super) async fn dial_and_log_in<P: Speaks>(
    shared: &Shared,
    account: &Arc<Account>,
    server: &Server,
    credential: &UpstreamCredential,
    until: Instant,
    dial: &mut Dial,
) -> Result<Upstream<P>, OpenError> {
    let Some(way) = shared.upstreams.of(account) else {
        return Err(OpenError::Unreachable(std::io::Error::other("no TLS configuration for this provider")));
    };
    let mut machine = P::upstream(shared, server.tls == UpstreamTls::StartTls);
    let stream = dial::dial(server, way, until).await.map_err(OpenError::Unreachable)?;
    let side = greeted(Side::new(stream), server, until).await?;
    let attempt = Attempt { server, tls: &way.tls, credential, until };
    let (side, learnt) = log_in_over(side, &mut machine, &attempt, || dial.succeeded()).await?;
    let learnt = P::without(learnt, &secrets_of(credential, server));
    Ok(Upstream { side, learnt, account: Arc::clone(account) })
}

/// Waits for the first octets: in all three protocols the server speaks first, and one that does not must be told from one
/// that hangs later.
async fn greeted(mut side: Side, server: &Server, until: Instant) -> Result<Side, OpenError> {
    let patience = Patience::endless();
    let words = || format!("{}:{} did not greet in time", server.host, server.port);
    within(GREETING, until, side.read(&patience), words)
        .await
        .map_err(OpenError::Unreachable)?
        .map_err(OpenError::Lost)?;
    Ok(side)
}

/// One login over a connection that is there.
struct Attempt<'a> {
    server: &'a Server,
    tls: &'a Arc<ClientConfig>,
    credential: &'a UpstreamCredential,
    until: Instant,
}

/// Runs the machine to the end of its login; what it learnt. `reached` is called once the server has done all that is the
/// same for every account.
async fn log_in_over<C, M: Machine<Event = UpstreamEvent<C>, Answer = Credential>>(
    mut side: Side,
    machine: &mut M,
    attempt: &Attempt<'_>,
    mut reached: impl FnMut(),
) -> Result<(Side, C), OpenError> {
    let Attempt { server, tls, credential, until } = *attempt;
    // The whole of it is under the dial's budget.
    let patience = Patience::endless();
    let mut learnt = None;
    loop {
        match side.drive(machine, &patience).await.map_err(OpenError::Lost)? {
            Outcome::Event(UpstreamEvent::CredentialWanted) => {
                let credential = credential_for(&side.stream, server, credential)?;
                reached();
                machine.answer(credential, &mut side.out);
            }
            Outcome::Event(UpstreamEvent::LoggedIn(told)) => learnt = Some(told),
            Outcome::Event(UpstreamEvent::Refused(refusal)) => {
                // A polite goodbye, if it can be said; what matters has been learnt.
                let _ = side.drive(machine, &patience).await;
                return Err(OpenError::Refused(without_token(refusal, server, credential)));
            }
            Outcome::StartTls => side = start_tls(side, server, tls, until).await?,
            Outcome::Relay => {
                let learnt = learnt.ok_or(OpenError::Lost(Lost::Gone))?;
                return Ok((side, learnt));
            }
            Outcome::Close(_) => return Err(OpenError::Lost(Lost::Gone)),
        }
    }
}

/// The one place where a machine gets a credential: never on a channel that is plain against the configuration, whatever
/// the machine has done or forgotten before it asked.
fn credential_for(stream: &Stream, server: &Server, credential: &UpstreamCredential) -> Result<Credential, OpenError> {
    match (stream, server.tls) {
        (Stream::Tls(_), _) | (_, UpstreamTls::None) => Ok(Credential {
            user: credential.user.clone(),
            token: credential.token.clone(),
            host: server.host.clone(),
            port: server.port,
        }),
        (_, UpstreamTls::Implicit | UpstreamTls::StartTls) => Err(OpenError::InClear),
    }
}

/// STARTTLS. Anything that came in the clear before the handshake could have been injected on the way, so it ends the
/// connection (CVE-2021-38371).
async fn start_tls(side: Side, server: &Server, tls: &Arc<ClientConfig>, until: Instant) -> Result<Side, OpenError> {
    if !side.input.is_empty() {
        return Err(OpenError::Lost(OCTETS_BEFORE_TLS.into()));
    }
    let Stream::Plain(stream) = side.stream else {
        return Err(OpenError::Lost(ProtoError::UpstreamMisbehaved("STARTTLS inside TLS").into()));
    };
    let started = dial::start_tls(stream, server, tls, until).await;
    started.map(Side::new).map_err(OpenError::Unreachable)
}

/// All that an upstream is told of a credential that nobody else may hear: the token, and its line by either mechanism.
fn secrets_of(credential: &UpstreamCredential, server: &Server) -> [Zeroizing<String>; 3] {
    let UpstreamCredential { user, token, .. } = credential;
    [
        Zeroizing::new(token.expose().to_owned()),
        xoauth2::encode(user, token).unwrap_or_default(),
        oauthbearer::encode(user, token, &server.host, server.port).unwrap_or_default(),
    ]
}

/// The refusal without what an upstream that explains too much repeats in it: the token, and the line that it came in, by
/// either mechanism.
fn without_token(refusal: UpstreamRefusal, server: &Server, credential: &UpstreamCredential) -> UpstreamRefusal {
    let secrets = secrets_of(credential, server);
    UpstreamRefusal {
        said: redacted(&refusal.said, &secrets),
        challenge: refusal.challenge.map(|challenge| redacted(&challenge, &secrets)),
        ..refusal
    }
}

/// An upstream's refusal, for the log and for the administrator.
pub(super) fn refused(refusal: &UpstreamRefusal) -> String {
    let mut text = format!("{} was refused: {}", refusal.stage, PeerText(&refusal.said));
    if let Some(challenge) = &refusal.challenge {
        let _ = write!(text, " {}", PeerText(challenge));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::RootCertStore;
    use rustls::crypto::aws_lc_rs;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::*;
    use crate::oauth::credentials::Generation;
    use crate::proto::{RefusalKind, imap, pop3, smtp};
    use crate::secret::AccessToken;

    /// `user=user@example.com`, token `token`, in base64.
    const MESSAGE: &str = "dXNlcj11c2VyQGV4YW1wbGUuY29tAWF1dGg9QmVhcmVyIHRva2VuAQE=";

    /// A test that hangs fails after this long.
    const STUCK: Duration = Duration::from_secs(20);

    fn server(tls: UpstreamTls) -> Server {
        Server { host: "localhost".into(), port: 1, tls }
    }

    /// Trusts nobody: no handshake here gets that far.
    fn no_trust() -> Arc<ClientConfig> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap();
        Arc::new(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
    }

    /// A connection in the clear, and its other end.
    async fn connected() -> (Side, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Side::new(Stream::Plain(listener.accept().await.unwrap().0)), peer)
    }

    /// Runs a machine that knows of no TLS, in the clear, with an upstream that says this; how it ended, and what the
    /// upstream heard.
    async fn run_in_clear<C>(
        mut machine: impl Machine<Event = UpstreamEvent<C>, Answer = Credential>,
        tls: UpstreamTls,
        said: &str,
    ) -> (OpenError, String) {
        let credential = UpstreamCredential {
            user: "user@example.com".into(),
            token: AccessToken::parse("token".into()).unwrap(),
            generation: Generation(1),
        };
        let (side, mut peer) = connected().await;
        let (server, trust) = (server(tls), no_trust());
        let until = Instant::now() + STUCK;
        let attempt = Attempt { server: &server, tls: &trust, credential: &credential, until };
        let running = log_in_over(side, &mut machine, &attempt, || {});
        let listening = async {
            peer.write_all(said.as_bytes()).await.unwrap();
            let mut heard = Vec::new();
            while !heard.ends_with(format!("{MESSAGE}\r\n").as_bytes()) && peer.read_buf(&mut heard).await.unwrap() > 0
            {
            }
            drop(peer);
            String::from_utf8(heard).unwrap()
        };
        let both = async { tokio::join!(running, listening) };
        let (ended, heard) = timeout(STUCK, both).await.expect("both sides wait");
        let Err(error) = ended else { panic!("logged in") };
        (error, heard)
    }

    /// The machines here forget STARTTLS, and the upstream makes it as easy as can be.
    #[tokio::test]
    async fn a_machine_that_forgets_tls_gets_no_credential() {
        let smtp = || {
            smtp::upstream::Upstream::new(smtp::upstream::Plan { hostname: "gateway.example".into(), starttls: false })
        };
        let imap = || imap::upstream::Upstream::new(imap::upstream::Plan { starttls: false, tag: "a".into() });
        let pop3 = || pop3::upstream::Upstream::new(pop3::upstream::Plan { starttls: false });
        let (to_smtp, to_imap, to_pop3) = (
            "220 h\r\n250-h\r\n250 AUTH XOAUTH2\r\n",
            "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] hi\r\n",
            "+OK hi\r\n+ \r\n",
        );
        for tls in [UpstreamTls::StartTls, UpstreamTls::Implicit] {
            for ((error, heard), harmless) in [
                (run_in_clear(smtp(), tls, to_smtp).await, "EHLO gateway.example\r\n"),
                (run_in_clear(imap(), tls, to_imap).await, ""),
                (run_in_clear(pop3(), tls, to_pop3).await, "AUTH XOAUTH2\r\n"),
            ] {
                assert!(matches!(error, OpenError::InClear), "{error}");
                assert_eq!(heard, harmless);
            }
        }
        for (_, heard) in [
            run_in_clear(smtp(), UpstreamTls::None, &format!("{to_smtp}334 \r\n")).await,
            run_in_clear(imap(), UpstreamTls::None, to_imap).await,
            run_in_clear(pop3(), UpstreamTls::None, to_pop3).await,
        ] {
            assert!(heard.contains(MESSAGE), "where no TLS is wanted, none is needed: {heard}");
        }
    }

    #[test]
    fn whatever_the_upstream_repeats_of_the_login_is_taken_out() {
        let credential = UpstreamCredential {
            user: "user@example.com".into(),
            token: AccessToken::parse("a-token-of-some-length".into()).unwrap(),
            generation: Generation(1),
        };
        let server = server(UpstreamTls::Implicit);
        let UpstreamCredential { user, token, .. } = &credential;
        let by_xoauth2 = xoauth2::encode(user, token).unwrap();
        let by_oauthbearer = oauthbearer::encode(user, token, &server.host, server.port).unwrap();
        for secret in [token.expose(), &by_xoauth2, &by_oauthbearer] {
            let said = format!("535 5.7.8 no: {secret}").into_bytes();
            let refusal =
                UpstreamRefusal { kind: RefusalKind::Token, stage: "AUTH", challenge: Some(said.clone()), said };
            let shown = without_token(refusal, &server, &credential);
            for shown in [shown.said, shown.challenge.unwrap()] {
                assert_eq!(String::from_utf8_lossy(&shown), "535 5.7.8 no: [redacted]");
            }
        }
    }

    #[tokio::test]
    async fn what_came_in_the_clear_is_not_carried_into_tls() {
        let (mut side, mut peer) = connected().await;
        side.input.extend(b"+OK\r\n");
        let (server, trust) = (server(UpstreamTls::StartTls), no_trust());
        let started = timeout(STUCK, start_tls(side, &server, &trust, Instant::now() + STUCK)).await;
        let error = started.expect("a handshake was begun").unwrap_err();
        assert!(matches!(error, OpenError::Lost(Lost::Misbehaved(OCTETS_BEFORE_TLS))), "{error}");
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_greet_is_told_from_one_that_hangs_later() {
        let (side, _peer) = connected().await;
        let begun = Instant::now();
        let error = greeted(side, &server(UpstreamTls::None), begun + 2 * GREETING)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "localhost:1 did not greet in time");
        assert_eq!(begun.elapsed().as_secs(), GREETING.as_secs());
        let (side, mut peer) = connected().await;
        peer.write_all(b"2").await.unwrap();
        let side = greeted(side, &server(UpstreamTls::None), begun + 10 * GREETING).await.unwrap();
        assert_eq!(side.input.unused(), b"2");
    }
}
