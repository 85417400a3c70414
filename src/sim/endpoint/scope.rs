//! What a token is asked for, and what that opens.

use crate::sim::{Personality, Protocol};

/// What the identity provider itself takes for a scope (OpenID Connect Core sections 5.4 and 11).
const PERSON: [&str; 4] = ["openid", "email", "profile", "offline_access"];

/// Google's one scope for mail.
pub(super) const GMAIL: &str = "https://mail.google.com/";

/// What Exchange Online calls the right to a protocol, behind the resource's URL.
const EXCHANGE: [(Protocol, &str); 3] = [
    (Protocol::Smtp, "/SMTP.Send"),
    (Protocol::Imap, "/IMAP.AccessAsUser.All"),
    (Protocol::Pop3, "/POP.AccessAsUser.All"),
];

/// Why scopes cannot be had.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// There is none, or one is unknown.
    Unknown,
    /// They are of more than one resource, of which a token is for one only.
    SeveralResources,
}

/// Reads scopes that are asked for in a person's name.
pub(super) fn of_a_person(personality: Personality, text: &str) -> Result<Vec<String>, Unfit> {
    let scopes: Vec<String> = text.split(' ').map(String::from).collect();
    let is_known = |scope: &&str| match personality {
        Personality::Microsoft => resource(scope).is_some(),
        Personality::Gmail => *scope == GMAIL,
        Personality::Dovecot => !scope.is_empty(),
    };
    let mail: Vec<_> = scopes
        .iter()
        .map(String::as_str)
        .filter(|scope| !PERSON.contains(scope))
        .collect();
    if !mail.iter().all(is_known) {
        return Err(Unfit::Unknown);
    }
    if personality == Personality::Microsoft && mail.iter().any(|scope| resource(scope) != resource(mail[0])) {
        return Err(Unfit::SeveralResources);
    }
    Ok(scopes)
}

/// The resource of one of Exchange's scopes.
fn resource(scope: &str) -> Option<&str> {
    let resource = EXCHANGE.iter().find_map(|(_, right)| scope.strip_suffix(right))?;
    resource.starts_with("https://").then_some(resource)
}

/// Whether a person's token with these scopes opens a protocol.
pub(super) fn open(personality: Personality, scopes: &[String], protocol: Protocol) -> bool {
    match personality {
        Personality::Microsoft => {
            let right = EXCHANGE.iter().find(|(of, _)| *of == protocol).map(|(_, right)| *right);
            right.is_some_and(|right| scopes.iter().any(|scope| scope.ends_with(right)))
        }
        Personality::Gmail => scopes.iter().any(|scope| scope == GMAIL),
        Personality::Dovecot => true,
    }
}

/// Whether all of `wanted` was granted. Microsoft needs no consent to say who somebody is.
pub(super) fn are_within(personality: Personality, wanted: &[String], granted: &[String]) -> bool {
    let free = |scope: &String| personality == Personality::Microsoft && PERSON.contains(&scope.as_str());
    wanted.iter().all(|scope| granted.contains(scope) || free(scope))
}

/// What an answer says was granted.
pub(super) fn shown(scopes: &[String]) -> String {
    let shown = scopes.iter().map(String::as_str).filter(|&scope| scope != "offline_access");
    shown.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchange_knows_three_rights_of_one_resource() {
        let read = |text| of_a_person(Personality::Microsoft, text);
        let both = "https://outlook.office.com/SMTP.Send https://outlook.office.com/IMAP.AccessAsUser.All openid";
        let scopes = read(both).unwrap();
        assert_eq!(scopes.len(), 3);
        let opened = [Protocol::Smtp, Protocol::Imap, Protocol::Pop3]
            .map(|protocol| open(Personality::Microsoft, &scopes, protocol));
        assert_eq!(opened, [true, true, false]);
        assert_eq!(shown(&read("openid offline_access").unwrap()), "openid");
        for bad in ["", "https://outlook.office.com/Mail.Send", "SMTP.Send", "openid  email", GMAIL] {
            assert_eq!(read(bad), Err(Unfit::Unknown), "{bad}");
        }
        let two = "https://outlook.office.com/SMTP.Send https://outlook.office365.com/SMTP.Send";
        assert_eq!(read(two), Err(Unfit::SeveralResources));
    }

    #[test]
    fn google_has_one_scope_for_mail() {
        assert_eq!(of_a_person(Personality::Gmail, "https://mail.google.com"), Err(Unfit::Unknown));
        let scopes = of_a_person(Personality::Gmail, "openid https://mail.google.com/").unwrap();
        assert!(open(Personality::Gmail, &scopes, Protocol::Pop3));
        assert!(!open(Personality::Gmail, &scopes[..1], Protocol::Pop3));
        let within = |wanted: &[String], granted: &[String]| are_within(Personality::Gmail, wanted, granted);
        assert!(within(&scopes[1..], &scopes) && !within(&scopes, &scopes[1..]));
        assert!(are_within(Personality::Microsoft, &scopes[..1], &[]));
    }
}
