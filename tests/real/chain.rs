//! The whole chain with nothing simulated: a person's browser, an authorization server, mailferry between old clients and
//! a mail server that asks the authorization server about each token.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Stdio};
use std::time::{Duration, Instant};

use crate::client::{Ended, bounded, node};
use crate::gateway::{Gateway, PASSWORD};
use crate::letter::{assert_same, letter};
use crate::oauth::MAILBOX;
use crate::provider::Provider;
use crate::reading::{FIRST_IN_INBOX, assert_logins_were_safe, curl};
use crate::sending::{assert_letters_arrived, swaks};
use crate::upstream::{Upstream, path};

/// Access tokens that outlive a test, in seconds.
const LONG: u32 = 3600;
/// Ones that a test sees the end of.
const SHORT: u32 = 8;

const FOR_AN_APP: &str = r#"["mail"]"#;
const FOR_A_PERSON: &str = r#"["openid", "email", "offline_access", "mail"]"#;

const IN_A_BROWSER: &str = r#"
grant     = "authorization-code"
client_id = "desktop"
"#;

/// The chain, with `app` as the keys of its app.
fn chain(app: &str, scopes: &str, lifetime: u32) -> Gateway<Provider> {
    let upstream = Upstream::with(|folder| Provider::start(folder, lifetime));
    let provider = include_str!("chain.toml")
        .replace("@OAUTH@", &upstream.oauth.port.to_string())
        .replace("@SCOPES@", scopes);
    Gateway::before(upstream, &(provider + app))
}

/// That mail can be sent and read, and that nobody wrote down what they must not.
#[track_caller]
fn assert_mail_works(chain: &Gateway<Provider>) {
    swaks(chain, &chain.in_clear(chain.smtp), PASSWORD, &["--auth", "PLAIN"]).succeeded();
    assert_letters_arrived(chain, 1);
    chain.upstream.deliver("1.letter", &letter());
    assert_same(&read(chain).succeeded(), &letter());
    assert_logins_were_safe(chain);
    assert_all_is_well(chain);
}

fn read(chain: &Gateway<Provider>) -> Ended {
    curl("imap", FIRST_IN_INBOX, &chain.in_clear(chain.imap), PASSWORD, &["--login-options", "AUTH=PLAIN"])
}

#[track_caller]
fn assert_all_is_well(chain: &Gateway<Provider>) {
    let issued = chain.upstream.oauth.issued();
    assert!(!issued.is_empty());
    chain.assert_log_keeps(&issued);
    chain.upstream.oauth.assert_content();
}

/// That a login fails because nobody has signed in, and that the reply does not blame the password.
#[track_caller]
fn assert_somebody_must_sign_in(chain: &Gateway<Provider>) {
    const NO_LOGIN: i32 = 28;
    swaks(chain, &chain.in_clear(chain.smtp), PASSWORD, &["--auth", "PLAIN"])
        .exited_with(NO_LOGIN)
        .said("454 4.7.0");
}

/// `mailferry sign-in` beside the running gateway.
struct SignIn {
    child: Child,
    errors: BufReader<ChildStderr>,
    /// What it has said so far.
    said: String,
}

impl SignIn {
    fn start(chain: &Gateway<Provider>) -> Self {
        let mut command = bounded(env!("CARGO_BIN_EXE_mailferry"));
        command.args(["sign-in", MAILBOX, "--config", path(&chain.configuration())]);
        // The browser is the test's, on a desktop too.
        command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("mailferry sign-in");
        let errors = BufReader::new(child.stderr.take().expect("its standard error is a pipe"));
        Self { child, errors, said: String::new() }
    }

    /// What `of` finds in the next line that it finds something in.
    #[track_caller]
    fn told<T>(&mut self, of: impl Fn(&str) -> Option<T>) -> T {
        loop {
            let start = self.said.len();
            let length = self.errors.read_line(&mut self.said).expect("lines of text");
            assert!(length > 0, "it ended: {}", self.said);
            if let Some(found) = of(self.said[start..].trim()) {
                return found;
            }
        }
    }

    /// Waits for its end, and that it is content and said no token.
    #[track_caller]
    fn succeeded(mut self, chain: &Gateway<Provider>) {
        self.errors.read_to_string(&mut self.said).expect("text");
        let status = self.child.wait().expect("the end of mailferry sign-in");
        assert!(status.success(), "{status}: {}", self.said);
        for token in chain.upstream.oauth.issued() {
            assert!(!self.said.contains(&token), "{}", self.said);
        }
    }
}

/// Somebody signs in with Chromium. The text of the last page.
fn browse(chain: &Gateway<Provider>, url: &str, code: Option<&str>) -> String {
    let profile = chain.upstream.folder().join("browser");
    let arguments = [path(&profile), url, MAILBOX].into_iter().chain(code);
    String::from_utf8(node("browser.js", arguments).succeeded()).expect("text")
}

/// From the command to the closing page.
#[track_caller]
fn sign_in_by_browser(chain: &Gateway<Provider>) {
    let mut sign_in = SignIn::start(chain);
    let start = format!("http://127.0.0.1:{}/auth?", chain.upstream.oauth.port);
    let url = sign_in.told(|line| line.starts_with(&start).then(|| line.to_owned()));
    let page = browse(chain, &url, None);
    assert!(page.contains("mailferry has the provider's answer. Close this window"), "{page}");
    sign_in.succeeded(chain);
}

#[test]
#[ignore = "needs Dovecot, Postfix, oidc-provider and Chromium; .ci/run installs them"]
fn an_app_gets_tokens_for_itself() {
    let app = "
grant         = \"client-credentials\"
client_id     = \"@CLIENT_ID@\"
client_secret = \"@CLIENT_SECRET@\"
";
    let chain = chain(app, FOR_AN_APP, LONG);
    assert_mail_works(&chain);
    assert_eq!(chain.upstream.oauth.granted("client_credentials"), 1, "one token serves all sessions");
}

#[test]
#[ignore = "needs Dovecot, Postfix, oidc-provider and Chromium; .ci/run installs them"]
fn a_person_signs_in_with_a_browser() {
    let chain = chain(IN_A_BROWSER, FOR_A_PERSON, LONG);
    assert_somebody_must_sign_in(&chain);
    sign_in_by_browser(&chain);
    assert_mail_works(&chain);
    assert_eq!(chain.upstream.oauth.granted("authorization_code"), 1);
}

#[test]
#[ignore = "needs Dovecot, Postfix, oidc-provider and Chromium; .ci/run installs them"]
fn a_person_signs_in_on_another_device() {
    let app = "
grant     = \"device-code\"
client_id = \"television\"
";
    let chain = chain(app, FOR_A_PERSON, LONG);
    assert_somebody_must_sign_in(&chain);
    let mut sign_in = SignIn::start(&chain);
    let url = sign_in.told(|line| Some(line.strip_prefix("Open ")?.split(' ').next()?.to_owned()));
    let code = sign_in.told(|line| (line.len() == 9 && line.as_bytes()[4] == b'-').then(|| line.to_owned()));
    let page = browse(&chain, &url, Some(&code));
    assert!(page.contains("Sign-in Success"), "{page}");
    sign_in.succeeded(&chain);
    assert_mail_works(&chain);
    assert_eq!(chain.upstream.oauth.granted("urn:ietf:params:oauth:grant-type:device_code"), 1);
}

#[test]
#[ignore = "needs Dovecot, Postfix, oidc-provider and Chromium; .ci/run installs them"]
fn refresh_tokens_rotate_and_no_login_notices() {
    let chain = chain(IN_A_BROWSER, FOR_A_PERSON, SHORT);
    sign_in_by_browser(&chain);
    chain.upstream.deliver("1.letter", &letter());
    // The provider ends a sign-in whose refresh token comes twice, so that the next login would fail.
    let deadline = Instant::now() + Duration::from_secs(60);
    while chain.upstream.oauth.granted("refresh_token") < 2 {
        assert!(Instant::now() < deadline, "tokens of {SHORT} s are not renewed");
        assert_same(&read(&chain).succeeded(), &letter());
    }
    assert_same(&read(&chain).succeeded(), &letter());
    swaks(&chain, &chain.in_clear(chain.smtp), PASSWORD, &["--auth", "LOGIN"]).succeeded();
    assert_letters_arrived(&chain, 1);
    assert_all_is_well(&chain);
}
