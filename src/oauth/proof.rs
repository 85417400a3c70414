//! Which proof an app shows: its secrets in order, a file among them read again when it is refused; or an assertion.

use std::future::Future;
use std::time::SystemTime;

use url::Url;

use super::answer::Refusal;
use super::assertion::{self, ALGORITHMS};
use super::credentials::TokenError;
use super::endpoint::{ClientProof, Endpoint};
use super::hints::needs_person;
use crate::config::{Client, Proof, SecretSource};
use crate::secret::SecretText;

/// Asks with each proof in turn until one is not refused for its own sake. Any other refusal ends it at once: another
/// secret would not help, and might cost what the request spends.
pub(crate) async fn ask<'a, T, F>(
    endpoint: &Endpoint,
    client: &'a Client,
    ask: impl Fn(&'a str, ClientProof) -> F,
) -> Result<T, Refusal>
where
    F: Future<Output = Result<T, Refusal>>,
{
    let mut candidates = Candidates::of(client, &endpoint.url, (endpoint.wall)());
    loop {
        let proof = candidates.next()?;
        match ask(&client.id, proof).await {
            Err(refusal) if refusal.is_about_the_proof() => candidates.refused(refusal),
            outcome => {
                if outcome.is_ok() {
                    candidates.warn_of_refused();
                }
                return outcome;
            }
        }
    }
}

/// The proofs an app has, in the order they are tried.
struct Candidates<'a> {
    client: &'a Client,
    audience: &'a Url,
    now: SystemTime,
    /// How many have been taken.
    taken: usize,
    /// What has been shown already.
    shown: Vec<SecretText>,
    /// The source whose secret was just refused: what it holds may have changed since it was read.
    again: Option<usize>,
    faults: Vec<(String, Refusal)>,
}

impl<'a> Candidates<'a> {
    const fn of(client: &'a Client, audience: &'a Url, now: SystemTime) -> Self {
        Self { client, audience, now, taken: 0, shown: Vec::new(), again: None, faults: Vec::new() }
    }

    /// The next one; an error that tells of all when there is none left.
    fn next(&mut self) -> Result<ClientProof, Refusal> {
        match &self.client.proof {
            Proof::Public if self.taken == 0 => {
                self.taken = 1;
                Ok(ClientProof::Public)
            }
            Proof::Secrets(sources) => self.next_secret(sources).map(ClientProof::Secret).ok_or_else(|| self.failure()),
            Proof::Certificate { certificate, private_key } => {
                let algorithm = *ALGORITHMS.get(self.taken).ok_or_else(|| self.failure())?;
                self.taken += 1;
                let (id, audience) = (&self.client.id, self.audience);
                let assertion = assertion::of_client(id, certificate, private_key, algorithm, audience, self.now)?;
                Ok(ClientProof::Assertion(assertion))
            }
            Proof::Assertion(source) if self.taken == 0 => {
                self.taken = 1;
                let assertion = source.read().map_err(|what| needs_person(what, "Check client_assertion"))?;
                Ok(ClientProof::Assertion(assertion))
            }
            Proof::Public | Proof::Assertion(_) => Err(self.failure()),
        }
    }

    /// The next secret that has not been shown yet.
    fn next_secret(&mut self, sources: &[SecretSource]) -> Option<SecretText> {
        if let Some(secret) = self.again.take().and_then(|at| sources[at].read().ok())
            && !self.shown.contains(&secret)
        {
            self.shown.push(secret.clone());
            return Some(secret);
        }
        while let Some(source) = sources.get(self.taken) {
            let at = self.taken;
            self.taken += 1;
            match source.read() {
                Ok(secret) if self.shown.contains(&secret) => {}
                Ok(secret) => {
                    self.again = Some(at);
                    self.shown.push(secret.clone());
                    return Some(secret);
                }
                Err(what) => self
                    .faults
                    .push((self.name(), needs_person(what, "Check client_secret").into())),
            }
        }
        None
    }

    /// The one that was taken last is refused.
    fn refused(&mut self, refusal: Refusal) {
        self.faults.push((self.name(), refusal));
    }

    /// What people call the one that was taken last.
    fn name(&self) -> String {
        let number = self.taken;
        match &self.client.proof {
            Proof::Secrets(sources) => {
                let place = match number.checked_sub(1).and_then(|at| sources.get(at)) {
                    Some(SecretSource::File(file)) => format!(" ({})", file.display()),
                    _ => String::new(),
                };
                format!("client_secret {number} of {}{place}", sources.len())
            }
            _ => ALGORITHMS
                .get(number.wrapping_sub(1))
                .map_or_else(String::new, |name| format!("{name:?}")),
        }
    }

    /// What to say when all were refused: the last refusal, and where there was more than one way, each way's.
    fn failure(&mut self) -> Refusal {
        let faults = std::mem::take(&mut self.faults);
        let several = match &self.client.proof {
            Proof::Secrets(sources) => sources.len() > 1,
            // That the second algorithm is refused too says nothing new.
            _ => false,
        };
        let all: Vec<String> = faults
            .iter()
            .map(|(name, refusal)| format!("{name}: {}", refusal.error.fault().what))
            .collect();
        let last = faults
            .into_iter()
            .map(|(_, refusal)| refusal)
            .max_by_key(|refusal| refusal.is_an_answer());
        let mut refusal = last.unwrap_or_else(|| needs_person("The app has no secret", "Set client_secret").into());
        if let (true, TokenError::NeedsPerson(fault)) = (several, &mut *refusal.error) {
            fault.what = all.join("; ");
        }
        refusal
    }

    /// A secret that no longer works should be taken out of the list before it is the last one.
    fn warn_of_refused(&self) {
        if !matches!(self.client.proof, Proof::Secrets(_)) {
            return;
        }
        for (name, refusal) in &self.faults {
            tracing::warn!(client_id = self.client.id, "{name} was not used: {refusal}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fs;
    use std::sync::Arc;

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::net::http::HttpTimeouts;
    use crate::net::http::tests::client as http_client;
    use crate::oauth::assertion::tests::Pair;
    use crate::oauth::hints::{OAuthError, transient};

    fn client(proof: Proof) -> Client {
        Client { tenant: None, id: "app".into(), proof, secret_expires: None }
    }

    fn fixed(secret: &str) -> SecretSource {
        SecretSource::Fixed(SecretText::new(secret.into()))
    }

    fn refusal(name: &str, codes: &[u64]) -> Refusal {
        let (error, codes) = (name.into(), codes.to_vec());
        Refusal::explained(OAuthError { status: 400, error, codes, ..OAuthError::default() })
    }

    /// Asks an endpoint that refuses all but `right`; what it was shown, and what came of it.
    async fn shown(
        client: &Client,
        refuse: impl Fn(&str) -> Result<(), Refusal>,
    ) -> (Vec<String>, Result<(), Refusal>) {
        let endpoint = Endpoint {
            http: http_client(HttpTimeouts::default()),
            url: "https://login.example.com/token".parse().unwrap(),
            wall: Arc::new(SystemTime::now),
        };
        let shown = RefCell::new(Vec::new());
        let outcome = ask(&endpoint, client, |id, proof| {
            assert_eq!(id, "app");
            let text = match proof {
                ClientProof::Public => "nothing".to_owned(),
                ClientProof::Secret(text) | ClientProof::Assertion(text) => text.expose().to_owned(),
            };
            let outcome = refuse(&text);
            shown.borrow_mut().push(text);
            async { outcome }
        })
        .await;
        (shown.into_inner(), outcome)
    }

    #[tokio::test]
    async fn the_next_secret_is_tried_for_each_way_to_refuse_one() {
        let secrets = client(Proof::Secrets(vec![fixed("old"), fixed("new"), fixed("newest")]));
        for why in [
            refusal("invalid_client", &[]),
            refusal("invalid_client", &[7_000_215]),
            refusal("unauthorized_client", &[7_000_222]),
        ] {
            let refuse = |text: &str| if text == "new" { Ok(()) } else { Err(why.clone()) };
            let (shown, outcome) = shown(&secrets, refuse).await;
            assert_eq!((shown, outcome), (vec!["old".to_owned(), "new".to_owned()], Ok(())));
        }
    }

    #[tokio::test]
    async fn other_errors_end_it_at_once() {
        let secrets = client(Proof::Secrets(vec![fixed("one"), fixed("two")]));
        for why in [refusal("invalid_grant", &[50_173]), refusal("invalid_scope", &[]), transient("down").into()] {
            let (shown, outcome) = shown(&secrets, |_| Err(why.clone())).await;
            assert_eq!((shown.len(), outcome), (1, Err(why)));
        }
    }

    #[tokio::test]
    async fn the_error_names_every_secret() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let secrets = client(Proof::Secrets(vec![fixed("one"), SecretSource::File(missing.clone()), fixed("two")]));
        let (shown, outcome) = shown(&secrets, |_| Err(refusal("invalid_client", &[7_000_215]))).await;
        assert_eq!(shown, ["one", "two"], "one that cannot be read is passed over");
        let refusal = outcome.unwrap_err();
        assert!(refusal.is("invalid_client"));
        let text = refusal.to_string();
        let missing = format!("client_secret 2 of 3 ({}):", missing.display());
        for part in ["client_secret 1 of 3: ", &missing, "client_secret 3 of 3: "] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[tokio::test]
    async fn a_lone_secrets_error_stays_as_it_is() {
        let secrets = client(Proof::Secrets(vec![fixed("one")]));
        let why = refusal("invalid_client", &[7_000_222]);
        let (_, outcome) = shown(&secrets, |_| Err(why.clone())).await;
        assert_eq!(outcome, Err(why));
    }

    #[tokio::test]
    async fn a_file_that_changed_meanwhile_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        fs::write(&file, "old\n").unwrap();
        let secrets = client(Proof::Secrets(vec![SecretSource::File(file.clone()), fixed("last")]));
        let replaced = |text: &str| {
            fs::write(&file, "new\n").unwrap();
            if text == "new" { Ok(()) } else { Err(refusal("invalid_client", &[])) }
        };
        assert_eq!(shown(&secrets, replaced).await, (vec!["old".to_owned(), "new".to_owned()], Ok(())));
    }

    #[tokio::test]
    async fn a_file_that_changes_for_ever_is_read_twice() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        fs::write(&file, "0").unwrap();
        let secrets = client(Proof::Secrets(vec![SecretSource::File(file.clone()), fixed("last")]));
        let changing = |text: &str| {
            fs::write(&file, format!("{text}1")).unwrap();
            Err(refusal("invalid_client", &[]))
        };
        assert_eq!(shown(&secrets, changing).await.0, ["0", "01", "last"]);
    }

    #[tokio::test]
    async fn equal_secrets_are_shown_once() {
        let secrets = client(Proof::Secrets(vec![fixed("same"), fixed("same")]));
        assert_eq!(shown(&secrets, |_| Err(refusal("invalid_client", &[]))).await.0, ["same"]);
    }

    #[tokio::test]
    async fn a_certificate_signs_as_microsoft_wants_it_and_then_as_others_do() {
        let pair = Pair::new();
        let certificate =
            client(Proof::Certificate { certificate: pair.certificate(), private_key: pair.private_key() });
        let header = |assertion: &str| {
            let header = assertion.split('.').next().unwrap();
            String::from_utf8(URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap()
        };
        let (shown, outcome) = shown(&certificate, |_| Err(refusal("invalid_client", &[]))).await;
        assert!(header(&shown[0]).contains("PS256") && header(&shown[1]).contains("RS256"), "{shown:?}");
        assert_eq!(shown.len(), 2);
        assert_eq!(outcome, Err(refusal("invalid_client", &[])));
    }

    #[tokio::test]
    async fn a_federated_assertion_is_read_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let federated = client(Proof::Assertion(SecretSource::File(file.clone())));
        for now in ["first", "second"] {
            fs::write(&file, now).unwrap();
            assert_eq!(shown(&federated, |_| Ok(())).await, (vec![now.to_owned()], Ok(())));
        }
        assert_eq!(shown(&federated, |_| Err(refusal("invalid_client", &[]))).await.0.len(), 1);
    }

    #[tokio::test]
    async fn a_public_client_shows_nothing_once() {
        let (shown, outcome) = shown(&client(Proof::Public), |_| Err(refusal("invalid_client", &[]))).await;
        assert_eq!(
            (shown.as_slice(), outcome),
            (["nothing".to_owned()].as_slice(), Err(refusal("invalid_client", &[])))
        );
    }
}
