//! From TOML to `RawConfig`: finds every key that is unknown or holds the wrong kind of value, not just the first.

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::raw::RawConfig;
use super::report::Report;

/// The file in its raw form, if all of it has the right shape.
pub(super) fn read(report: &mut Report<'_>) -> Option<RawConfig> {
    if !report.is_clean() {
        return None;
    }
    let mut tree = report.tree().clone();
    // What stood where one word of several has to be.
    let mut no_word = None;
    // serde stops at the first fault. Without the key at fault it finds the next one; each round removes one key.
    loop {
        match RawConfig::deserialize(Deserializer::from(tree.clone())) {
            Ok(raw) => return report.is_clean().then_some(raw),
            Err(fault) => {
                // serde names the words to whom gives a wrong one.
                if fault.message() == "wanted string or table"
                    && let Some(at) = fault.span()
                    && let Some(found) = blank(tree.get_mut(), at.start)
                {
                    no_word = Some(found);
                    continue;
                }
                let what = in_plain_words(fault.message(), no_word.take());
                let Some(at) = fault.span() else {
                    report.error_in_file("", what);
                    return None;
                };
                report.error(at.clone(), what);
                if !remove(tree.get_mut(), at.start) {
                    return None;
                }
            }
        }
    }
}

/// Puts an empty string in the place of the value that begins at an octet of the text; says what was there, if anything
/// was but text.
fn blank(table: &mut DeTable<'_>, at: usize) -> Option<&'static str> {
    table.iter_mut().find_map(|(_, value)| blank_value(value, at))
}

fn blank_value(value: &mut Spanned<DeValue<'_>>, at: usize) -> Option<&'static str> {
    let begins_here = value.span().start == at;
    let found = match value.get_mut() {
        DeValue::Table(table) => return blank(table, at),
        DeValue::Array(_) if begins_here => "an array",
        DeValue::Array(array) => return array.iter_mut().find_map(|element| blank_value(element, at)),
        DeValue::String(_) => return None,
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
    };
    begins_here.then(|| {
        *value.get_mut() = DeValue::String("".into());
        found
    })
}

/// Removes the key at an octet of the text: the one that is written there, else the innermost that it belongs to. Says
/// whether there was one.
fn remove(table: &mut DeTable<'_>, at: usize) -> bool {
    let written_here = table.keys().find(|key| key.span().start == at).cloned();
    if let Some(key) = written_here {
        return table.remove(&key).is_some();
    }
    let mut here = None;
    for (key, value) in table.iter_mut() {
        if remove_within(value.get_mut(), at) {
            return true;
        }
        if key.span().contains(&at) || value.span().contains(&at) {
            here = Some(key.clone());
        }
    }
    here.is_some_and(|key| table.remove(&key).is_some())
}

fn remove_within(value: &mut DeValue<'_>, at: usize) -> bool {
    match value {
        DeValue::Table(table) => remove(table, at),
        DeValue::Array(array) => array.iter_mut().any(|element| remove_within(element.get_mut(), at)),
        _ => false,
    }
}

/// Says what serde says as a person would, and without the value: it may be a secret.
fn in_plain_words(message: &str, no_word: Option<&str>) -> String {
    let Some((fault, expected)) = message.split_once(", expected ") else { return message.into() };
    let known = expected.trim_start_matches("one of ").replace(" or ", ", ").replace('`', "");
    if fault.starts_with("unknown field") {
        return format!("unknown key; known here: {known}");
    }
    if let Some(found) = no_word {
        return format!("must be one of {known}, in quotation marks, not {found}");
    }
    if let Some(word) = fault.strip_prefix("unknown variant ") {
        return format!("{} is not known here; known: {known}", word.replace('`', "\""));
    }
    if let Some(found) = fault.strip_prefix("invalid type: ") {
        let kind = found.split(['`', '"']).next().unwrap_or_default().trim_end();
        return format!("must be {}, not {}", expected_kind(expected), found_kind(kind));
    }
    message.into()
}

/// What serde expected, as TOML names it.
fn expected_kind(expected: &str) -> &str {
    match expected {
        "a sequence" => "an array ([[name]] where it is one of tables)",
        "a map" => "a table",
        name if name.starts_with("struct ") => "a table",
        other => other,
    }
}

/// What serde found, as TOML names it.
fn found_kind(serde_name: &str) -> &str {
    match serde_name {
        "integer" => "an integer",
        "string" => "a string",
        "boolean" => "a boolean",
        "floating point" => "a float",
        "sequence" => "an array",
        "map" => "a table",
        _ => "this",
    }
}
