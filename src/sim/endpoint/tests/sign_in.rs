//! People who sign in: in a browser, or with a device's code.

use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use url::Url;

use super::{ask, form, get, json, send, status};
use crate::sim::testing::{ANN, BOB, post, simulator};
use crate::sim::{ClientKind, IdTokens, Personality, Protocol, Simulator};

const ID: (&str, &str) = ("client_id", "11111111-2222-3333-4444-555555555555");
const BACK: &str = "http://localhost:4321";
const SCOPE: &str = "https://outlook.office.com/SMTP.Send openid email offline_access";
const VERIFIER: &str = "0123456789-0123456789-0123456789-0123456789";

/// The URL that an app sends a browser to, with some parameters changed or, where empty, taken out.
fn url(simulator: &Simulator, changed: &[(&str, &str)]) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, VERIFIER.as_bytes()));
    let usual = [
        ("response_type", "code"),
        ID,
        ("redirect_uri", BACK),
        ("scope", SCOPE),
        ("state", "s&1"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    let kept = usual.iter().filter(|(name, _)| changed.iter().all(|(other, _)| other != name));
    let fields: Vec<_> = kept.chain(changed).copied().filter(|(_, value)| !value.is_empty()).collect();
    format!("{}?{}", simulator.authorization_url(), form(&fields))
}

/// A parameter of the URL that a browser is sent back to.
fn parameter(url: &str, name: &str) -> Option<String> {
    let url = Url::parse(url).unwrap();
    url.query_pairs()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// Redeems a code, with one field changed.
async fn redeem(simulator: &Simulator, code: &str, changed: &str, value: &str) -> (u16, Value) {
    let usual =
        [("grant_type", "authorization_code"), ID, ("code", code), ("redirect_uri", BACK), ("code_verifier", VERIFIER)];
    let fields = usual.map(|(name, usual)| (name, if name == changed { value } else { usual }));
    ask(simulator, &fields).await
}

async fn code_of(simulator: &Simulator, user: &str) -> String {
    let back = simulator.control().approve_authorization(&url(simulator, &[]), user).unwrap();
    assert!(back.starts_with("http://localhost:4321/?code="), "{back}");
    assert_eq!(parameter(&back, "state").as_deref(), Some("s&1"));
    parameter(&back, "code").unwrap()
}

fn opens(simulator: &Simulator, answer: &Value, user: &str, protocol: Protocol) -> bool {
    let token = answer["access_token"].as_str().unwrap();
    simulator.control().shared().opened_by(user, token, protocol).is_some()
}

fn claims(answer: &Value) -> Value {
    let token = answer["id_token"].as_str().unwrap();
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[tokio::test]
async fn a_code_is_redeemed_once_by_who_asked_for_it() {
    let simulator = simulator(Personality::Microsoft).await;
    let code = code_of(&simulator, ANN).await;
    for (changed, value, number) in [
        ("code_verifier", "0123456789-0123456789-0123456789-0123456780", 501_481),
        ("code_verifier", "short", 501_481),
        ("code_verifier", "", 900_144),
        ("redirect_uri", "http://localhost:4322", 500_112),
        ("redirect_uri", "http://localhost:4321/", 500_112),
        ("code", "unknown", 70000),
        ("client_id", "other", 700_016),
    ] {
        let (status, answer) = redeem(&simulator, &code, changed, value).await;
        assert_eq!((status, &answer["error_codes"][0]), (400, &number.into()), "{changed} {value}");
    }
    let (status, answer) = redeem(&simulator, &code, "", "").await;
    assert_eq!((status, answer["refresh_token"].is_string()), (200, true), "{answer}");
    assert_eq!(answer["scope"], "https://outlook.office.com/SMTP.Send openid email");
    assert_eq!((&claims(&answer)["preferred_username"], &claims(&answer)["email"]), (&ANN.into(), &ANN.into()));
    assert!(opens(&simulator, &answer, ANN, Protocol::Smtp));
    assert!(!opens(&simulator, &answer, ANN, Protocol::Imap), "the scope is another");
    assert!(!opens(&simulator, &answer, BOB, Protocol::Smtp), "the mailbox is another's");
    simulator.control().share_mailbox(BOB, ANN);
    assert!(!opens(&simulator, &answer, BOB, Protocol::Smtp), "Exchange sends from one's own");

    let secrets = simulator.control().issued_secrets();
    for secret in [&code, answer["refresh_token"].as_str().unwrap(), answer["id_token"].as_str().unwrap()] {
        assert!(secrets.iter().any(|issued| issued == secret), "{secret}");
    }
    let (status, again) = redeem(&simulator, &code, "", "").await;
    assert_eq!((status, &again["error_codes"][0]), (400, &54005.into()));
    assert!(!opens(&simulator, &answer, ANN, Protocol::Smtp), "what the code brought is revoked");
    assert!(simulator.control().refresh_tokens(ANN).is_empty());
    assert_eq!(simulator.control().violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_shared_mailbox_is_read_with_its_members_token() {
    let simulator = simulator(Personality::Microsoft).await;
    simulator.control().share_mailbox(BOB, ANN);
    let read = "https://outlook.office.com/IMAP.AccessAsUser.All";
    let back = simulator
        .control()
        .approve_authorization(&url(&simulator, &[("scope", read)]), ANN)
        .unwrap();
    let (_, answer) = redeem(&simulator, &parameter(&back, "code").unwrap(), "", "").await;
    assert!(answer.get("refresh_token").is_none() && answer.get("id_token").is_none(), "{answer}");
    assert!(opens(&simulator, &answer, BOB, Protocol::Imap) && !opens(&simulator, &answer, BOB, Protocol::Pop3));
    let token = answer["access_token"].as_str().unwrap();
    let (_, body) = post(&simulator, "/introspect", &format!("token={token}&email={BOB}")).await;
    assert_eq!(json(&body), serde_json::json!({ "active": true, "email": ANN, "scope": read }));
}

#[tokio::test]
async fn what_is_wrong_is_told_to_the_person_or_to_the_app() {
    let simulator = simulator(Personality::Microsoft).await;
    let control = simulator.control();
    for (changed, number) in [
        (("client_id", "other"), "AADSTS700016"),
        (("client_id", ""), "AADSTS900144"),
        (("redirect_uri", "https://evil.example/"), "AADSTS50011"),
        (("redirect_uri", ""), "AADSTS900144"),
    ] {
        let url = url(&simulator, &[changed]);
        let told = control.approve_authorization(&url, ANN).unwrap_err();
        assert!(told.starts_with(number), "{changed:?}: {told}");
        let (head, page) = get(&simulator, &url).await;
        assert!(status(&head) == 400 && page.contains(number) && !head.contains("Location"), "{head} {page}");
    }
    for (changed, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge", "c2hvcnQ"), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("scope", "nonsense"), "invalid_scope"),
        (("response_mode", "fragment"), "invalid_request"),
    ] {
        let back = control.approve_authorization(&url(&simulator, &[changed]), ANN).unwrap();
        assert_eq!(parameter(&back, "error").as_deref(), Some(error), "{changed:?}");
        assert_eq!((parameter(&back, "state").as_deref(), parameter(&back, "code")), (Some("s&1"), None));
    }
    let declined = control.decline_authorization(&url(&simulator, &[])).unwrap();
    assert_eq!(parameter(&declined, "error").as_deref(), Some("access_denied"));
    let twice = format!("{}&client_id=x", url(&simulator, &[]));
    assert!(control.approve_authorization(&twice, ANN).is_err());
    let elsewhere = url(&simulator, &[]).replace("/authorize", "/authorise");
    assert!(control.approve_authorization(&elsewhere, ANN).is_err());
    assert_eq!(control.violations(), Vec::<String>::new());
    control.approve_authorization(&url(&simulator, &[("state", "")]), ANN).unwrap();
    assert_eq!(control.violations(), ["Http: an authorization request has no state"]);
}

#[tokio::test]
async fn a_browser_finds_links_and_is_sent_back() {
    let simulator = simulator(Personality::Microsoft).await;
    let (head, page) = get(&simulator, &url(&simulator, &[("login_hint", BOB)])).await;
    assert!(head.contains("\r\nContent-Type: text/html"), "{head}");
    let (_, link) = page.split_once("<a id=\"user0\" href=\"").unwrap();
    let (link, text) = link.split_once("\">").unwrap();
    assert!(text.starts_with(&format!("Sign in as {BOB}</a>")), "who is expected comes first: {page}");
    let (head, _) = get(&simulator, &format!("http://localhost{}", link.replace("&amp;", "&"))).await;
    let back = |head: &str| {
        head.split("Location: ")
            .nth(1)
            .unwrap()
            .split("\r\n")
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(status(&head), 302);
    let (_, answer) = redeem(&simulator, &parameter(&back(&head), "code").unwrap(), "", "").await;
    assert!(opens(&simulator, &answer, BOB, Protocol::Smtp));

    let (head, _) = get(&simulator, &format!("{}&decline=yes", url(&simulator, &[]))).await;
    assert_eq!(parameter(&back(&head), "error").as_deref(), Some("access_denied"));
    simulator.control().keep_signed_in(Some(ANN));
    let (head, _) = get(&simulator, &url(&simulator, &[])).await;
    assert!(parameter(&back(&head), "code").is_some());
    let (head, _) = get(&simulator, "http://localhost/favicon.ico").await;
    assert_eq!((status(&head), simulator.control().violations().len()), (404, 0));
    let line = simulator
        .control()
        .dialogue()
        .iter()
        .map(|(_, _, line)| line.clone())
        .collect::<String>();
    assert!(line.contains("code_challenge_method=S256") && !line.contains("s&1"), "{line}");
}

#[tokio::test]
async fn gmail_gives_a_refresh_token_to_who_asks_for_it() {
    let simulator = simulator(Personality::Gmail).await;
    simulator.control().set_client_kind(ClientKind::Public);
    let signed_in = async |further: &[(&str, &str)]| {
        let changed = [&[("scope", "https://mail.google.com/ openid email")], further].concat();
        let back = simulator
            .control()
            .approve_authorization(&url(&simulator, &changed), ANN)
            .unwrap();
        redeem(&simulator, &parameter(&back, "code").unwrap(), "", "").await.1
    };
    let offline = ("access_type", "offline");
    let first = signed_in(&[offline]).await;
    assert!(first["refresh_token"].is_string() && claims(&first).get("preferred_username").is_none(), "{first}");
    assert_eq!(claims(&first)["email"], ANN);
    assert!(signed_in(&[offline]).await.get("refresh_token").is_none(), "who has agreed before is not asked again");
    assert!(signed_in(&[offline, ("prompt", "consent")]).await["refresh_token"].is_string());
    assert!(signed_in(&[("prompt", "consent")]).await.get("refresh_token").is_none());
}

#[tokio::test]
async fn an_id_token_says_what_it_is_to_say() {
    let simulator = simulator(Personality::Microsoft).await;
    simulator.control().set_id_tokens(IdTokens::Naming(BOB.into()));
    let (_, wrong) = redeem(&simulator, &code_of(&simulator, ANN).await, "", "").await;
    assert_eq!(claims(&wrong)["preferred_username"], BOB);
    assert!(opens(&simulator, &wrong, ANN, Protocol::Smtp), "the token is still who signed in's");
    simulator.control().set_id_tokens(IdTokens::Withheld);
    let (_, without) = redeem(&simulator, &code_of(&simulator, ANN).await, "", "").await;
    assert!(without.get("id_token").is_none() && without["access_token"].is_string());
}

/// Asks for a device code.
async fn device(simulator: &Simulator, scope: &str) -> (u16, Value) {
    send(simulator, &simulator.device_authorization_url(), &[ID, ("scope", scope)]).await
}

/// Asks what became of it: the error, or nothing.
async fn poll(simulator: &Simulator, device: &Value) -> (Option<String>, Value) {
    let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
    let code = device["device_code"].as_str().unwrap();
    let (_, answer) = ask(simulator, &[grant, ID, ("device_code", code)]).await;
    (answer["error"].as_str().map(String::from), answer)
}

#[tokio::test]
async fn a_device_waits_until_somebody_agrees_elsewhere() {
    for (personality, scope) in [(Personality::Microsoft, SCOPE), (Personality::Dovecot, "mail openid")] {
        let simulator = simulator(personality).await;
        let control = simulator.control();
        let (_, given) = device(&simulator, scope).await;
        assert_eq!((&given["expires_in"], &given["interval"]), (&900.into(), &5.into()));
        let page = given["verification_uri"].as_str().unwrap();
        assert_eq!(simulator.device_page_url(), page);
        let complete = given.get("verification_uri_complete").is_some();
        assert_eq!(
            (complete, given.get("message").is_some()),
            match personality {
                Personality::Microsoft => (false, true),
                _ => (true, false),
            }
        );
        assert_eq!(control.device_codes(), [given["user_code"].as_str().unwrap()]);
        assert_eq!(poll(&simulator, &given).await.0.as_deref(), Some("authorization_pending"));
        assert_eq!(poll(&simulator, &given).await.0.as_deref(), Some("slow_down"));
        assert_eq!(control.violations(), ["Http: a device code was asked about sooner than its interval"]);
        assert!(!control.approve_device("WRONG", ANN));
        let typed = given["user_code"].as_str().unwrap().to_lowercase().replace('-', "");
        assert!(control.approve_device(&typed, ANN) && control.device_codes().is_empty());
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(10)).await;
        tokio::time::resume();
        let (error, answer) = poll(&simulator, &given).await;
        assert_eq!(error, None, "the pause has been 5 + 5 seconds");
        assert!(opens(&simulator, &answer, ANN, Protocol::Smtp) && answer["refresh_token"].is_string(), "{answer}");
        assert!(answer["id_token"].is_string());
        assert_eq!(control.invalid_grants(), 0);
    }
}

#[tokio::test]
async fn no_answer_and_a_wrong_one_are_spelt_as_the_personality_does() {
    for (personality, scope, declined, redeemed) in [
        (Personality::Microsoft, SCOPE, "authorization_declined", "bad_verification_code"),
        (Personality::Dovecot, "mail", "access_denied", "invalid_grant"),
    ] {
        let simulator = simulator(personality).await;
        let control = simulator.control();
        control.set_device_times(Duration::ZERO, Duration::from_secs(60));
        let (_, given) = device(&simulator, scope).await;
        assert!(control.decline_device(&control.device_codes()[0]));
        for _ in 0..2 {
            assert_eq!(poll(&simulator, &given).await.0.as_deref(), Some(declined));
        }
        let (_, given) = device(&simulator, scope).await;
        assert!(control.expire_device(&control.device_codes()[0]) && control.device_codes().is_empty());
        assert_eq!(poll(&simulator, &given).await.0.as_deref(), Some("expired_token"));
        let (_, given) = device(&simulator, scope).await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(60)).await;
        tokio::time::resume();
        assert_eq!(poll(&simulator, &given).await.0.as_deref(), Some("expired_token"));
        let (_, given) = device(&simulator, scope).await;
        assert!(control.approve_device(&control.device_codes()[0], ANN));
        assert_eq!(poll(&simulator, &given).await.0, None);
        assert_eq!(poll(&simulator, &given).await.0.as_deref(), Some(redeemed));
        assert_eq!(control.violations(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_code_is_typed_into_a_page() {
    let simulator = simulator(Personality::Dovecot).await;
    let (_, given) = device(&simulator, "mail").await;
    let complete = given["verification_uri_complete"].as_str().unwrap();
    let (head, page) = get(&simulator, complete).await;
    let user_code = given["user_code"].as_str().unwrap();
    assert_eq!(status(&head), 200);
    assert!(page.contains(&format!("name=\"user_code\" value=\"{user_code}\"")), "{page}");
    assert!(page.contains(&format!("name=\"sign_in_as\" value=\"{BOB}\">Sign in as {BOB}<")), "{page}");
    let typed = form(&[("user_code", user_code), ("sign_in_as", BOB)]);
    let (head, _) = post(&simulator, "/device", &typed).await;
    assert_eq!(status(&head), 200);
    let (head, _) = post(&simulator, "/device", &typed).await;
    assert_eq!(status(&head), 400, "it is no longer waiting");
    let (_, answer) = poll(&simulator, &given).await;
    assert!(opens(&simulator, &answer, BOB, Protocol::Imap));
    let (head, page) = post(&simulator, "/device", &form(&[("user_code", "\"><script>")])).await;
    assert!(status(&head) == 200 && page.contains("value=\"&quot;&gt;&lt;script&gt;\""), "{page}");
}

#[tokio::test]
async fn google_lets_no_device_read_mail() {
    let simulator = simulator(Personality::Gmail).await;
    let (status, answer) = device(&simulator, "https://mail.google.com/").await;
    assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_scope")));
    let (_, answer) = device(&simulator, "openid email").await;
    assert!(answer["verification_url"].is_string() && answer.get("verification_uri").is_none(), "{answer}");
}

#[tokio::test]
async fn a_planned_slow_down_lengthens_the_pause() {
    let simulator = simulator(Personality::Dovecot).await;
    let control = simulator.control();
    control.set_device_times(Duration::ZERO, Duration::from_secs(60));
    let (_, given) = device(&simulator, "mail").await;
    control.fail_next_tokens(1, crate::sim::TokenFault::Error("slow_down"));
    for error in ["slow_down", "authorization_pending", "slow_down"] {
        assert_eq!(poll(&simulator, &given).await.0.as_deref(), Some(error));
    }
}
