//! `[upstream] proxy`: where an HTTP proxy is that opens tunnels to the providers.

use toml::Spanned;
use url::{Host, Url};

use super::raw::RawSecrets;
use super::resolve::Resolver;
use super::{ConnectProxy, secrets};
use crate::secret::SecretText;

/// What it looks like, for messages.
const RIGHT: &str = "it must be as in \"http://proxy.example:3128\", or \"http://user:password@proxy.example:3128\"";

/// The proxy. What is wrong is said without its value, which may hold a password.
pub(super) fn resolve(key: Spanned<RawSecrets>, resolver: &mut Resolver<'_>) -> Option<ConnectProxy> {
    let at = key.span();
    let url = secrets::single(key, resolver)?.read().ok()?;
    proxy(&url).map_err(|what| resolver.report.error(at, what)).ok()
}

fn proxy(url: &SecretText) -> Result<ConnectProxy, String> {
    let Ok(url) = Url::parse(url.expose()) else { return Err(format!("no URL; {RIGHT}")) };
    if url.scheme() != "http" {
        return Err(format!("must begin with http://: the connection to the proxy itself is in clear; {RIGHT}"));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("must end with the port; {RIGHT}"));
    }
    let host = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => return Err(format!("no host; {RIGHT}")),
    };
    let port = url.port_or_known_default().filter(|port| *port != 0);
    let port = port.ok_or_else(|| format!("no port; {RIGHT}"))?;
    Ok(ConnectProxy { host, port, credentials: credentials(&url)? })
}

/// `user:password` as Basic authentication sends it (RFC 7617 section 2): a colon in the user's name would move the
/// border between them.
fn credentials(url: &Url) -> Result<Option<SecretText>, String> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let user = percent_decoded(url.username()).filter(|user| !user.contains(':'));
    let password = percent_decoded(url.password().unwrap_or_default());
    let usable = |text: &String| !text.contains(char::is_control);
    match user.filter(usable).zip(password.filter(usable)) {
        Some((user, password)) => Ok(Some(SecretText::new(format!("{user}:{password}")))),
        None => Err("no user name and password that Basic authentication can carry; write what is not a letter or \
                     digit in them as %XX"
            .into()),
    }
}

/// A text without its `%XX` (RFC 3986 section 2.1), if it is UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((octet, behind)) = rest.split_first() {
        match (octet, behind.split_at_checked(2)) {
            (b'%', Some((digits, behind))) => {
                // `from_str_radix` would take a sign.
                let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
                octets.push(u8::from_str_radix(digits, 16).ok()?);
                rest = behind;
            }
            (b'%', None) => return None,
            (octet, _) => {
                octets.push(*octet);
                rest = behind;
            }
        }
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Result<(String, u16, Option<String>), String> {
        let proxy = proxy(&SecretText::new(url.into()))?;
        Ok((proxy.host, proxy.port, proxy.credentials.map(|credentials| credentials.expose().to_owned())))
    }

    #[test]
    fn where_it_is() {
        for (url, host, port, credentials) in [
            ("http://proxy.example:3128", "proxy.example", 3128, None),
            ("http://proxy.example/", "proxy.example", 80, None),
            ("http://10.0.0.9:8080/", "10.0.0.9", 8080, None),
            ("http://[::1]:3128", "::1", 3128, None),
            ("http://me:s3cret@proxy.example:3128", "proxy.example", 3128, Some("me:s3cret")),
            ("http://me@proxy.example:3128", "proxy.example", 3128, Some("me:")),
            ("http://d%5Cme:a%3ab%40%C3%A9+@p:1", "p", 1, Some("d\\me:a:b@é+")),
        ] {
            assert_eq!(of(url), Ok((host.into(), port, credentials.map(str::to_owned))), "{url}");
        }
    }

    #[test]
    fn what_is_none_is_refused_without_its_password() {
        for bad in [
            "",
            "proxy.example:3128",
            "https://me:s3cret@proxy.example:3128",
            "socks5://me:s3cret@proxy.example",
            "http://me:s3cret@proxy.example:70000",
            "http://me:s3cret@proxy.example:0",
            "http://me:s3cret@proxy.example/path",
            "http://me:s3cret@proxy.example?q",
            "http://m%3ae:s3cret@proxy.example",
            "http://me:s3cret%0d%0aX@proxy.example",
            "http://me:s3cret%+d@proxy.example",
            "http://me:s3cret%zz@proxy.example",
            "http://me:s3cret%ff@proxy.example",
        ] {
            let what = of(bad).unwrap_err();
            assert!(!what.contains("s3cret"), "{what}");
        }
    }
}
