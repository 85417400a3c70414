//! The providers everybody uses, as data. Hosts, URLs and scopes are the providers' own; where a provider publishes no
//! table of them, they are those that Thunderbird uses.

use std::time::Duration;

use super::{EndpointUrl, Protocol, Provider, Scopes, Server, UpstreamTls};

/// A provider that needs no table in the file.
#[derive(Clone, Copy)]
pub(super) struct Preset {
    name: &'static str,
    token_url: &'static str,
    authorization_url: &'static str,
    device_authorization_url: Option<&'static str>,
    /// The grants by which it opens mailboxes.
    grants: &'static [&'static str],
    /// How many days a sign-in lives that nobody uses.
    sign_in_days: Option<u32>,
    scopes: PresetScopes,
    smtp: (&'static str, u16, UpstreamTls),
    imap: (&'static str, u16, UpstreamTls),
    pop3: Option<(&'static str, u16, UpstreamTls)>,
    smtp_extensions: &'static [&'static str],
    smtp_masked: &'static [&'static str],
    imap_capabilities: &'static [&'static str],
}

#[derive(Clone, Copy)]
struct PresetScopes {
    app: &'static [&'static str],
    smtp: &'static [&'static str],
    imap: &'static [&'static str],
    pop3: &'static [&'static str],
    person: &'static [&'static str],
}

/// What opens the mailboxes of an organisation at Microsoft.
const ORGANISATION: &[&str] = &["client-credentials", "device-code", "authorization-code", "command"];

/// What opens a person's mailbox where there is a page to sign in at.
const PERSON: &[&str] = &["authorization-code", "command"];

/// What brings a refresh token and an id token at Microsoft.
const MICROSOFT_PERSON: &[&str] = &["offline_access", "openid", "email"];

const MICROSOFT: Preset = Preset {
    name: "microsoft",
    token_url: "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token",
    authorization_url: "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/authorize",
    device_authorization_url: Some("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/devicecode"),
    grants: ORGANISATION,
    sign_in_days: Some(90),
    scopes: PresetScopes {
        app: &["https://outlook.office365.com/.default"],
        smtp: &["https://outlook.office.com/SMTP.Send"],
        imap: &["https://outlook.office.com/IMAP.AccessAsUser.All"],
        pop3: &["https://outlook.office.com/POP.AccessAsUser.All"],
        person: MICROSOFT_PERSON,
    },
    smtp: ("smtp.office365.com", 587, UpstreamTls::StartTls),
    imap: ("outlook.office365.com", 993, UpstreamTls::Implicit),
    pop3: Some(("outlook.office365.com", 995, UpstreamTls::Implicit)),
    smtp_extensions: &["DSN", "CHUNKING", "BINARYMIME"],
    // Offered, and then answered with "502 5.3.3 Command not implemented" at MAIL.
    smtp_masked: &["SMTPUTF8"],
    imap_capabilities: &["IDLE", "NAMESPACE", "UIDPLUS", "UNSELECT"],
};

const GOOGLE: Preset = Preset {
    name: "google",
    token_url: "https://oauth2.googleapis.com/token",
    authorization_url: "https://accounts.google.com/o/oauth2/v2/auth",
    device_authorization_url: None,
    grants: &["authorization-code", "service-account", "command"],
    // Six months.
    sign_in_days: Some(180),
    scopes: PresetScopes { person: &["openid", "email"], ..one_scope(&["https://mail.google.com/"]) },
    smtp: ("smtp.gmail.com", 587, UpstreamTls::StartTls),
    imap: ("imap.gmail.com", 993, UpstreamTls::Implicit),
    pop3: Some(("pop.gmail.com", 995, UpstreamTls::Implicit)),
    smtp_extensions: &["CHUNKING", "SMTPUTF8"],
    smtp_masked: &[],
    imap_capabilities: &["IDLE", "NAMESPACE", "UIDPLUS", "UNSELECT"],
};

/// A provider of which no more is known than where it is.
const PLAIN: Preset = Preset {
    name: "",
    token_url: "",
    authorization_url: "",
    device_authorization_url: None,
    grants: PERSON,
    sign_in_days: None,
    scopes: one_scope(&[]),
    smtp: ("", 465, UpstreamTls::Implicit),
    imap: ("", 993, UpstreamTls::Implicit),
    pop3: None,
    smtp_extensions: &[],
    smtp_masked: &[],
    imap_capabilities: &[],
};

/// All of them.
const PRESETS: [Preset; 12] = [
    MICROSOFT,
    GOOGLE,
    Preset {
        name: "microsoft-gcc-high",
        token_url: "https://login.microsoftonline.us/{tenant}/oauth2/v2.0/token",
        authorization_url: "https://login.microsoftonline.us/{tenant}/oauth2/v2.0/authorize",
        device_authorization_url: Some("https://login.microsoftonline.us/{tenant}/oauth2/v2.0/devicecode"),
        scopes: PresetScopes {
            app: &["https://outlook.office365.us/.default"],
            smtp: &["https://outlook.office365.us/SMTP.Send"],
            imap: &["https://outlook.office365.us/IMAP.AccessAsUser.All"],
            pop3: &["https://outlook.office365.us/POP.AccessAsUser.All"],
            person: MICROSOFT_PERSON,
        },
        smtp: ("smtp.office365.us", 587, UpstreamTls::StartTls),
        imap: ("outlook.office365.us", 993, UpstreamTls::Implicit),
        pop3: Some(("outlook.office365.us", 995, UpstreamTls::Implicit)),
        ..MICROSOFT
    },
    Preset {
        name: "microsoft-dod",
        token_url: "https://login.microsoftonline.us/{tenant}/oauth2/v2.0/token",
        authorization_url: "https://login.microsoftonline.us/{tenant}/oauth2/v2.0/authorize",
        device_authorization_url: Some("https://login.microsoftonline.us/{tenant}/oauth2/v2.0/devicecode"),
        scopes: PresetScopes {
            app: &["https://outlook-dod.office365.us/.default"],
            smtp: &["https://outlook-dod.office365.us/SMTP.Send"],
            imap: &["https://outlook-dod.office365.us/IMAP.AccessAsUser.All"],
            pop3: &["https://outlook-dod.office365.us/POP.AccessAsUser.All"],
            person: MICROSOFT_PERSON,
        },
        smtp: ("outlook-dod.office365.us", 587, UpstreamTls::StartTls),
        imap: ("outlook-dod.office365.us", 993, UpstreamTls::Implicit),
        pop3: Some(("outlook-dod.office365.us", 995, UpstreamTls::Implicit)),
        ..MICROSOFT
    },
    Preset {
        name: "microsoft-china",
        token_url: "https://login.partner.microsoftonline.cn/{tenant}/oauth2/v2.0/token",
        authorization_url: "https://login.partner.microsoftonline.cn/{tenant}/oauth2/v2.0/authorize",
        device_authorization_url: Some("https://login.partner.microsoftonline.cn/{tenant}/oauth2/v2.0/devicecode"),
        scopes: PresetScopes {
            app: &["https://partner.outlook.cn/.default"],
            smtp: &["https://partner.outlook.cn/SMTP.Send"],
            imap: &["https://partner.outlook.cn/IMAP.AccessAsUser.All"],
            pop3: &["https://partner.outlook.cn/POP.AccessAsUser.All"],
            person: MICROSOFT_PERSON,
        },
        smtp: ("smtp.partner.outlook.cn", 587, UpstreamTls::StartTls),
        imap: ("partner.outlook.cn", 993, UpstreamTls::Implicit),
        pop3: Some(("partner.outlook.cn", 995, UpstreamTls::Implicit)),
        ..MICROSOFT
    },
    Preset {
        name: "outlook",
        token_url: "https://login.microsoftonline.com/consumers/oauth2/v2.0/token",
        authorization_url: "https://login.microsoftonline.com/consumers/oauth2/v2.0/authorize",
        device_authorization_url: Some("https://login.microsoftonline.com/consumers/oauth2/v2.0/devicecode"),
        // An app cannot act for itself where there is no directory.
        grants: &["device-code", "authorization-code", "command"],
        smtp: ("smtp-mail.outlook.com", 587, UpstreamTls::StartTls),
        ..MICROSOFT
    },
    Preset {
        name: "yahoo",
        token_url: "https://api.login.yahoo.com/oauth2/get_token",
        authorization_url: "https://api.login.yahoo.com/oauth2/request_auth",
        scopes: one_scope(&["mail-w"]),
        smtp: ("smtp.mail.yahoo.com", 465, UpstreamTls::Implicit),
        imap: ("imap.mail.yahoo.com", 993, UpstreamTls::Implicit),
        pop3: Some(("pop.mail.yahoo.com", 995, UpstreamTls::Implicit)),
        ..PLAIN
    },
    Preset {
        name: "aol",
        token_url: "https://api.login.aol.com/oauth2/get_token",
        authorization_url: "https://api.login.aol.com/oauth2/request_auth",
        scopes: one_scope(&["mail-w"]),
        smtp: ("smtp.aol.com", 465, UpstreamTls::Implicit),
        imap: ("imap.aol.com", 993, UpstreamTls::Implicit),
        pop3: Some(("pop.aol.com", 995, UpstreamTls::Implicit)),
        ..PLAIN
    },
    Preset {
        name: "fastmail",
        token_url: "https://api.fastmail.com/oauth/refresh",
        authorization_url: "https://api.fastmail.com/oauth/authorize",
        scopes: PresetScopes {
            app: &[],
            smtp: &["https://www.fastmail.com/dev/protocol-smtp"],
            imap: &["https://www.fastmail.com/dev/protocol-imap"],
            pop3: &["https://www.fastmail.com/dev/protocol-pop"],
            person: &[],
        },
        smtp: ("smtp.fastmail.com", 465, UpstreamTls::Implicit),
        imap: ("imap.fastmail.com", 993, UpstreamTls::Implicit),
        pop3: Some(("pop.fastmail.com", 995, UpstreamTls::Implicit)),
        ..PLAIN
    },
    Preset {
        name: "yandex",
        token_url: "https://oauth.yandex.com/token",
        authorization_url: "https://oauth.yandex.com/authorize",
        scopes: PresetScopes { smtp: &["mail:smtp"], imap: &["mail:imap_full"], ..one_scope(&[]) },
        smtp: ("smtp.yandex.com", 465, UpstreamTls::Implicit),
        imap: ("imap.yandex.com", 993, UpstreamTls::Implicit),
        ..PLAIN
    },
    Preset {
        name: "mailru",
        token_url: "https://o2.mail.ru/token",
        authorization_url: "https://o2.mail.ru/login",
        scopes: one_scope(&["mail.imap"]),
        smtp: ("smtp.mail.ru", 465, UpstreamTls::Implicit),
        imap: ("imap.mail.ru", 993, UpstreamTls::Implicit),
        ..PLAIN
    },
    Preset {
        name: "comcast",
        token_url: "https://oauth.xfinity.com/oauth/token",
        authorization_url: "https://oauth.xfinity.com/oauth/authorize",
        scopes: PresetScopes { person: &["profile", "openid"], ..one_scope(&["https://email.comcast.net/"]) },
        smtp: ("smtp.comcast.net", 587, UpstreamTls::StartTls),
        imap: ("imap.comcast.net", 993, UpstreamTls::Implicit),
        pop3: Some(("pop.comcast.net", 995, UpstreamTls::Implicit)),
        ..PLAIN
    },
];

/// One scope, whatever it is for.
const fn one_scope(scope: &'static [&'static str]) -> PresetScopes {
    PresetScopes { app: scope, smtp: scope, imap: scope, pop3: scope, person: &[] }
}

/// The preset of that name.
pub(super) fn named(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

/// The names of all presets.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|preset| preset.name)
}

impl Preset {
    /// The provider as it is without any change, under the name it has in the file.
    pub(super) fn provider(&self, name: &str) -> Provider {
        let server = |(host, port, tls): (&str, u16, UpstreamTls)| Server { host: host.into(), port, tls };
        let scopes = &self.scopes;
        let protocols = [(Protocol::Smtp, scopes.smtp), (Protocol::Imap, scopes.imap), (Protocol::Pop3, scopes.pop3)];
        Provider {
            name: name.into(),
            token_url: EndpointUrl(self.token_url.into()),
            authorization_url: Some(EndpointUrl(self.authorization_url.into())),
            device_authorization_url: self.device_authorization_url.map(|url| EndpointUrl(url.into())),
            grants: self.grants.to_vec(),
            sign_in_lives: self.sign_in_days.map(|days| Duration::from_secs(24 * 3600) * days),
            scopes: Scopes {
                app: owned(scopes.app),
                protocols: protocols.map(|(protocol, scopes)| (protocol, owned(scopes))).into(),
                person: owned(scopes.person),
            },
            smtp: Some(server(self.smtp)),
            imap: Some(server(self.imap)),
            pop3: self.pop3.map(server),
            smtp_extensions: owned(self.smtp_extensions),
            smtp_masked: owned(self.smtp_masked),
            imap_capabilities: owned(self.imap_capabilities),
            ca: Vec::new(),
        }
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_makes_its_urls() {
        for preset in &PRESETS {
            let provider = preset.provider(preset.name);
            let needs_tenant = preset.token_url.contains("{tenant}");
            let urls = [Some(&provider.token_url), provider.authorization_url.as_ref()];
            for url in urls.into_iter().chain([provider.device_authorization_url.as_ref()]).flatten() {
                assert_eq!(url.resolve(Some("contoso.com")).unwrap().scheme(), "https", "{}", preset.name);
                assert_eq!(url.resolve(None).is_none(), needs_tenant, "{}", preset.name);
            }
        }
    }

    #[test]
    fn every_preset_has_what_its_grants_need() {
        for preset in &PRESETS {
            let (name, grants) = (preset.name, preset.grants);
            assert_eq!(grants.contains(&"device-code"), preset.device_authorization_url.is_some(), "{name}");
            assert!(grants.contains(&"authorization-code") && !preset.authorization_url.is_empty(), "{name}");
            assert!(!preset.scopes.smtp.is_empty() && !preset.scopes.imap.is_empty(), "{name}");
            if grants.contains(&"client-credentials") {
                assert!(preset.scopes.app.iter().all(|scope| scope.ends_with("/.default")), "{name}");
            }
        }
    }
}
