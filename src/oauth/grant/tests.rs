//! All grants through the network, as the token service uses them.

use std::time::SystemTime;

use super::*;
use crate::config::{Client, EndpointUrl, Proof, Provider, Scopes, SecretSource};
use crate::net::http::HttpTimeouts;
use crate::net::http::tests::{client as http_client, response, scripted, scripted_each};
use crate::oauth::assertion::tests::{Pair, key_file};
use crate::store::NewSignIn;
use crate::store::SignInId;
use crate::store::memory::MemoryStore;

const GIVEN: &str = r#"{"token_type":"Bearer","expires_in":3599,"access_token":"t0ken","refresh_token":"r2"}"#;

fn client(proof: Proof) -> Client {
    Client { tenant: Some("contoso".into()), id: "app".into(), proof, secret_expires: None }
}

/// A grant of a public client for which a person signs in.
pub(crate) fn person() -> Grant {
    Grant::DeviceCode(client(Proof::Public))
}

/// An account at a provider that is nowhere.
pub(crate) fn account(address: &str, grant: Grant) -> Arc<Account> {
    account_at("https://login.example.com/{tenant}/token", address, grant)
}

/// An account whose tokens come from `token_url`, and everything else from beside it.
pub(crate) fn account_at(token_url: &str, address: &str, grant: Grant) -> Arc<Account> {
    let provider = Provider {
        name: "example".into(),
        token_url: EndpointUrl(token_url.into()),
        authorization_url: Some(EndpointUrl(token_url.replace("/token", "/authorize"))),
        device_authorization_url: Some(EndpointUrl(token_url.replace("/token", "/device"))),
        grants: vec![],
        sign_in_lives: None,
        scopes: Scopes {
            app: vec!["mail".into()],
            protocols: vec![],
            person: vec!["mail".into(), "offline_access".into(), "openid".into()],
        },
        smtp: None,
        imap: None,
        pop3: None,
        smtp_extensions: vec![],
        smtp_masked: vec![],
        imap_capabilities: vec![],
        ca: vec![],
    };
    let app = Arc::new(App { name: "contoso".into(), provider: Arc::new(provider), grant });
    Arc::new(Account { address: address.into(), app, identity: vec![], max_message: None, logins: vec![] })
}

fn fetch_of(store: &Arc<MemoryStore>) -> HttpFetch {
    let clients = HashMap::from([("example".to_owned(), http_client(HttpTimeouts::default()))]);
    HttpFetch::new(clients, Arc::new(SystemTime::now), Arc::clone(store) as Arc<dyn SignIns>)
}

async fn fetch(account: &Arc<Account>) -> Result<String, TokenError> {
    let issued = fetch_of(&Arc::default()).fetch(TokenRequest::of(account)).await?;
    Ok(issued.token.expose().to_owned())
}

/// The form one fetch sends; its path too.
async fn sent(grant: Grant) -> String {
    let (url, served) = scripted(response("HTTP/1.1 200 OK", GIVEN)).await;
    assert_eq!(fetch(&account_at(url.as_str(), "user@example.com", grant)).await.unwrap(), "t0ken");
    served.await.unwrap()
}

fn secret(text: &str) -> SecretSource {
    SecretSource::Fixed(SecretText::new(text.into()))
}

#[tokio::test]
async fn client_credentials_with_each_proof() {
    let secrets = Proof::Secrets(vec![secret("s")]);
    let form = sent(Grant::ClientCredentials(client(secrets))).await;
    assert!(form.contains("grant_type=client_credentials") && form.contains("client_secret=s"), "{form}");
    let form = sent(Grant::ClientCredentials(client(Proof::Assertion(secret("fed.er.ated"))))).await;
    assert!(form.contains("client_assertion=fed.er.ated") && !form.contains("client_secret"), "{form}");
    let pair = Pair::new();
    let certificate = Proof::Certificate { certificate: pair.certificate(), private_key: pair.private_key() };
    let form = sent(Grant::ClientCredentials(client(certificate))).await;
    assert!(form.contains("client_assertion=ey") && form.contains("jwt-bearer"), "{form}");
}

#[tokio::test]
async fn a_wrong_secret_is_passed_over() {
    let refused = response("HTTP/1.1 401 Unauthorized", r#"{"error":"invalid_client","error_codes":[7000222]}"#);
    let (url, served) = scripted_each(vec![refused, response("HTTP/1.1 200 OK", GIVEN)]).await;
    let grant = Grant::ClientCredentials(client(Proof::Secrets(vec![secret("old"), secret("new")])));
    assert_eq!(fetch(&account_at(url.as_str(), "user@example.com", grant)).await.unwrap(), "t0ken");
    let forms = served.await.unwrap();
    assert!(forms[0].contains("client_secret=old") && forms[1].contains("client_secret=new"), "{forms:?}");
}

#[tokio::test]
async fn a_service_account_signs_for_the_user() {
    let pair = Pair::new();
    let key_file = SecretSource::Fixed(key_file(&pair.key.serialize_pem()));
    let form = sent(Grant::ServiceAccount(key_file)).await;
    assert!(form.contains("jwt-bearer&assertion=ey") && !form.contains("client_id"), "{form}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_command_needs_no_endpoint() {
    let grant = Grant::Command(vec!["echo".into(), "printed".into()]);
    assert_eq!(fetch(&account("user@example.com", grant)).await.unwrap(), "printed");
}

#[tokio::test]
async fn whoever_signed_in_is_refreshed() {
    let code = Grant::AuthorizationCode { client: client(Proof::Secrets(vec![secret("s")])), redirect_uri: None };
    for (grant, proof) in [(person(), ""), (code, "client_secret=s")] {
        let (url, served) = scripted(response("HTTP/1.1 200 OK", GIVEN)).await;
        let account = account_at(url.as_str(), "user@example.com", grant);
        let store = Arc::new(MemoryStore::default());
        let new = NewSignIn {
            account: account.address.clone(),
            client_id: "app".into(),
            refresh_token: SecretText::new("r1".into()),
            name: None,
            by: "root".into(),
            at: SystemTime::UNIX_EPOCH,
            ends: None,
        };
        let id = SignInId::of(&account).unwrap();
        store.sign_in(&id, new).await.unwrap();
        let fetch = fetch_of(&store);
        assert_eq!(fetch.fetch(TokenRequest::of(&account)).await.unwrap().token.expose(), "t0ken");
        let form = served.await.unwrap();
        assert!(form.contains("refresh_token=r1") && form.contains("scope=mail+offline_access+openid"), "{form}");
        assert!(form.contains(proof), "{form}");
        let exercised = store.sign_ins().await.unwrap()[0].exercised;
        assert!(exercised > SystemTime::UNIX_EPOCH, "it was settled");
        fetch.settled().await;
    }
}

#[tokio::test]
async fn a_missing_tenant_is_named() {
    let grant = Grant::ClientCredentials(Client { tenant: None, ..client(Proof::Public) });
    let error = fetch(&account("user@example.com", grant)).await.unwrap_err();
    assert!(error.to_string().contains("token_url of the provider example needs a tenant"), "{error}");
}
