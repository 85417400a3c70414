//! The token endpoint and its neighbour for devices: the one file that knows the oauth2 crate. Requests are built with
//! that crate where it knows them; answers are read by `answer` alone.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use oauth2::basic::{BasicClient, BasicErrorResponse};
use oauth2::{
    AsyncHttpClient, AuthType, AuthorizationCode, ClientId, ClientSecret, HttpRequest, HttpResponse, PkceCodeVerifier,
    RedirectUrl, RefreshToken, RequestTokenError, Scope, TokenUrl, http,
};
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use super::answer::device::DeviceAuthorization;
use super::answer::{self, Refusal};
use super::credentials::TokenError;
use super::grant::{Issued, WallClock};
use super::hints::{needs_person, shown, transient};
use crate::config::{App, EndpointUrl};
use crate::net::http::{HttpAnswer, HttpClient, HttpError};
use crate::secret::SecretText;

/// RFC 8628 section 3.4.
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// RFC 7523 section 2.1.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// RFC 7523 section 2.2.
const CLIENT_ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Where requests go.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) http: HttpClient,
    /// The URL, its tenant filled in.
    pub(crate) url: Url,
    /// Gives the time, for dates in headers.
    pub(crate) wall: WallClock,
}

/// How an app proves who it is in one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClientProof {
    /// Not at all: a public client.
    Public,
    /// With its secret, in the form: so the providers there are presets for document it, and RFC 6749 section 2.3.1
    /// allows it.
    Secret(SecretText),
    /// With an assertion (RFC 7523 section 2.2).
    Assertion(SecretText),
}

/// The app that asks.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) id: &'a str,
    pub(crate) proof: &'a ClientProof,
}

/// What a token is asked for with.
#[derive(Clone, Copy)]
pub(crate) enum Asked<'a> {
    /// RFC 6749 section 4.4.
    ClientCredentials { scopes: &'a [String] },
    /// RFC 6749 section 6.
    RefreshToken { token: &'a SecretText, scopes: &'a [String] },
    /// RFC 6749 section 4.1.3, with RFC 7636 section 4.5.
    Code { code: &'a SecretText, verifier: &'a SecretText, redirect_uri: &'a str },
    /// RFC 8628 section 3.4, once.
    DeviceCode(&'a SecretText),
}

impl Endpoint {
    /// One of the URLs of an app's provider, its tenant filled in. `key` is what the file calls it.
    pub(crate) fn of(
        url: &EndpointUrl,
        key: &str,
        app: &App,
        http: HttpClient,
        wall: WallClock,
    ) -> Result<Self, TokenError> {
        let tenant = app.client().and_then(|client| client.tenant.as_deref());
        let url = url.resolve(tenant).ok_or_else(|| {
            let what = format!("The {key} of the provider {} needs a tenant", app.provider.name);
            needs_person(what, "Set tenant to the directory's domain or id")
        })?;
        Ok(Self { http, url, wall })
    }

    /// Asks for a token, once.
    pub(crate) async fn token(&self, caller: Caller<'_>, asked: Asked<'_>) -> Result<Issued, Refusal> {
        let mut client = BasicClient::new(ClientId::new(caller.id.to_owned()))
            .set_token_uri(TokenUrl::from_url(self.url.clone()))
            .set_auth_type(AuthType::RequestBody);
        if let ClientProof::Secret(secret) = caller.proof {
            client = client.set_client_secret(ClientSecret::new(secret.expose().to_owned()));
        }
        let exchange = Exchange { endpoint: self, proof: caller.proof, issued: Mutex::default() };
        match asked {
            Asked::ClientCredentials { scopes } => {
                let request = client.exchange_client_credentials().add_scopes(scopes_of(scopes));
                exchange.landed(request.request_async(&exchange).await)
            }
            Asked::RefreshToken { token, scopes } => {
                let token = RefreshToken::new(token.expose().to_owned());
                let request = client.exchange_refresh_token(&token).add_scopes(scopes_of(scopes));
                exchange.landed(request.request_async(&exchange).await)
            }
            Asked::Code { code, verifier, redirect_uri } => {
                let redirect_uri = RedirectUrl::new(redirect_uri.to_owned()).map_err(|_| unusable())?;
                let client = client.set_redirect_uri(redirect_uri);
                let request = client
                    .exchange_code(AuthorizationCode::new(code.expose().to_owned()))
                    .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose().to_owned()));
                exchange.landed(request.request_async(&exchange).await)
            }
            // The crate polls by itself until it is done, and takes a dead network for the end.
            Asked::DeviceCode(code) => {
                let form = [("grant_type", DEVICE_CODE), ("device_code", code.expose())];
                self.issued(form_of(&form, Some(caller))).await
            }
        }
    }

    /// Asks for a token with an assertion that speaks for itself (RFC 7523 section 2.1).
    pub(crate) async fn by_assertion(&self, assertion: &SecretText) -> Result<Issued, Refusal> {
        let form = [("grant_type", JWT_BEARER), ("assertion", assertion.expose())];
        self.issued(form_of(&form, None)).await
    }

    /// Asks for a code that a person types on another device (RFC 8628 section 3.1).
    pub(crate) async fn device_code(
        &self,
        caller: Caller<'_>,
        scopes: &[String],
    ) -> Result<DeviceAuthorization, Refusal> {
        let form = form_of(&[("scope", &scopes.join(" "))], Some(caller));
        let secrets = secrets_of(&form);
        let answer = self.post(form).await?;
        answer::device::read(&answer, (self.wall)(), &secrets)
    }

    async fn issued(&self, form: Zeroizing<Vec<u8>>) -> Result<Issued, Refusal> {
        let secrets = secrets_of(&form);
        answer::read(&self.post(form).await?, (self.wall)(), &secrets)
    }

    async fn post(&self, form: Zeroizing<Vec<u8>>) -> Result<HttpAnswer, TokenError> {
        let headers = [("accept", "application/json"), ("content-type", "application/x-www-form-urlencoded")];
        let answer = self.http.post_form(&self.url, &headers, form).await;
        answer.map_err(|error| unanswered(&error))
    }
}

fn scopes_of(scopes: &[String]) -> impl Iterator<Item = Scope> {
    scopes.iter().cloned().map(Scope::new)
}

/// A form the crate does not know, with the app's proof in it.
fn form_of(pairs: &[(&str, &str)], caller: Option<Caller<'_>>) -> Zeroizing<Vec<u8>> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()));
    if let Some(Caller { id, proof }) = caller {
        form.append_pair("client_id", id);
        if let ClientProof::Secret(secret) = proof {
            form.append_pair("client_secret", secret.expose());
        }
        extend_by_assertion(&mut form, proof);
    }
    form.finish().into_bytes().into()
}

/// The crate knows no assertions of clients either.
fn extend_by_assertion(form: &mut form_urlencoded::Serializer<'_, String>, proof: &ClientProof) {
    if let ClientProof::Assertion(assertion) = proof {
        form.append_pair("client_assertion_type", CLIENT_ASSERTION);
        form.append_pair("client_assertion", assertion.expose());
    }
}

/// What the crate sends its requests through. It learns that an answer was good and nothing else; what the answer held
/// stays here.
struct Exchange<'a> {
    endpoint: &'a Endpoint,
    proof: &'a ClientProof,
    issued: Mutex<Option<Issued>>,
}

impl<'c> AsyncHttpClient<'c> for Exchange<'_> {
    type Error = Refusal;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Refusal>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let issued = self.endpoint.issued(self.form_of(request)?).await?;
            *self.issued.lock().unwrap_or_else(PoisonError::into_inner) = Some(issued);
            http::Response::builder()
                .header(http::header::CONTENT_TYPE, "application/json")
                .body(br#"{"access_token":"kept elsewhere","token_type":"bearer"}"#.to_vec())
                .map_err(|_| unusable().into())
        })
    }
}

impl Exchange<'_> {
    /// The crate's form with what the crate does not know.
    fn form_of(&self, request: HttpRequest) -> Result<Zeroizing<Vec<u8>>, TokenError> {
        let form = String::from_utf8(request.into_body()).map_err(|_| unusable())?;
        let mut form = form_urlencoded::Serializer::new(form);
        extend_by_assertion(&mut form, self.proof);
        Ok(form.finish().into_bytes().into())
    }

    fn landed<T>(&self, granted: Result<T, RequestTokenError<Refusal, BasicErrorResponse>>) -> Result<Issued, Refusal> {
        match granted {
            Ok(_) => {
                let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner).take();
                issued.ok_or_else(|| unusable().into())
            }
            Err(RequestTokenError::Request(refusal)) => Err(refusal),
            Err(_) => Err(unusable().into()),
        }
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

/// A request or an answer that we wrote ourselves is unreadable. It cannot happen, and is no reason to stop a gateway if
/// it does.
fn unusable() -> TokenError {
    transient("The token could not be asked for")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::net::http::HttpTimeouts;
    use crate::net::http::tests::{client, response, scripted};

    const GIVEN: &str =
        r#"{"token_type":"Bearer","expires_in":"3599","access_token":"eyJ0","refresh_token":"r2","id_token":"a.b.c"}"#;

    fn secret(text: &str) -> SecretText {
        SecretText::new(text.into())
    }

    fn endpoint(url: Url) -> Endpoint {
        Endpoint { http: client(HttpTimeouts::default()), url, wall: Arc::new(SystemTime::now) }
    }

    async fn ask(url: Url) -> Result<Issued, TokenError> {
        let proof = ClientProof::Secret(secret("s3cr&t"));
        let scopes = ["https://outlook.office365.com/.default".to_owned()];
        let asked = Asked::ClientCredentials { scopes: &scopes };
        Ok(endpoint(url).token(Caller { id: "app id", proof: &proof }, asked).await?)
    }

    /// The form that goes out, its fields sorted.
    async fn form(proof: ClientProof, asked: Asked<'_>) -> Vec<String> {
        let (url, served) = scripted(response("HTTP/1.1 200 OK\r\nContent-Type: text/plain", GIVEN)).await;
        let issued = endpoint(url)
            .token(Caller { id: "app id", proof: &proof }, asked)
            .await
            .unwrap();
        assert_eq!((issued.token.expose(), issued.lives.as_secs()), ("eyJ0", 3599));
        assert_eq!((issued.refresh_token, issued.id_token), (Some(secret("r2")), Some(secret("a.b.c"))));
        fields(&served.await.unwrap())
    }

    fn fields(request: &str) -> Vec<String> {
        let (head, form) = request.split_once("\r\n\r\n").unwrap();
        let head = head.to_lowercase();
        assert!(head.contains("content-type: application/x-www-form-urlencoded"), "{head}");
        assert!(head.contains("accept: application/json"), "{head}");
        assert!(!head.contains("authorization:"), "{head}");
        let mut fields: Vec<String> = form.split('&').map(str::to_owned).collect();
        fields.sort_unstable();
        fields
    }

    #[tokio::test]
    async fn client_credentials_are_the_form_the_rfc_shows() {
        let scopes = ["https://outlook.office365.com/.default".to_owned()];
        let form = form(ClientProof::Secret(secret("s3cr&t")), Asked::ClientCredentials { scopes: &scopes }).await;
        assert_eq!(
            form,
            [
                "client_id=app+id",
                "client_secret=s3cr%26t",
                "grant_type=client_credentials",
                "scope=https%3A%2F%2Foutlook.office365.com%2F.default",
            ]
        );
    }

    #[tokio::test]
    async fn a_refresh_token_goes_out_with_its_scopes() {
        let scopes = ["a".to_owned(), "b".to_owned()];
        let token = secret("r+1");
        let form = form(ClientProof::Public, Asked::RefreshToken { token: &token, scopes: &scopes }).await;
        assert_eq!(form, ["client_id=app+id", "grant_type=refresh_token", "refresh_token=r%2B1", "scope=a+b"]);
    }

    #[tokio::test]
    async fn a_code_goes_out_with_its_verifier_and_the_proof() {
        let (code, verifier) = (secret("c0de"), secret("v".repeat(43).as_str()));
        let asked = Asked::Code { code: &code, verifier: &verifier, redirect_uri: "http://localhost:8400" };
        let form = form(ClientProof::Assertion(secret("a.b.c")), asked).await;
        assert_eq!(
            form,
            [
                "client_assertion=a.b.c",
                "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer",
                "client_id=app+id",
                "code=c0de",
                &format!("code_verifier={}", "v".repeat(43)),
                "grant_type=authorization_code",
                "redirect_uri=http%3A%2F%2Flocalhost%3A8400",
            ]
        );
    }

    #[tokio::test]
    async fn a_device_code_goes_out_with_the_proof() {
        let code = secret("d c");
        let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";
        let public = form(ClientProof::Public, Asked::DeviceCode(&code)).await;
        assert_eq!(public, ["client_id=app+id", "device_code=d+c", grant]);
        let confidential = form(ClientProof::Secret(secret("s")), Asked::DeviceCode(&code)).await;
        assert_eq!(confidential, ["client_id=app+id", "client_secret=s", "device_code=d+c", grant]);
    }

    #[tokio::test]
    async fn an_assertion_speaks_for_itself() {
        let (url, served) = scripted(response("HTTP/1.1 200 OK", GIVEN)).await;
        endpoint(url).by_assertion(&secret("a.b.c")).await.unwrap();
        let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
        assert_eq!(fields(&served.await.unwrap()), ["assertion=a.b.c", grant]);
    }

    #[tokio::test]
    async fn a_code_for_a_device_is_asked_for() {
        let body = r#"{"device_code":"d","user_code":"AB","verification_uri":"https://example.com/device"}"#;
        let (url, served) = scripted(response("HTTP/1.1 200 OK", body)).await;
        let caller = Caller { id: "app", proof: &ClientProof::Public };
        let scopes = ["mail".to_owned(), "offline_access".to_owned()];
        let authorization = endpoint(url).device_code(caller, &scopes).await.unwrap();
        assert_eq!(authorization.user_code, "AB");
        assert_eq!(fields(&served.await.unwrap()), ["client_id=app", "scope=mail+offline_access"]);
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
    async fn an_answer_that_drips_runs_out_of_time() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap()).parse().unwrap();
        let dripping = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; 64]).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                .await
                .unwrap();
            // One octet whenever the other side could take it, and never the last.
            while stream.write_all(b" ").await.is_ok() {
                tokio::task::yield_now().await;
            }
        });
        let brief = HttpTimeouts { total: std::time::Duration::from_millis(50), ..HttpTimeouts::default() };
        let endpoint = Endpoint { http: client(brief), ..endpoint(url) };
        let refusal = endpoint.by_assertion(&secret("a")).await.unwrap_err();
        assert!(matches!(*refusal.error, TokenError::Transient(_)), "{refusal}");
        assert!(refusal.to_string().contains("in time"), "{refusal}");
        dripping.abort();
    }

    #[tokio::test]
    async fn nobody_there_passes() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap()).parse().unwrap();
        drop(listener);
        assert!(matches!(ask(url).await, Err(TokenError::Transient(_))));
    }
}
