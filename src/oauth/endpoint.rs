//! The token endpoint: the one file that knows the oauth2 crate. It builds the request with that crate and tells it
//! whether a token came, but not which one: that crate does not wipe what it holds.

use std::pin::Pin;
use std::sync::OnceLock;

use oauth2::basic::BasicClient;
use oauth2::{
    AsyncHttpClient, AuthType, ClientId, ClientSecret, HttpRequest, HttpResponse, RequestTokenError, Scope, TokenUrl,
    http,
};
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use super::answer;
use super::credentials::TokenError;
use super::grant::{Issued, WallClock};
use super::hints::{needs_person, shown, transient};
use crate::net::http::{HttpClient, HttpError};
use crate::secret::SecretText;

/// What RFC 6749 section 4.4 asks for.
pub(crate) struct ClientCredentials<'a> {
    /// The endpoint, its tenant filled in.
    pub(crate) url: Url,
    pub(crate) client_id: &'a str,
    pub(crate) client_secret: &'a SecretText,
    pub(crate) scopes: &'a [String],
}

impl ClientCredentials<'_> {
    /// Asks once. `wall` gives the time, for dates in headers.
    pub(crate) async fn ask(self, http: HttpClient, wall: WallClock) -> Result<Issued, TokenError> {
        // The providers there are presets for document the secret in the form; RFC 6749 section 2.3.1 allows it.
        let client = BasicClient::new(ClientId::new(self.client_id.to_owned()))
            .set_client_secret(ClientSecret::new(self.client_secret.expose().to_owned()))
            .set_token_uri(TokenUrl::from_url(self.url.clone()))
            .set_auth_type(AuthType::RequestBody);
        let exchange = Exchange { http, url: self.url, wall, issued: OnceLock::new() };
        let granted = client
            .exchange_client_credentials()
            .add_scopes(self.scopes.iter().cloned().map(Scope::new))
            .request_async(&exchange)
            .await;
        match granted {
            Ok(_) => exchange.issued.into_inner().ok_or_else(unusable),
            Err(RequestTokenError::Request(error)) => Err(error),
            Err(_) => Err(unusable()),
        }
    }
}

/// What the crate sends its requests through, and what came back.
struct Exchange {
    http: HttpClient,
    url: Url,
    wall: WallClock,
    issued: OnceLock<Issued>,
}

impl<'c> AsyncHttpClient<'c> for Exchange {
    type Error = TokenError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, TokenError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.exchange(request))
    }
}

impl Exchange {
    /// Sends the crate's request, keeps the token, and gives the crate an answer it cannot misread.
    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, TokenError> {
        let (head, form) = request.into_parts();
        let form = Zeroizing::new(form);
        let secrets = secrets_of(&form);
        let headers: Vec<(&str, &str)> = head
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
            .collect();
        let answer = self
            .http
            .post_form(&self.url, &headers, form)
            .await
            .map_err(|error| unanswered(&error))?;
        let issued = answer::read(&answer, (self.wall)(), &secrets)?;
        self.issued.set(issued).map_err(|_| unusable())?;
        http::Response::builder()
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(br#"{"access_token":"kept","token_type":"bearer"}"#.to_vec())
            .map_err(|_| unusable())
    }
}

/// The fields of a request that may be shown (RFC 6749 appendix A, RFC 7521 section 4.2). All others are secrets.
const PUBLIC: &[&str] = &["client_assertion_type", "client_id", "grant_type", "redirect_uri", "scope"];

/// The secrets in a form, each as it is and as the form spells it.
fn secrets_of(form: &[u8]) -> Vec<Zeroizing<String>> {
    form_urlencoded::parse(form)
        .filter(|(name, _)| !PUBLIC.contains(&name.as_ref()))
        .flat_map(|(_, value)| {
            let spelled = form_urlencoded::byte_serialize(value.as_bytes()).collect();
            [value.into_owned(), spelled].map(Zeroizing::new)
        })
        .collect()
}

fn unanswered(error: &HttpError) -> TokenError {
    match error {
        HttpError::NotAllowed(_) | HttpError::Setup(_) => needs_person(
            format!("The token endpoint cannot be asked: {}", shown(&error.to_string())),
            "Check token_url",
        ),
        HttpError::Unreachable(_) | HttpError::TimedOut | HttpError::TooLarge | HttpError::Broken(_) => {
            transient(format!("The token endpoint gives no answer: {}", shown(&error.to_string())))
        }
    }
}

/// What we wrote ourselves came back unreadable. It cannot happen, and is no reason to stop a gateway if it does.
fn unusable() -> TokenError {
    transient("The token could not be read")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use super::*;
    use crate::net::http::HttpTimeouts;
    use crate::net::http::tests::{client, response, scripted};

    async fn ask(url: Url) -> Result<Issued, TokenError> {
        let secret = SecretText::new("s3cr&t".into());
        let scopes = ["https://outlook.office365.com/.default".to_owned()];
        let request = ClientCredentials { url, client_id: "app id", client_secret: &secret, scopes: &scopes };
        request.ask(client(HttpTimeouts::default()), Arc::new(SystemTime::now)).await
    }

    #[tokio::test]
    async fn the_form_is_the_one_the_rfc_shows() {
        let body = r#"{"token_type":"Bearer","expires_in":"3599","ext_expires_in":3599,"access_token":"eyJ0"}"#;
        let (url, served) = scripted(response("HTTP/1.1 200 OK\r\nContent-Type: text/plain", body)).await;
        let issued = ask(url).await.unwrap();
        assert_eq!((issued.token.expose(), issued.lives.as_secs()), ("eyJ0", 3599));
        let request = served.await.unwrap();
        let (head, form) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.to_lowercase().contains("content-type: application/x-www-form-urlencoded"), "{head}");
        let mut fields: Vec<&str> = form.split('&').collect();
        fields.sort_unstable();
        assert_eq!(
            fields,
            [
                "client_id=app+id",
                "client_secret=s3cr%26t",
                "grant_type=client_credentials",
                "scope=https%3A%2F%2Foutlook.office365.com%2F.default",
            ]
        );
    }

    #[tokio::test]
    async fn the_crate_is_not_shown_the_token() {
        let body = r#"{"token_type":"Bearer","expires_in":60,"access_token":"eyJ0"}"#;
        let (url, _served) = scripted(response("HTTP/1.1 200 OK", body)).await;
        let http = client(HttpTimeouts::default());
        let exchange = Exchange { http, url, wall: Arc::new(SystemTime::now), issued: OnceLock::new() };
        let shown = exchange.exchange(http::Request::new(b"a=b".to_vec())).await.unwrap();
        assert!(!String::from_utf8(shown.into_body()).unwrap().contains("eyJ0"));
        assert_eq!(exchange.issued.into_inner().unwrap().token.expose(), "eyJ0");
    }

    #[tokio::test]
    async fn an_error_comes_through_with_its_code() {
        let body =
            r#"{"error":"invalid_client","error_description":"AADSTS7000215: bad\r\nTrace","error_codes":[7000215]}"#;
        let (url, _served) = scripted(response("HTTP/1.1 401 Unauthorized", body)).await;
        let Err(TokenError::NeedsPerson(fault)) = ask(url).await else { panic!("a wrong secret needs a person") };
        assert_eq!(fault.code.as_deref(), Some("AADSTS7000215"));
        assert!(!fault.to_string().contains("s3cr"));
    }

    #[tokio::test]
    async fn a_secret_that_the_endpoint_repeats_is_not_told() {
        let body = r#"{"error":"invalid_client","error_description":"bad client_secret s3cr&t (s3cr%26t) of app id"}"#;
        let (url, _served) = scripted(response("HTTP/1.1 401 Unauthorized", body)).await;
        let Err(TokenError::NeedsPerson(fault)) = ask(url).await else { panic!("a wrong secret needs a person") };
        assert_eq!(fault.said.as_deref(), Some("bad client_secret [redacted] ([redacted]) of app id"));
    }

    #[tokio::test]
    async fn hostile_answers_pass_or_need_a_person_but_give_no_token() {
        let passing = |answer: &Result<Issued, TokenError>| matches!(answer, Err(TokenError::Transient(_)));
        let (huge, _served) =
            scripted([vec![b"HTTP/1.1 200 OK\r\n\r\n".to_vec()], vec![vec![b' '; 64 * 1024]; 32]].concat()).await;
        assert!(passing(&ask(huge).await));
        let (half, _served) =
            scripted(vec![b"HTTP/1.1 200 OK\r\nContent-Length: 80\r\n\r\n{\"access_token\":".to_vec()]).await;
        assert!(passing(&ask(half).await));
        let (garbage, _served) = scripted(vec![b"220 smtp.example.com ESMTP\r\n".to_vec()]).await;
        assert!(passing(&ask(garbage).await));
        let (page, _served) = scripted(response("HTTP/1.1 200 OK\r\nContent-Type: text/html", "<html>")).await;
        assert!(passing(&ask(page).await));
        let (moved, _served) = scripted(response("HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/", "")).await;
        assert!(matches!(ask(moved).await, Err(TokenError::NeedsPerson(_))));
        let clear = ask("http://login.example.com/token".parse().unwrap()).await;
        assert!(matches!(clear, Err(TokenError::NeedsPerson(_))));
    }

    #[tokio::test]
    async fn nobody_there_passes() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap()).parse().unwrap();
        drop(listener);
        assert!(matches!(ask(url).await, Err(TokenError::Transient(_))));
    }
}
