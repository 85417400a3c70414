//! The identity provider's answers: errors in each personality's form, and JSON that is bent on request.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::sim::Personality;
use crate::sim::clock::Date;
use crate::sim::http::CannedAnswer;

/// Why a request is refused: Microsoft's number, which decides on everybody's error, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sim) struct Denial {
    number: u32,
    /// Where the number does not say it.
    error: Option<&'static str>,
    what: String,
}

impl Denial {
    pub(super) fn new(number: u32, what: impl Into<String>) -> Self {
        Self { number, error: None, what: what.into() }
    }

    /// With this error instead of the number's.
    pub(super) fn named(mut self, error: &'static str) -> Self {
        self.error = Some(error);
        self
    }

    /// A parameter that has to be there is not.
    pub(in crate::sim) fn missing(parameter: &str) -> Self {
        Self::new(900_144, format!("The request body must contain the following parameter: '{parameter}'."))
    }

    /// A failure on this side.
    pub(super) fn transient() -> Self {
        Self::new(90033, "A transient error has occurred.")
    }

    /// The status and `error` (RFC 6749 section 5.2).
    fn status_and_error(&self) -> (u16, &'static str) {
        let (status, error) = match self.number {
            7_000_215 | 7_000_222 | 700_021 | 700_023 | 700_024 | 700_027 | 700_213 | 50027 => (401, "invalid_client"),
            7_000_218 | 700_025 => (400, "invalid_client"),
            700_016 => (400, "unauthorized_client"),
            70003 => (400, "unsupported_grant_type"),
            70011 | 28002 | 28003 | 700_022 => (400, "invalid_scope"),
            50011 | 90002 | 90014 | 90038 | 900_144 | 9_001_023 => (400, "invalid_request"),
            500_011 => (400, "invalid_resource"),
            50074 | 50076 | 50079 | 50158 => (400, "interaction_required"),
            65004 => (400, "access_denied"),
            70016 => (400, "authorization_pending"),
            70018 => (400, "bad_verification_code"),
            70019 => (400, "expired_token"),
            90006 | 90012 | 90024 | 90033 | 90055 | 50033 | 50087 => (503, "temporarily_unavailable"),
            _ => (400, "invalid_grant"),
        };
        (status, self.error.unwrap_or(error))
    }

    /// `error`, as this personality spells it.
    pub(super) fn error(&self, personality: Personality) -> &'static str {
        match (self.status_and_error().1, personality) {
            (error, Personality::Microsoft) => error,
            // RFC 8628 section 3.5, RFC 6749 section 5.2.
            ("authorization_declined", _) => "access_denied",
            ("bad_verification_code", _) => "invalid_grant",
            (error, _) => error,
        }
    }

    /// The sentence as people see it.
    pub(super) fn description(&self, personality: Personality) -> String {
        match personality {
            Personality::Microsoft => format!("AADSTS{}: {}", self.number, self.what),
            _ => self.what.clone(),
        }
    }

    /// The whole answer.
    pub(super) fn answer(&self, personality: Personality) -> CannedAnswer {
        let (status, _) = self.status_and_error();
        let error = self.error(personality);
        let description = self.description(personality);
        if personality != Personality::Microsoft {
            let body = json!({ "error": error, "error_description": description });
            return CannedAnswer::new(status).json(body.to_string());
        }
        let stamp = Date::now().stamp();
        let (trace, correlation) = ("0f0e0d0c-0b0a-0908-0706-050403020100", "00010203-0405-0607-0809-0a0b0c0d0e0f");
        let mut body = json!({
            "error": error,
            "error_description": format!(
                "{description} Trace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: {stamp}"
            ),
            "error_codes": [self.number],
            "timestamp": stamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": format!("https://login.microsoftonline.com/error?code={}", self.number),
        });
        let further = HashMap::from([(700_082, "bad_token"), (70043, "token_expired"), (65001, "consent_required")]);
        if let Some(further) = further.get(&self.number) {
            body["suberror"] = (*further).into();
        }
        CannedAnswer::new(status).json(body.to_string())
    }
}

/// The same answer with one member of its JSON set to what `value` writes, or taken out. The text is put together by
/// hand, since it may be JSON that no parser takes.
pub(in crate::sim) fn with_member(answer: CannedAnswer, name: &str, value: Option<&str>) -> CannedAnswer {
    let mut members: Map<String, Value> = serde_json::from_slice(&answer.body).unwrap_or_default();
    members.remove(name);
    let mut written: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    written.extend(value.map(|value| format!("\"{name}\":{value}")));
    answer.json(format!("{{{}}}", written.join(",")))
}

/// An answer's body for the record: a token is shortened by being one long word.
pub(in crate::sim) fn without_secrets(body: &[u8]) -> String {
    if body.starts_with(b"<!doctype html>") {
        return format!("(a page of {} octets)", body.len());
    }
    let spaced = String::from_utf8_lossy(&body[..body.len().min(32 * 1024)])
        .replace(":\"", ": \"")
        .replace(",\"", ", \"");
    spaced.replace(['\r', '\n'], " ")
}

/// Whether an answer says that a grant is dead.
pub(in crate::sim) fn is_invalid_grant(answer: &CannedAnswer) -> bool {
    serde_json::from_slice::<Value>(&answer.body).is_ok_and(|body| body["error"] == "invalid_grant")
}
