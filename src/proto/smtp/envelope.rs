//! What follows MAIL and RCPT (RFC 5321 sections 4.1.1.2, 4.1.1.3, 4.1.2): read leniently, written strictly.
//!
//! Devices write `FROM: <a@b>`, `FROM: a@b` and worse; what goes upstream is always `FROM:<a@b>`, so that no upstream
//! reads another address than this file did.

use thiserror::Error;

/// The longest address taken, in octets: twice what RFC 5321 section 4.5.3.1.3 asks for, because rewritten senders (SRS,
/// BATV) are long.
pub const MAX_ADDRESS: usize = 512;

/// The parameters that pass (RFC 1870, 3030, 3461, 6152, 6531, 8689). The others are not for a device to say: some tell
/// the upstream who submits (`SUBMITTER`, `XOORG`), some when and how fast it is to deliver.
const PARAMETERS: [&[u8]; 8] = [b"BODY", b"SMTPUTF8", b"RET", b"ENVID", b"NOTIFY", b"ORCPT", b"SIZE", b"REQUIRETLS"];

/// A path without its angle brackets and without a source route (RFC 5321 appendix C lets servers drop that).
///
/// Empty is the null reverse-path `<>`. There is no control octet, white space outside quotes or angle bracket in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(Vec<u8>);

/// One ESMTP parameter: `KEYWORD` or `KEYWORD=value` (RFC 5321 section 4.1.2), as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter(Vec<u8>);

/// What MAIL or RCPT says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Whose command it was.
    pub side: Side,
    /// The sender or the recipient.
    pub path: Path,
    /// The parameters in the order they came, without AUTH: it names an identity that is not the upstream's business
    /// (RFC 4954 section 5).
    pub parameters: Vec<Parameter>,
}

/// Which of the two envelope commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// `MAIL FROM:`
    Sender,
    /// `RCPT TO:`
    Recipient,
}

/// Why an envelope command cannot be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EnvelopeError {
    /// `FROM:` or `TO:` is missing.
    #[error("FROM: or TO: is missing")]
    Keyword,
    /// The address is none, too long, or holds what an address must not.
    #[error("bad address syntax")]
    Address,
    /// A parameter is malformed.
    #[error("bad parameter syntax")]
    Parameter,
    /// A parameter is none of those that pass.
    #[error("parameter not supported")]
    Unsupported,
}

impl Side {
    /// The command's verb.
    #[must_use]
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Sender => "MAIL",
            Self::Recipient => "RCPT",
        }
    }

    /// The keyword between verb and colon.
    #[must_use]
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Sender => "FROM",
            Self::Recipient => "TO",
        }
    }
}

impl Envelope {
    /// Reads what follows the verb, without the line's end.
    ///
    /// # Errors
    /// When it cannot be read in exactly one way, or says what may not pass.
    pub fn parse(side: Side, arguments: &[u8]) -> Result<Self, EnvelopeError> {
        if !is_text(arguments) {
            return Err(EnvelopeError::Address);
        }
        let arguments = arguments.trim_ascii();
        let (keyword, rest) = arguments.split_at_checked(side.keyword().len()).ok_or(EnvelopeError::Keyword)?;
        if !keyword.eq_ignore_ascii_case(side.keyword().as_bytes()) {
            return Err(EnvelopeError::Keyword);
        }
        let rest = rest
            .trim_ascii_start()
            .strip_prefix(b":")
            .ok_or(EnvelopeError::Keyword)?
            .trim_ascii_start();
        let (path, rest) = Path::parse(rest)?;
        if path.is_null() && side == Side::Recipient {
            return Err(EnvelopeError::Address);
        }
        Ok(Self { side, path, parameters: parameters(rest)? })
    }

    /// Appends the command in its canonical form, the line's end included.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.side.verb().as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.side.keyword().as_bytes());
        out.extend_from_slice(b":<");
        out.extend_from_slice(self.path.as_bytes());
        out.push(b'>');
        for Parameter(parameter) in &self.parameters {
            out.push(b' ');
            out.extend_from_slice(parameter);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Whether a parameter of this name is there; names are compared without case.
    #[must_use]
    pub fn has(&self, keyword: &str) -> bool {
        self.parameters
            .iter()
            .any(|parameter| parameter.keyword().eq_ignore_ascii_case(keyword.as_bytes()))
    }

    /// Takes SIZE out (RFC 1870): what goes upstream may be longer or shorter than what the downstream announces. Says
    /// what was announced, in octets; 0 for nothing.
    pub fn take_size(&mut self) -> u64 {
        let mut announced = 0;
        self.parameters.retain(|parameter| {
            let (keyword, value) = parameter.halves();
            let is_size = keyword.eq_ignore_ascii_case(b"SIZE");
            if let Some(value) = value.filter(|_| is_size) {
                announced = octets(value);
            }
            !is_size
        });
        announced
    }

    /// Puts another address in place of the path; one that is no address is not taken.
    pub fn replace_path(&mut self, address: &str) {
        if is_mailbox(address.as_bytes()) {
            self.path = Path(address.as_bytes().to_vec());
        }
    }

    /// Whether anything in it is not ASCII, which only SMTPUTF8 allows (RFC 6531 section 3.4).
    #[must_use]
    pub fn is_international(&self) -> bool {
        !self.path.0.is_ascii() || self.parameters.iter().any(|parameter| !parameter.0.is_ascii())
    }
}

impl Path {
    /// The address as sent, or nothing for the null reverse-path.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is `<>`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.0.is_empty()
    }

    /// Cuts a path, bracketed or bare, from the front; what follows it is returned too.
    fn parse(text: &[u8]) -> Result<(Self, &[u8]), EnvelopeError> {
        let (inside, rest) = match text.strip_prefix(b"<") {
            Some(text) => {
                let end = unquoted_end(text, |octet| octet == b'>').ok_or(EnvelopeError::Address)?;
                (text[..end].trim_ascii(), &text[end + 1..])
            }
            None => {
                let end = unquoted_end(text, |octet| octet.is_ascii_whitespace()).unwrap_or(text.len());
                // A bare nothing is a forgotten address; only `<>` says that there is none on purpose.
                if end == 0 {
                    return Err(EnvelopeError::Address);
                }
                text.split_at(end)
            }
        };
        if !rest.is_empty() && !rest[0].is_ascii_whitespace() {
            return Err(EnvelopeError::Address);
        }
        let mailbox = without_source_route(inside)?;
        if !inside.is_empty() && !is_mailbox(mailbox) {
            return Err(EnvelopeError::Address);
        }
        Ok((Self(mailbox.to_vec()), rest))
    }
}

impl Parameter {
    fn keyword(&self) -> &[u8] {
        self.halves().0
    }

    /// RFC 5321 section 4.1.2 `esmtp-param`; that the value is printable is known already.
    fn is_well_formed(&self) -> bool {
        let (keyword, value) = self.halves();
        keyword.first().is_some_and(u8::is_ascii_alphanumeric)
            && keyword.iter().all(|&octet| octet.is_ascii_alphanumeric() || octet == b'-')
            && value.is_none_or(|value| !value.is_empty() && !value.contains(&b'='))
    }

    fn halves(&self) -> (&[u8], Option<&[u8]>) {
        match self.0.iter().position(|octet| *octet == b'=') {
            Some(at) => (&self.0[..at], Some(&self.0[at + 1..])),
            None => (&self.0, None),
        }
    }
}

/// A size. What is no number announces nothing; what is too long for one, more than there can be.
fn octets(value: &[u8]) -> u64 {
    let digits = std::str::from_utf8(value)
        .ok()
        .filter(|value| value.bytes().all(|octet| octet.is_ascii_digit()));
    digits.map_or(0, |digits| digits.parse().unwrap_or(u64::MAX))
}

/// Where the first octet lies that `ends` the text outside a quoted string.
fn unquoted_end(text: &[u8], ends: impl Fn(u8) -> bool) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    text.iter().position(|&octet| {
        let found = !quoted && ends(octet);
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            _ => {}
        }
        found
    })
}

/// Drops `@one,@two:` in front of a mailbox (RFC 5321 section 4.1.1.3: servers ignore it).
fn without_source_route(path: &[u8]) -> Result<&[u8], EnvelopeError> {
    if !path.starts_with(b"@") {
        return Ok(path);
    }
    let colon = path.iter().position(|octet| *octet == b':').ok_or(EnvelopeError::Address)?;
    let hops = path[..colon].split(|octet| *octet == b',');
    let all_domains = hops
        .map(<[u8]>::trim_ascii)
        .all(|hop| hop.strip_prefix(b"@").is_some_and(is_domain));
    if all_domains { Ok(path[colon + 1..].trim_ascii_start()) } else { Err(EnvelopeError::Address) }
}

/// A local part with or without a domain: `Postmaster` alone is an address (RFC 5321 section 4.1.1.3).
fn is_mailbox(mailbox: &[u8]) -> bool {
    mailbox.len() <= MAX_ADDRESS
        && match unquoted_end(mailbox, |octet| octet == b'@') {
            Some(at) => is_local_part(&mailbox[..at]) && is_domain(&mailbox[at + 1..]),
            None => is_local_part(mailbox),
        }
}

/// Atoms and dots, or one quoted string. Dots may stand anywhere: HPE iLO sends `local.@example.com`.
fn is_local_part(local: &[u8]) -> bool {
    match local {
        [b'"', inside @ .., b'"'] => is_quoted_content(inside),
        _ => !local.is_empty() && local.iter().all(|&octet| is_atext(octet) || octet == b'.'),
    }
}

/// RFC 5321 section 4.1.2 `QcontentSMTP`, without angle brackets: allowed there, but read differently by different servers.
fn is_quoted_content(mut inside: &[u8]) -> bool {
    loop {
        inside = match inside {
            [] => return true,
            [b'\\', escaped, rest @ ..] if is_quotable(*escaped) => rest,
            [b'\\' | b'"', ..] => return false,
            [octet, rest @ ..] if is_quotable(*octet) || !octet.is_ascii() => rest,
            _ => return false,
        }
    }
}

const fn is_quotable(octet: u8) -> bool {
    matches!(octet, b' '..=b'~') && !matches!(octet, b'<' | b'>')
}

/// RFC 5322 section 3.2.3, and UTF-8 by RFC 6531 section 3.3.
const fn is_atext(octet: u8) -> bool {
    octet.is_ascii_alphanumeric()
        || !octet.is_ascii()
        || matches!(
            octet,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'/'
                | b'='
                | b'?'
                | b'^'
                | b'_'
                | b'`'
                | b'{'
                | b'|'
                | b'}'
                | b'~'
        )
}

/// A name or an address literal. Names are not held to the rules of DNS: devices are called `scan_3-.lan`.
fn is_domain(domain: &[u8]) -> bool {
    match domain {
        [b'[', literal @ .., b']'] => {
            !literal.is_empty()
                && literal
                    .iter()
                    .all(|&octet| octet.is_ascii_alphanumeric() || b".:-".contains(&octet))
        }
        _ => {
            !domain.is_empty()
                && domain.iter().all(|&octet| {
                    octet.is_ascii_alphanumeric() || !octet.is_ascii() || matches!(octet, b'.' | b'-' | b'_')
                })
        }
    }
}

/// The parameters behind a path, AUTH left out: `AUTH=<>`, `AUTH=a@b` and a bare `AUTH=` alike.
fn parameters(text: &[u8]) -> Result<Vec<Parameter>, EnvelopeError> {
    let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let mut parameters = Vec::new();
    for parameter in words.map(|word| Parameter(word.to_vec())) {
        if parameter.keyword().eq_ignore_ascii_case(b"AUTH") {
            continue;
        }
        if !parameter.is_well_formed() {
            return Err(EnvelopeError::Parameter);
        }
        if !PARAMETERS.iter().any(|known| parameter.keyword().eq_ignore_ascii_case(known)) {
            return Err(EnvelopeError::Unsupported);
        }
        parameters.push(parameter);
    }
    Ok(parameters)
}

/// UTF-8 without control characters. A tab is white space; a CR here would be a line's end to some upstream.
fn is_text(octets: &[u8]) -> bool {
    std::str::from_utf8(octets).is_ok_and(|text| !text.chars().any(|char| char.is_control() && char != '\t'))
}

#[cfg(test)]
mod tests;
