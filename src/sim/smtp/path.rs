//! The arguments of MAIL and RCPT (RFC 5321 sections 4.1.1.2, 4.1.1.3 and 4.1.2), to the letter.

/// A path and what follows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PathAndParameters<'a> {
    /// Without the angle brackets.
    pub(super) path: &'a str,
    /// As they came, separated by single spaces.
    pub(super) parameters: &'a str,
}

impl<'a> PathAndParameters<'a> {
    /// Reads `FROM:<path> parameters`; `None` where it is anything else. No space may stand behind the colon.
    pub(super) fn parse(arguments: &'a str, keyword: &str) -> Option<Self> {
        let (before, rest) = arguments.split_at_checked(keyword.len())?;
        let rest = rest.strip_prefix(":<").filter(|_| before.eq_ignore_ascii_case(keyword))?;
        let end = closing_bracket(rest)?;
        let (path, rest) = (&rest[..end], &rest[end + 1..]);
        let parameters = if rest.is_empty() { "" } else { rest.strip_prefix(' ').filter(|rest| !rest.is_empty())? };
        let parsed = Self { path, parameters };
        (is_path(path) && parsed.pairs().all(|(name, value)| is_parameter(name, value))).then_some(parsed)
    }

    /// The parameters, each with its value where it has one.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        let words = self.parameters.split(' ').filter(|_| !self.parameters.is_empty());
        words.map(|word| word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value))))
    }

    /// The value of a parameter, without case.
    pub(super) fn value(&self, name: &str) -> Option<&'a str> {
        self.pairs()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .and_then(|(_, value)| value)
    }
}

/// Where the path ends: a bracket within quotes is part of the local part.
fn closing_bracket(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.bytes().position(|octet| match octet {
        _ if escaped => {
            escaped = false;
            false
        }
        b'\\' if quoted => {
            escaped = true;
            false
        }
        b'"' => {
            quoted = !quoted;
            false
        }
        b'>' => !quoted,
        _ => false,
    })
}

/// Empty, or a local part and a domain. Source routes are long gone.
fn is_path(path: &str) -> bool {
    let Some((local, domain)) = path.rsplit_once('@') else {
        return path.is_empty() || path.eq_ignore_ascii_case("postmaster");
    };
    let quoted = local.len() >= 2 && local.starts_with('"') && local.ends_with('"');
    let bare =
        |text: &str| !text.is_empty() && text.chars().all(|char| !char.is_control() && !" <>()\"\\,;".contains(char));
    (quoted || bare(local) && !local.contains('@')) && bare(domain)
}

/// RFC 5321's esmtp-keyword and esmtp-value.
fn is_parameter(name: &str, value: Option<&str>) -> bool {
    let keyword = name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '-');
    keyword
        && value.is_none_or(|value| !value.is_empty() && value.chars().all(|char| !char.is_control() && char != '='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_parameters_are_told_apart() {
        let parsed = PathAndParameters::parse("from:<a@b.example> SIZE=12 BODY=8BITMIME SMTPUTF8", "FROM").unwrap();
        assert_eq!(parsed.path, "a@b.example");
        assert_eq!(parsed.value("size"), Some("12"));
        assert_eq!(parsed.pairs().last(), Some(("SMTPUTF8", None)));
        assert_eq!(PathAndParameters::parse("FROM:<>", "FROM").unwrap().path, "");
        assert_eq!(PathAndParameters::parse("TO:<\"a>b\"@c.example>", "TO").unwrap().path, "\"a>b\"@c.example");
    }

    #[test]
    fn what_is_not_the_grammar_is_refused() {
        for bad in [
            "",
            "FROM",
            "FROM:",
            "FROM: <a@b>",
            "FROM:a@b",
            "FROM:<a@b",
            "FROM:<a@b>SIZE=1",
            "FROM:<a@b> ",
            "FROM:<a@b>  SIZE=1",
            "FROM:<a b@c>",
            "FROM:<a@b@c>",
            "FROM:<@x:a@b>",
            "FROM:<a@>",
            "FROM:<@b>",
            "FROM:<a@b> SIZE=",
            "FROM:<a@b> =1",
            "FROMM:<a@b>",
            "FROM:<<a@b>>",
        ] {
            assert_eq!(PathAndParameters::parse(bad, "FROM"), None, "{bad:?}");
        }
    }
}
