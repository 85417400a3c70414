//! The upstream's EHLO reply as the downstream sees it (RFC 5321 section 4.1.1.1): without what is not for it.

use crate::proto::smtp::reply::ReplyLine;

/// Keywords that never pass. Login and TLS are done with; the rest would let the downstream speak to the upstream about
/// things this gateway does not understand, or with parameters of MAIL and RCPT that it does not pass on.
const HIDDEN: [&[u8]; 11] = [
    b"AUTH",
    b"STARTTLS",
    b"BURL",
    b"VERP",
    b"ETRN",
    b"ATRN",
    b"DELIVERBY",
    b"FUTURERELEASE",
    b"MT-PRIORITY",
    b"RRVS",
    b"SUBMITTER",
];

/// The lines that pass, in their order; the last one is marked as such. `chunking`: whether BDAT may be offered. `size`:
/// the largest message, where that is not the upstream's to say.
pub(super) fn filtered(lines: &[ReplyLine], masked: &[String], chunking: bool, size: Option<u64>) -> Vec<ReplyLine> {
    let is_hidden = |line: &ReplyLine| {
        let keyword = keyword(line);
        HIDDEN.iter().any(|hidden| keyword.eq_ignore_ascii_case(hidden))
            // XCLIENT, XFORWARD and every other private extension.
            || keyword.first().is_some_and(|first| first.eq_ignore_ascii_case(&b'X'))
            || (!chunking && keyword.eq_ignore_ascii_case(b"CHUNKING"))
            || masked.iter().any(|masked| keyword.eq_ignore_ascii_case(masked.as_bytes()))
    };
    let mut kept: Vec<ReplyLine> = Vec::with_capacity(lines.len());
    // The first line names the upstream, however that name may begin.
    kept.extend(lines.first().cloned());
    kept.extend(lines.iter().skip(1).filter(|line| !is_hidden(line)).cloned());
    let chunking = kept.iter().skip(1).any(|line| keyword(line).eq_ignore_ascii_case(b"CHUNKING"));
    if !chunking {
        // RFC 3030 section 3: BINARYMIME cannot be used without it.
        kept.retain(|line| !keyword(line).eq_ignore_ascii_case(b"BINARYMIME"));
    }
    if let Some(size) = size {
        tell_size(&mut kept, size);
    }
    let count = kept.len();
    for (at, line) in kept.iter_mut().enumerate() {
        line.last = at + 1 == count;
    }
    kept
}

/// MAIL goes upstream without its SIZE, so an upstream that has no such line need not be able to read it.
fn tell_size(lines: &mut Vec<ReplyLine>, size: u64) {
    let text = format!("SIZE {size}").into_bytes();
    let there = lines
        .iter_mut()
        .skip(1)
        .find(|line| keyword(line).eq_ignore_ascii_case(b"SIZE"));
    if let Some(line) = there {
        line.text = text;
    } else if let Some(first) = lines.first() {
        lines.push(ReplyLine { code: first.code, last: false, text });
    }
}

/// The first line alone: the answer to HELO (RFC 5321 section 4.1.1.1).
pub(super) fn collapsed(lines: &[ReplyLine]) -> Vec<ReplyLine> {
    lines
        .first()
        .map(|first| ReplyLine { last: true, ..first.clone() })
        .into_iter()
        .collect()
}

/// The keyword of an EHLO line; `=` ends it too, for the `AUTH=LOGIN` of old servers.
fn keyword(line: &ReplyLine) -> &[u8] {
    line.text
        .split(|octet| matches!(octet, b' ' | b'\t' | b'='))
        .next()
        .unwrap_or_default()
}
