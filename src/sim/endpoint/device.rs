//! Device codes (RFC 8628): given out, typed in somewhere else, asked about until there is an answer.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::answer::Denial;
use super::client::{self, Whose};
use super::page;
use super::refresh::Consent;
use super::token::scopes_of_a_person;
use crate::sim::control::Shared;
use crate::sim::http::{CannedAnswer, Request};
use crate::sim::record::lock;
use crate::sim::token::random_text;
use crate::sim::{Personality, Protocol};

/// How much longer the pauses get with every answer of `slow_down` (RFC 8628 section 3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// What of a user code can be typed without mistaking it: RFC 8628 section 6.1 proposes these letters.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

#[derive(Debug)]
enum State {
    Pending,
    Approved(String),
    Declined,
    Redeemed,
}

#[derive(Debug)]
struct Device {
    device_code: String,
    user_code: String,
    scopes: Vec<String>,
    offline: bool,
    expires: Instant,
    interval: Duration,
    asked: Option<Instant>,
    state: State,
}

/// The codes given out.
#[derive(Debug)]
pub(super) struct Devices {
    /// What the next code is told to pause between two questions.
    pub(super) interval: Duration,
    /// How long the next code lives.
    pub(super) lifetime: Duration,
    given: Vec<Device>,
}

impl Default for Devices {
    fn default() -> Self {
        Self { interval: Duration::from_secs(5), lifetime: Duration::from_secs(900), given: Vec::new() }
    }
}

/// What a person does with a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision<'a> {
    Approve(&'a str),
    Decline,
    /// Nothing, for too long.
    Forget,
}

impl Devices {
    /// The user codes that wait for somebody to type them.
    pub(super) fn waiting(&self, now: Instant) -> Vec<String> {
        let waits = |device: &&Device| matches!(device.state, State::Pending) && device.expires > now;
        self.given.iter().filter(waits).map(|device| device.user_code.clone()).collect()
    }

    /// Every device code.
    pub(super) fn issued(&self) -> impl Iterator<Item = &String> {
        self.given.iter().map(|device| &device.device_code)
    }

    /// Decides on a code that waits, typed with or without its hyphen, in any case; whether there was one.
    pub(super) fn decide(&mut self, user_code: &str, decision: Decision<'_>, now: Instant) -> bool {
        let plain = |code: &str| code.replace(['-', ' '], "").to_ascii_uppercase();
        let waits = |device: &&mut Device| matches!(device.state, State::Pending) && device.expires > now;
        let mut waiting = self.given.iter_mut().filter(waits);
        let Some(device) = waiting.find(|device| plain(&device.user_code) == plain(user_code)) else { return false };
        match decision {
            Decision::Approve(user) => device.state = State::Approved(user.into()),
            Decision::Decline => device.state = State::Declined,
            Decision::Forget => device.expires = now,
        }
        true
    }

    /// Lets a code's pauses get longer.
    pub(super) fn slow_down(&mut self, device_code: &str) {
        if let Some(device) = self.given.iter_mut().find(|device| device.device_code == device_code) {
            device.interval += SLOWER;
        }
    }

    /// Answers a question (RFC 8628 section 3.5); whether it came too soon.
    fn ask(&mut self, device_code: &str, now: Instant) -> (Result<Consent, Denial>, bool) {
        let Some(device) = self.given.iter_mut().find(|device| device.device_code == device_code) else {
            return (Err(Denial::new(70018, "The device code is unknown.")), false);
        };
        if device.expires <= now {
            return (Err(Denial::new(70019, "The code has expired.")), false);
        }
        let too_soon = device.asked.is_some_and(|asked| now < asked + device.interval);
        device.asked = Some(now);
        if too_soon {
            device.interval += SLOWER;
            return (Err(Denial::new(70016, "The pause was too short.").named("slow_down")), true);
        }
        let answer = match std::mem::replace(&mut device.state, State::Redeemed) {
            State::Approved(user) => Ok(Consent { user, scopes: device.scopes.clone(), offline: device.offline }),
            State::Pending => {
                device.state = State::Pending;
                Err(Denial::new(70016, "OAuth 2.0 device flow error. Authorization is pending. Continue polling."))
            }
            State::Declined => {
                device.state = State::Declined;
                Err(Denial::new(65004, "The user declined.").named("authorization_declined"))
            }
            State::Redeemed => Err(Denial::new(70018, "The device code was redeemed before.")),
        };
        (answer, false)
    }
}

/// The device authorization endpoint (RFC 8628 section 3.1).
pub(super) fn begin(shared: &Shared, request: &Request) -> CannedAnswer {
    give(shared, request).unwrap_or_else(|denial| denial.answer(shared.options.personality))
}

fn give(shared: &Shared, request: &Request) -> Result<CannedAnswer, Denial> {
    let personality = shared.options.personality;
    super::check_tenant(shared, request)?;
    client::authenticate(shared, request, Whose::Person).or_else(|denial| {
        // A confidential client may leave its proof for the token endpoint.
        if request.proves_nothing() && request.field("client_id") == Some(&shared.options.client_id) {
            Ok(())
        } else {
            Err(denial)
        }
    })?;
    let scopes = scopes_of_a_person(shared, request.required("scope")?)?;
    if personality == Personality::Gmail && scopes.iter().any(|scope| scope == super::scope::GMAIL) {
        // Google gives devices a short list of scopes, and mail is not on it.
        return Err(Denial::new(70011, "Invalid device flow scope: https://mail.google.com/"));
    }
    let mut devices = lock(&shared.issuer.devices);
    let device_code = random_text(180).map_err(|_| Denial::transient())?;
    let user_code = user_code(personality).ok_or_else(Denial::transient)?;
    let (interval, lifetime) = (devices.interval, devices.lifetime);
    devices.given.push(Device {
        device_code: device_code.clone(),
        user_code: user_code.clone(),
        offline: personality != Personality::Microsoft || scopes.iter().any(|scope| scope == "offline_access"),
        scopes,
        expires: Instant::now() + lifetime,
        interval,
        asked: None,
        state: State::Pending,
    });
    let page = format!("http://{}/device", request.host);
    let mut body = json!({
        "device_code": device_code,
        "user_code": user_code,
        "expires_in": lifetime.as_secs(),
        "interval": interval.as_secs(),
    });
    match personality {
        Personality::Microsoft => {
            body["message"] =
                format!("To sign in, use a web browser to open the page {page} and enter the code {user_code}.").into();
            body["verification_uri"] = page.into();
        }
        Personality::Gmail => body["verification_url"] = page.into(),
        Personality::Dovecot => {
            body["verification_uri_complete"] = format!("{page}?user_code={user_code}").into();
            body["verification_uri"] = page.into();
        }
    }
    Ok(CannedAnswer::new(200)
        .header("Cache-Control", "no-store")
        .json(body.to_string()))
}

/// Nine letters in a row at Microsoft, two groups of four elsewhere.
fn user_code(personality: Personality) -> Option<String> {
    let mut octets = [0; 9];
    aws_lc_rs::rand::fill(&mut octets).ok()?;
    let letters: String = octets
        .iter()
        .map(|&octet| char::from(LETTERS[usize::from(octet) % LETTERS.len()]))
        .collect();
    Some(match personality {
        Personality::Microsoft => letters,
        _ => format!("{}-{}", &letters[..4], &letters[4..8]),
    })
}

/// The page on which a person types the code (RFC 8628 section 3.3), and what comes of it.
pub(super) fn show(shared: &Shared, request: &Request) -> CannedAnswer {
    let typed = request.field("user_code").unwrap_or_default();
    let decision = match (request.field("sign_in_as"), request.field("decline")) {
        (Some(user), _) => Decision::Approve(user),
        (None, Some(_)) => Decision::Decline,
        (None, None) => return form(shared, typed),
    };
    let decided = shared.issuer.decide_device(&shared.record, typed, decision);
    match (decided, decision) {
        (false, _) => page::note(400, "That code did not work", "Check the code and try again."),
        (true, Decision::Approve(_)) => page::note(200, "You have signed in", "You may now close this window."),
        (true, _) => page::note(200, "You have declined", "You may now close this window."),
    }
}

fn form(shared: &Shared, typed: &str) -> CannedAnswer {
    let mut body = format!(
        "<form method=\"post\" action=\"/device\">\n\
         <p><label>Code <input id=\"user_code\" name=\"user_code\" value=\"{}\"></label></p>\n",
        page::escaped(typed)
    );
    for (number, user) in shared.options.mailboxes.iter().enumerate() {
        let user = page::escaped(user);
        body += &format!(
            "<p><button id=\"user{number}\" name=\"sign_in_as\" value=\"{user}\">Sign in as {user}</button></p>\n"
        );
    }
    body += "<p><button id=\"decline\" name=\"decline\" value=\"yes\">Cancel</button></p>\n</form>\n";
    page::page(200, "Enter the code", &body)
}

/// The token endpoint's part: what became of a device code.
pub(super) fn redeem(shared: &Shared, request: &Request) -> Result<Consent, Denial> {
    client::authenticate(shared, request, Whose::Person)?;
    let (answer, too_soon) = lock(&shared.issuer.devices).ask(request.required("device_code")?, Instant::now());
    if too_soon {
        shared
            .record
            .violation(Protocol::Http, "a device code was asked about sooner than its interval");
    }
    answer
}
