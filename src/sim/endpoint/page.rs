//! The pages a browser is shown. They are plain: a test reads them, or a real browser follows their links.

use std::fmt::Write as _;

use crate::sim::http::CannedAnswer;

/// A page with this title; `body` is HTML.
pub(super) fn page(status: u16, title: &str, body: &str) -> CannedAnswer {
    let title = escaped(title);
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body><h1>{title}</h1>\n{body}</body></html>\n"
    );
    CannedAnswer::new(status)
        .header("Cache-Control", "no-store")
        .body("text/html; charset=utf-8", html)
}

/// A page that says one thing.
pub(super) fn note(status: u16, title: &str, text: &str) -> CannedAnswer {
    page(status, title, &format!("<p>{}</p>\n", escaped(text)))
}

/// One link for each user, to `target` with the user's name behind it, and one that declines.
pub(super) fn choice(users: &[String], target: impl Fn(&str, &str) -> String) -> String {
    let mut links = String::new();
    for (number, user) in users.iter().enumerate() {
        let link = escaped(&target("sign_in_as", user));
        // Writing to a String cannot fail.
        let _ = writeln!(links, "<p><a id=\"user{number}\" href=\"{link}\">Sign in as {}</a></p>", escaped(user));
    }
    let _ = writeln!(links, "<p><a id=\"decline\" href=\"{}\">Cancel</a></p>", escaped(&target("decline", "yes")));
    links
}

/// Text as HTML shows it.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
