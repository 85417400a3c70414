//! Collects every fault in a file while it is read; finds the line, the column and the key by itself.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, ConfigErrors, Position};

/// The faults and remarks so far, and the file they are about.
pub(super) struct Report<'a> {
    file: &'a Path,
    text: &'a str,
    tree: Spanned<DeTable<'a>>,
    errors: Vec<ConfigError>,
    warnings: Vec<String>,
}

impl<'a> Report<'a> {
    /// Reads the text as TOML; what is no TOML is the first entry.
    pub(super) fn new(file: &'a Path, text: &'a str) -> Self {
        let (tree, faults) = DeTable::parse_recoverable(text);
        let mut report = Self { file, text, tree, errors: Vec::new(), warnings: Vec::new() };
        for fault in faults {
            let at = fault.span().unwrap_or(text.len()..text.len());
            let line = Some(Position::of(text, at.start).line);
            // One slip of the pen gives several faults on its line; the first one tells it best.
            if report.errors.last().and_then(|last| last.position).map(|last| last.line) == line {
                continue;
            }
            match fault.message() {
                "duplicate key" => report.error(at.clone(), format!("{} occurs twice in its table", &text[at])),
                message => {
                    let line = &text[text[..at.start].rfind('\n').map_or(0, |end| end + 1)..];
                    let what = in_plain_words(message, at.is_empty(), line.trim_start().starts_with("//"));
                    report.error(at, what);
                    // Where a list or an inline table has no end, all that follows is taken for a part of it.
                    if message.starts_with("missing comma") || message.starts_with("missing key for inline") {
                        break;
                    }
                }
            }
        }
        report
    }

    /// The file that is read.
    pub(super) const fn file(&self) -> &'a Path {
        self.file
    }

    /// How many faults there are so far.
    pub(super) const fn faults(&self) -> usize {
        self.errors.len()
    }

    /// The file as TOML, every key and value with its place.
    pub(super) const fn tree(&self) -> &Spanned<DeTable<'a>> {
        &self.tree
    }

    /// Notes a fault at a key or a value.
    pub(super) fn error(&mut self, at: Range<usize>, what: impl Into<String>) {
        let key = key_at(self.tree.get_ref(), at.start).unwrap_or_default().join(".");
        self.push(Some(at.start), key, what.into());
    }

    /// Notes that a table lacks a key.
    pub(super) fn missing(&mut self, table: Range<usize>, key: &str, right: &str) {
        let mut path = key_at(self.tree.get_ref(), table.start).unwrap_or_default();
        path.push(key);
        let key = path.join(".");
        self.push(Some(table.start), key, format!("missing; {right}"));
    }

    /// Notes a fault of the file as a whole.
    pub(super) fn error_in_file(&mut self, key: &str, what: impl Into<String>) {
        self.push(None, key.into(), what.into());
    }

    /// The value of a key that has to be there; its absence is noted.
    pub(super) fn required<'v, T>(
        &mut self,
        value: &'v Option<Spanned<T>>,
        table: Range<usize>,
        key: &str,
        right: &str,
    ) -> Option<&'v Spanned<T>> {
        if value.is_none() {
            self.missing(table, key, right);
        }
        value.as_ref()
    }

    /// Notes what is not wrong but should be known.
    pub(super) fn warn(&mut self, what: String) {
        self.warnings.push(what);
    }

    /// Notes what is not wrong but should be known, and where.
    pub(super) fn warn_at(&mut self, at: Range<usize>, what: &str) {
        let key = key_at(self.tree.get_ref(), at.start).unwrap_or_default().join(".");
        let line = Position::of(self.text, at.start).line;
        let what = format!("{}:{line}: {key}: {what}", self.file.display());
        self.warnings.push(what.replace(char::is_control, "?"));
    }

    /// Whether nothing is wrong so far.
    pub(super) const fn is_clean(&self) -> bool {
        self.errors.is_empty()
    }

    /// The remarks, or the faults if there is one.
    pub(super) fn finish(self) -> Result<Vec<String>, ConfigErrors> {
        if self.is_clean() { Ok(self.warnings) } else { Err(self.into_errors()) }
    }

    /// The faults.
    pub(super) fn into_errors(self) -> ConfigErrors {
        ConfigErrors::new(self.errors)
    }

    fn push(&mut self, at: Option<usize>, key: String, what: String) {
        let position = at.map(|at| Position::of(self.text, at));
        // What the file says may be in both; neither may end its line.
        let [key, what] = [key, what].map(|text| text.replace(char::is_control, "?"));
        self.errors.push(ConfigError { file: self.file.into(), position, key, what });
    }
}

/// Says what the parser says of text that is no TOML as a person would. `is_nothing`: nothing stands there.
/// `is_remark`: it is in a remark of another language.
fn in_plain_words(message: &str, is_nothing: bool, is_remark: bool) -> String {
    const NUMBERS: [&str; 8] = [
        "invalid date",
        "invalid float",
        "invalid fraction",
        "invalid integer",
        "invalid mantissa",
        "invalid time",
        "unexpected leading zero",
        "`_` may only go",
    ];
    let says = |what: &str| message.starts_with(what);
    let what = if is_remark {
        "a remark begins with # here"
    } else if says("string values must be quoted") && is_nothing {
        "no value behind the ="
    } else if says("string values must be quoted") {
        "text must stand in quotation marks, as in \"auto\""
    } else if NUMBERS.iter().any(|number| says(number)) {
        "neither a number nor a date; anything else must stand in quotation marks, as in \"127.0.0.1:1587\""
    } else if says("invalid boolean") {
        "neither true nor false, which are written in small letters; text must stand in quotation marks"
    } else if says("key with no value") {
        "no = behind the key; write key = value"
    } else if says("unclosed table") || says("unclosed array table") {
        "the header does not end; write [name], or [[name]] where there may be several"
    } else if says("invalid basic string") || says("invalid literal string") {
        "the text does not end; close it on its line with the quotation mark that it begins with"
    } else if says("missing comma between array") {
        "no comma before the next one, or no ] at the end of the list"
    } else if says("missing comma") || says("extra assignment between") {
        "no comma before the next one, or no } at the end of the table"
    } else if says("missing key for inline") {
        "no } at the end of the table"
    } else if says("unclosed array") {
        "the list does not end; close it with ]"
    } else if says("unclosed inline table") {
        "the table does not end; close it with }"
    } else if says("unexpected key or value") {
        "something follows the value; text must stand in quotation marks from its beginning to its end"
    } else if says("too few unicode value digits") || says("missing escaped value") {
        "a \\ between \"\" begins an escape; put text with \\ between ''"
    } else if says("invalid unquoted key") || says("unquoted keys cannot be empty") {
        "no key; it is made of letters, digits, - and _"
    } else if says("invalid key-value pair") {
        "no key; the file is TOML, with lines of key = value below headers as [log]"
    } else {
        message
    };
    what.into()
}

/// The names that lead to what stands at an octet of the text. Tables of an array share their array's name.
fn key_at<'t>(table: &'t DeTable<'_>, at: usize) -> Option<Vec<&'t str>> {
    if let Some((key, _)) = table.iter().find(|(key, _)| key.span().start == at) {
        return Some(vec![key.get_ref()]);
    }
    table.iter().find_map(|(key, value)| {
        let inner = key_in(value.get_ref(), at);
        let here = || (key.span().contains(&at) || value.span().contains(&at)).then(Vec::new);
        let mut path = inner.or_else(here)?;
        path.insert(0, key.get_ref());
        Some(path)
    })
}

fn key_in<'t>(value: &'t DeValue<'_>, at: usize) -> Option<Vec<&'t str>> {
    match value {
        DeValue::Table(table) => key_at(table, at),
        DeValue::Array(array) => array.iter().find_map(|element| {
            let inner = key_in(element.get_ref(), at);
            inner.or_else(|| element.span().contains(&at).then(Vec::new))
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str, at: &str) -> String {
        let tree = DeTable::parse(text).unwrap();
        key_at(tree.get_ref(), text.find(at).unwrap()).unwrap_or_default().join(".")
    }

    #[test]
    fn a_key_is_found_by_its_place() {
        let text =
            "top = 'v'\n[app.x]\nsmtp = { host = 'h' }\n[[listener]]\nbind = ['a', 'b']\n[[listener]]\nname = 'n'\n";
        for (at, found) in [
            ("top", "top"),
            ("'v'", "top"),
            ("[app.x]", "app.x"),
            ("host", "app.x.smtp.host"),
            ("'h'", "app.x.smtp.host"),
            ("[[listener]]", "listener"),
            ("'b'", "listener.bind"),
            ("'n'", "listener.name"),
        ] {
            assert_eq!(key(text, at), found, "{at}");
        }
    }
}
