//! The providers everybody uses, as data.

use super::{EndpointUrl, Provider, Scopes, Server, UpstreamTls};

/// A provider that needs no table in the file.
pub(super) struct Preset {
    name: &'static str,
    token_url: &'static str,
    scopes: &'static [&'static str],
    smtp: (&'static str, u16, UpstreamTls),
    imap: (&'static str, u16, UpstreamTls),
    pop3: (&'static str, u16, UpstreamTls),
    smtp_extensions: &'static [&'static str],
    smtp_masked: &'static [&'static str],
    imap_capabilities: &'static [&'static str],
}

/// Google's token endpoint: it serves no client credentials for mail.
pub(super) const GOOGLE_TOKEN_URL: &str = "https://oauth2.googleapis.com/token";

/// All of them.
const PRESETS: [Preset; 2] = [
    Preset {
        name: "microsoft",
        token_url: "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token",
        scopes: &["https://outlook.office365.com/.default"],
        smtp: ("smtp.office365.com", 587, UpstreamTls::StartTls),
        imap: ("outlook.office365.com", 993, UpstreamTls::Implicit),
        pop3: ("outlook.office365.com", 995, UpstreamTls::Implicit),
        smtp_extensions: &["DSN", "CHUNKING", "BINARYMIME"],
        // Offered, and then answered with "502 5.3.3 Command not implemented" at MAIL.
        smtp_masked: &["SMTPUTF8"],
        imap_capabilities: &["IDLE", "NAMESPACE", "UIDPLUS", "UNSELECT"],
    },
    Preset {
        name: "google",
        token_url: GOOGLE_TOKEN_URL,
        scopes: &["https://mail.google.com/"],
        smtp: ("smtp.gmail.com", 587, UpstreamTls::StartTls),
        imap: ("imap.gmail.com", 993, UpstreamTls::Implicit),
        pop3: ("pop.gmail.com", 995, UpstreamTls::Implicit),
        smtp_extensions: &["CHUNKING", "SMTPUTF8"],
        smtp_masked: &[],
        imap_capabilities: &["IDLE", "NAMESPACE", "UIDPLUS", "UNSELECT"],
    },
];

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
        let server = |(host, port, tls): (&str, u16, UpstreamTls)| Some(Server { host: host.into(), port, tls });
        Provider {
            name: name.into(),
            token_url: EndpointUrl(self.token_url.into()),
            authorization_url: None,
            device_authorization_url: None,
            scopes: Scopes { app: owned(self.scopes), ..Scopes::default() },
            smtp: server(self.smtp),
            imap: server(self.imap),
            pop3: server(self.pop3),
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
    fn every_preset_makes_a_token_url() {
        for preset in &PRESETS {
            let provider = preset.provider(preset.name);
            let url = provider.token_url.resolve(Some("contoso.com")).unwrap();
            assert_eq!(url.scheme(), "https");
            assert_eq!(provider.token_url.resolve(None).is_some(), !preset.token_url.contains("{tenant}"));
        }
    }
}
