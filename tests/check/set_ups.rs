//! The set-ups, each with what is broken in it and what has to be said about it.

use std::fs;
use std::path::Path;

use mailferry::sim::{
    Act, CannedAnswer, Certificate, Fault, Moment, Personality, Protocol, Refusal, Simulator, TokenFault,
};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

use crate::common::ADDRESS;

/// What a person's token is for.
pub(crate) const RIGHTS: [&str; 3] = [
    "https://outlook.office365.com/SMTP.Send",
    "https://outlook.office365.com/IMAP.AccessAsUser.All",
    "https://outlook.office365.com/POP.AccessAsUser.All",
];

const OTHER: &str = "somebody@contoso.example";

/// An app that proves itself with a secret.
pub(crate) const SECRET: &str = "grant = \"client-credentials\"\ntenant = \"contoso.example\"\n\
     client_id = \"11111111-2222-3333-4444-555555555555\"\nclient_secret = \"simulated-client-secret\"";

/// One that proves itself with a certificate.
pub(crate) const CERTIFICATE: &str = "grant = \"client-credentials\"\ntenant = \"contoso.example\"\n\
     client_id = \"11111111-2222-3333-4444-555555555555\"\n\
     client_certificate = { certificate = \"app.pem\", private_key = \"app.key\" }";

/// One that people sign in with.
pub(crate) const PERSON: &str = "grant = \"authorization-code\"\ntenant = \"contoso.example\"\n\
     client_id = \"11111111-2222-3333-4444-555555555555\"";

/// A service account.
pub(crate) const SERVICE: &str = "grant = \"service-account\"\nservice_account = { file = \"service.json\" }";

/// A program of one's own.
const COMMAND: &str = "grant = \"command\"\ncommand = [\"./token.sh\"]";

/// What is wrong and what is said.
pub(crate) struct Broken {
    pub(crate) name: &'static str,
    pub(crate) personality: Personality,
    /// The app's keys.
    pub(crate) app: &'static str,
    /// Before the configuration is written.
    pub(crate) prepare: fn(&Simulator, &Path),
    pub(crate) edit: fn(String) -> String,
    /// Whether the right person signs in before it breaks.
    pub(crate) signed_in: bool,
    /// Whether a command has made the store before it breaks.
    pub(crate) has_run: bool,
    pub(crate) breaks: fn(&Simulator, &Path),
    /// Who does not listen.
    pub(crate) closed: Option<Protocol>,
    pub(crate) status: i32,
    pub(crate) cause: &'static str,
    pub(crate) cure: &'static str,
}

impl Broken {
    /// Nothing is broken yet.
    pub(crate) fn named(name: &'static str) -> Self {
        Self {
            name,
            personality: Personality::Microsoft,
            app: SECRET,
            prepare: |_, _| {},
            edit: |text| text,
            signed_in: false,
            has_run: false,
            breaks: |_, _| {},
            closed: None,
            status: 1,
            cause: "",
            cure: "",
        }
    }
}

/// A key pair in files, which the provider knows.
pub(crate) fn certified(provider: &Simulator, folder: &Path) {
    let certificate = key_pair(folder);
    provider.control().register_certificate(&certificate).unwrap();
}

/// A key pair in files; its certificate in PEM.
fn key_pair(folder: &Path) -> String {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem();
    fs::write(folder.join("app.pem"), &certificate).unwrap();
    write_private(&folder.join("app.key"), &key.serialize_pem());
    certificate
}

/// A service account's key as Google gives it out, which the provider knows.
pub(crate) fn service_account(provider: &Simulator, folder: &Path) {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let email = "ferry@project.iam.gserviceaccount.example";
    provider
        .control()
        .register_service_account(email, &key.public_key_pem())
        .unwrap();
    let given = serde_json::json!({
        "type": "service_account",
        "client_email": email,
        "private_key_id": "1",
        "private_key": key.serialize_pem(),
    });
    write_private(&folder.join("service.json"), &given.to_string());
}

/// A file for its owner's eyes.
pub(crate) fn write_private(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    set_mode(file, 0o600);
}

#[cfg(unix)]
fn set_mode(file: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, PermissionsExt::from_mode(mode)).unwrap();
}

#[cfg(not(unix))]
fn set_mode(_: &Path, _: u32) {}

/// Google's endpoints have none.
pub(crate) fn without_tenant(text: String) -> String {
    text.replace("/{tenant}", "")
}

fn program(folder: &Path, script: &str) {
    let file = folder.join("token.sh");
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    set_mode(&file, 0o755);
}

fn refuse_tokens(provider: &Simulator, number: u32) {
    provider.control().fail_tokens(TokenFault::Aadsts(number));
}

/// All of them.
pub(crate) fn broken() -> Vec<Broken> {
    let mut all = registration();
    all.extend(people());
    all.extend(mail_servers());
    all.extend(this_machine());
    all
}

/// What is wrong with the app.
fn registration() -> Vec<Broken> {
    vec![
        Broken {
            edit: |text| text.replace("tenant = \"contoso.example\"", "tenant = \"contosso.example\""),
            cause: "There is no such tenant in this cloud",
            cure: "Check tenant",
            ..Broken::named("wrong tenant")
        },
        Broken {
            edit: |text| text.replace("client_id = \"1", "client_id = \"2"),
            cause: "The tenant does not know this app",
            cure: "Check client_id and tenant",
            ..Broken::named("wrong client id")
        },
        Broken {
            edit: |text| text.replace("simulated-client-secret", "66666666-7777-8888-9999-000000000000"),
            cause: "The client secret is wrong",
            cure: "Put the secret's Value, not its Secret ID, into client_secret",
            ..Broken::named("the secret's id in place of its value")
        },
        Broken {
            breaks: |provider, _| provider.control().expire_client_secret("simulated-client-secret"),
            cause: "The client secret has expired",
            cure: "Make a new secret under Certificates & secrets",
            ..Broken::named("expired secret")
        },
        Broken {
            app: CERTIFICATE,
            prepare: |provider, folder| {
                certified(provider, folder);
                key_pair(folder);
            },
            cause: "does not know the key that signed the app's assertion",
            cure: "Upload the certificate of client_certificate",
            ..Broken::named("a certificate that is not registered")
        },
        Broken {
            app: CERTIFICATE,
            prepare: certified,
            breaks: |provider, _| provider.control().set_clock_ahead(7200),
            cause: "The app's assertion is not valid at this time",
            cure: "Set this machine's clock",
            ..Broken::named("clock off")
        },
        Broken {
            app: SERVICE,
            personality: Personality::Gmail,
            prepare: service_account,
            edit: without_tenant,
            breaks: |provider, _| {
                let words = "Client is unauthorized to retrieve access tokens using this method, or client not \
                             authorized for any of the scopes requested.";
                let said = serde_json::json!({ "error": "unauthorized_client", "error_description": words });
                let answer = CannedAnswer::new(401).json(said.to_string());
                provider.control().fail_tokens(TokenFault::Answer(answer));
            },
            cause: "The service account may not act for the users of this domain",
            cure: "under Domain-wide delegation",
            ..Broken::named("a service account that is not allowed")
        },
    ]
}

/// What is wrong with who signed in.
fn people() -> Vec<Broken> {
    vec![
        Broken {
            app: PERSON,
            cause: "Nobody is signed in for scanner@contoso.example",
            cure: "Run mailferry sign-in scanner@contoso.example",
            ..Broken::named("nobody signed in")
        },
        Broken {
            app: PERSON,
            signed_in: true,
            breaks: |provider, _| refuse_tokens(provider, 65_001),
            cause: "Nobody has consented to what the app asks for",
            cure: "An administrator has to grant consent under API permissions",
            ..Broken::named("consent missing")
        },
        Broken {
            app: PERSON,
            signed_in: true,
            breaks: |provider, _| refuse_tokens(provider, 700_082),
            cause: "The earlier sign-in has expired or was revoked",
            cure: "To sign in: mailferry sign-in scanner@contoso.example",
            ..Broken::named("sign-in expired for want of use")
        },
        Broken {
            app: PERSON,
            signed_in: true,
            breaks: |provider, _| refuse_tokens(provider, 70_043),
            cause: "AADSTS70043: The earlier sign-in has expired or was revoked",
            cure: "The mailbox's owner has to sign in again",
            ..Broken::named("sign-in ended by a policy")
        },
        Broken {
            app: PERSON,
            signed_in: true,
            breaks: |provider, _| provider.control().revoke_sign_ins(ADDRESS),
            cause: "The earlier sign-in has expired or was revoked",
            cure: "mailferry sign-in scanner@contoso.example",
            ..Broken::named("sign-in revoked")
        },
        Broken {
            app: COMMAND,
            prepare: |provider, folder| {
                let token = token_of(provider, OTHER);
                program(folder, &format!("echo {token}"));
            },
            edit: without_tenant,
            cause: "535 5.7.3",
            cure: "may open this mailbox; for a shared mailbox set identity.smtp to one of its users",
            ..Broken::named("wrong account")
        },
    ]
}

/// A person's access token, as a program of theirs would print it.
fn token_of(provider: &Simulator, user: &str) -> String {
    provider.control().add_access_token(user, &RIGHTS).unwrap()
}

/// What is wrong with the mail servers.
fn mail_servers() -> Vec<Broken> {
    vec![
        Broken {
            breaks: |provider, _| provider.control().fail(Protocol::Smtp, Fault::RefuseLogin(Refusal::Policy)),
            cause: "SMTP AUTH is switched off for the tenant",
            cure: "-SmtpClientAuthenticationDisabled $false",
            ..Broken::named("SMTP AUTH disabled")
        },
        Broken {
            breaks: |provider, _| {
                let refused = Act::Say("BAD User is authenticated but not connected.".into());
                provider.control().fail(Protocol::Imap, Fault::At(Moment::CommandDue, refused));
            },
            cause: "the app has no right to it",
            cure: "Add-MailboxPermission -AccessRights FullAccess",
            ..Broken::named("missing permission")
        },
        Broken {
            closed: Some(Protocol::Smtp),
            cause: "refused",
            cure: "check host, port and tls of the provider, and that no firewall stands between",
            ..Broken::named("wrong host: nothing listens")
        },
        Broken {
            edit: |text| text.replace("tls = \"starttls\"", "tls = \"implicit\""),
            cause: "the server does not begin with it on this port",
            cure: "set tls = \"starttls\"",
            ..Broken::named("implicit TLS on a port for STARTTLS")
        },
        Broken {
            breaks: |provider, _| {
                provider
                    .control()
                    .fail(Protocol::Imap, Fault::Certificate(Certificate::WrongName));
            },
            cause: "because of its certificate",
            cure: "set host to a name that is in it",
            ..Broken::named("a certificate of another name")
        },
    ]
}

/// What is wrong with this machine and its network.
fn this_machine() -> Vec<Broken> {
    vec![
        Broken {
            closed: Some(Protocol::Http),
            cause: "The token endpoint gives no answer",
            cure: "check token_url, and that no firewall stands between",
            ..Broken::named("token endpoint down")
        },
        Broken {
            breaks: |provider, _| {
                let page = "<!doctype html><title>Welcome to the Hotel</title><form>Room number</form>";
                let answer = CannedAnswer::new(200).body("text/html", page);
                provider.control().fail_tokens(TokenFault::Answer(answer));
            },
            cause: "The token endpoint answers with text/html",
            cure: "open a web page in a browser on this network",
            ..Broken::named("a hotel portal")
        },
        Broken {
            app: COMMAND,
            prepare: |_, folder| program(folder, "echo 'no such account: scanner' >&2; exit 3"),
            edit: without_tenant,
            cause: "no such account: scanner",
            cure: "run it by hand as the user mailferry runs as",
            ..Broken::named("a command that fails")
        },
        #[cfg(unix)]
        Broken {
            has_run: true,
            breaks: |_, folder| set_mode(&folder.join("state/key"), 0o644),
            cause: "state/key is open to other users (mode 644)",
            cure: "chmod 600 ",
            ..Broken::named("a key file that others can read")
        },
        Broken {
            has_run: true,
            breaks: |_, folder| {
                write_private(&folder.join("state/key"), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
            },
            cause: "was sealed with another key",
            cure: "put that back",
            ..Broken::named("a database of another key")
        },
        #[cfg(unix)]
        Broken {
            app: COMMAND,
            prepare: |_, folder| program(folder, "echo token"),
            edit: without_tenant,
            breaks: |_, folder| set_mode(&folder.join("mailferry.toml"), 0o666),
            status: 2,
            cause: "every user of this machine can change it",
            cure: "chmod o-w ",
            ..Broken::named("a command that every user could change")
        },
        Broken {
            edit: |text| text.replace("app = \"contoso\"", "app = \"contosso\""),
            status: 2,
            cause: "no [app.contosso] in this file",
            cure: "known: contoso",
            ..Broken::named("an app that is not there")
        },
    ]
}
