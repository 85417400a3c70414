//! A person signs in: on another device, in a browser, or with a refresh token from elsewhere. Used by the command; what
//! it obtains goes to the running gateway.

pub mod code;
pub mod device;

use std::sync::Arc;
use std::time::Duration;

use super::answer::Refusal;
use super::credentials::{TokenError, TokenFault};
use super::endpoint::{Asked, Caller, ClientProof, Endpoint};
use super::grant::{self, Issued, WallClock};
use super::hints::needs_person;
use super::{identity, proof};
use crate::config::{Account, Client, EndpointUrl};
use crate::net::http::HttpClient;
use crate::secret::{AccessToken, SecretText};
use crate::store::SignInId;

/// An account whose owner is to sign in.
#[derive(Clone)]
pub struct SignIn {
    account: Arc<Account>,
    scopes: Vec<String>,
    endpoint: Endpoint,
}

/// What a sign-in gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obtained {
    /// What it is a sign-in of: provider, app and mailbox.
    pub id: SignInId,
    /// What further tokens are fetched with.
    pub refresh_token: SecretText,
    /// How long these can be fetched, where the provider gave it a time.
    pub refresh_lives: Option<Duration>,
    /// The first token.
    pub token: AccessToken,
    /// How long that lives from now on.
    pub lives: Duration,
    /// The names in the id token: none where there was none. Peer text.
    pub names: Vec<String>,
}

impl SignIn {
    /// Prepares a sign-in for `account`. `http` is its provider's, `wall` the wall clock.
    ///
    /// # Errors
    /// When its app's grant is not one for persons, or its tenant is missing.
    pub fn new(account: Arc<Account>, http: HttpClient, wall: WallClock) -> Result<Self, TokenError> {
        let app = &account.app;
        if !app.grant.is_a_persons() {
            let what = format!("Nobody signs in for {}: its grant is {}", account.address, app.grant.name());
            return Err(needs_person(what, "Run mailferry check"));
        }
        let endpoint = Endpoint::of(&app.provider.token_url, "token_url", app, http, wall)?;
        let scopes = app.scopes(&account.protocols());
        Ok(Self { account, scopes, endpoint })
    }

    /// Tries a refresh token that was obtained elsewhere, once.
    ///
    /// # Errors
    /// What the token endpoint says to it.
    pub async fn refresh_token(&self, token: SecretText) -> Result<Obtained, TokenError> {
        let issued = self
            .ask(&self.endpoint, Asked::RefreshToken { token: &token, scopes: &self.scopes })
            .await?;
        let refresh_token = issued.refresh_token.clone().or(Some(token));
        self.obtained(Issued { refresh_token, ..issued })
    }

    /// Asks for a token as the account's app.
    async fn ask(&self, endpoint: &Endpoint, asked: Asked<'_>) -> Result<Issued, Refusal> {
        let ask = |id, proof: ClientProof| async move { endpoint.token(Caller { id, proof: &proof }, asked).await };
        proof::ask(endpoint, self.client()?, ask).await
    }

    /// The endpoint at another of the provider's URLs. `key` is what the file calls it.
    fn endpoint_at(&self, url: Option<&EndpointUrl>, key: &str) -> Result<Endpoint, TokenError> {
        let app = &self.account.app;
        let url = url.ok_or_else(|| {
            needs_person(
                format!("The provider {} has no {key}", app.provider.name),
                format!("Set {key}, or sign in another way"),
            )
        })?;
        Endpoint::of(url, key, app, self.endpoint.http.clone(), WallClock::clone(&self.endpoint.wall))
    }

    fn client(&self) -> Result<&Client, TokenError> {
        self.account
            .app
            .client()
            .ok_or_else(|| needs_person("The app has no client_id", "Set client_id"))
    }

    /// Takes in what was issued; without a refresh token it is of no use.
    fn obtained(&self, issued: Issued) -> Result<Obtained, TokenError> {
        let Issued { token, lives, refresh_token, refresh_lives, id_token } = issued;
        let names = id_token.as_ref().map(identity::names).unwrap_or_default();
        let refresh_token = refresh_token.ok_or_else(|| self.no_refresh_token())?;
        let id = SignInId::of(&self.account).ok_or_else(grant::nobody)?;
        Ok(Obtained { id, refresh_token, refresh_lives, token, lives, names })
    }

    fn no_refresh_token(&self) -> TokenError {
        let hint = if self.scopes.iter().any(|scope| scope == "offline_access") {
            "Sign in again and agree to all that is asked; an administrator has to consent to offline_access where \
             users may not"
        } else {
            "Remove the access that was given to the app earlier in the account's security settings and sign in \
             again; if that changes nothing, check scopes: many providers want offline_access there"
        };
        TokenError::NeedsPerson(TokenFault {
            code: None,
            what: "The provider gave a token that ends soon, and no refresh token".into(),
            hint: hint.into(),
            said: None,
            retry_after: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use serde_json::json;

    use super::*;
    use crate::config::{Grant, Proof};
    use crate::net::http::HttpTimeouts;
    use crate::net::http::tests::{client, response, scripted};
    use crate::oauth::grant::tests::{account_at, person};
    use crate::oauth::identity::tests::id_token;

    /// A sign-in at a provider with these URLs.
    pub(super) fn sign_in_at(token_url: &str, grant: Grant) -> SignIn {
        let account = account_at(token_url, "user@example.com", grant);
        SignIn::new(account, client(HttpTimeouts::default()), Arc::new(SystemTime::now)).unwrap()
    }

    /// What a token endpoint says when all is well.
    pub(super) fn given(refresh_token: Option<&str>) -> String {
        let id_token = id_token(&json!({"preferred_username": "user@example.com"}));
        let mut body =
            json!({"token_type": "Bearer", "expires_in": 3599, "access_token": "t0ken", "id_token": id_token});
        if let Some(refresh_token) = refresh_token {
            body["refresh_token"] = refresh_token.into();
        }
        body.to_string()
    }

    async fn with_refresh_token(body: &str) -> (Result<Obtained, TokenError>, String) {
        let (url, served) = scripted(response("HTTP/1.1 200 OK", body)).await;
        let obtained = sign_in_at(url.as_str(), person())
            .refresh_token(SecretText::new("r1".into()))
            .await;
        (obtained, served.await.unwrap())
    }

    #[tokio::test]
    async fn a_refresh_token_from_elsewhere_is_tried_once() {
        let (obtained, form) = with_refresh_token(&given(Some("r2"))).await;
        let obtained = obtained.unwrap();
        assert_eq!(obtained.refresh_token.expose(), "r2", "its successor takes its place");
        assert_eq!((obtained.token.expose(), obtained.lives.as_secs()), ("t0ken", 3599));
        assert_eq!(obtained.names, ["user@example.com"]);
        assert!(form.contains("refresh_token=r1") && form.contains("scope=mail+offline_access"), "{form}");
        let (obtained, _) = with_refresh_token(&given(None)).await;
        assert_eq!(obtained.unwrap().refresh_token.expose(), "r1", "it has no successor");
    }

    #[test]
    fn without_a_refresh_token_the_scope_is_named() {
        let issued = Issued {
            token: AccessToken::parse("t".into()).unwrap(),
            lives: Duration::from_secs(3599),
            refresh_token: None,
            refresh_lives: None,
            id_token: None,
        };
        let mut sign_in = sign_in_at("https://example.com/token", person());
        let error = sign_in.obtained(issued.clone()).unwrap_err();
        assert!(error.to_string().contains("consent to offline_access"), "{error}");
        sign_in.scopes = vec!["https://mail.google.com/".into()];
        let error = sign_in.obtained(issued).unwrap_err();
        assert!(error.to_string().contains("given to the app earlier"), "{error}");
    }

    #[test]
    fn nobody_signs_in_for_an_app_of_its_own() {
        let app = Client { tenant: None, id: "app".into(), proof: Proof::Public, secret_expires: None };
        let account = account_at("https://example.com/token", "user@example.com", Grant::ClientCredentials(app));
        let outcome = SignIn::new(account, client(HttpTimeouts::default()), Arc::new(SystemTime::now));
        assert!(outcome.err().unwrap().to_string().contains("client-credentials"));
    }
}
