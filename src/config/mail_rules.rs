//! What a login's mail may be and what is done to it: `rate`, `recipients`, `sender` and what goes with it.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use super::raw::{RawLogin, RawSender};
use super::resolve::Resolver;
use super::{MailRules, Protocol, Rate, Recipients, SenderRule, units};

/// The most messages a rate may name.
const MOST_MESSAGES: u64 = 1_000_000;

/// The longest name in From, in octets: encoded, it still fits on lines that every server takes.
const LONGEST_NAME: usize = 128;

/// What a device without a password may send: 60 messages an hour.
const RATE_WITHOUT_PASSWORD: Rate = Rate { messages: 60, within: Duration::from_secs(3600) };

/// The rules of a login of `address` that may speak `protocols`.
pub(super) fn resolve(
    raw: RawLogin,
    address: Option<&str>,
    protocols: &[Protocol],
    by_address: bool,
    resolver: &mut Resolver<'_>,
) -> MailRules {
    if !protocols.contains(&Protocol::Smtp) {
        for at in places(&raw) {
            let what = "is about mail that is sent, and this login may not speak smtp; leave it out, or add smtp to \
                        protocols";
            resolver.report.error(at, what);
        }
    }
    let RawLogin { rate: raw_rate, recipients: raw_recipients, sender, from_name, reply_to, .. } = raw;
    let rate = raw_rate.and_then(|text| rate(&text, resolver));
    let rate = if by_address { rate.or(Some(RATE_WITHOUT_PASSWORD)) } else { rate };
    MailRules {
        rate,
        recipients: raw_recipients.map(|list| recipients(list, resolver)),
        sender: sender_rule(sender, from_name, reply_to, address, resolver),
        lone_lf_ends_message: raw.lone_lf_ends_message.is_some_and(Spanned::into_inner),
    }
}

/// Where the keys stand that are about mail that is sent.
fn places(raw: &RawLogin) -> Vec<Range<usize>> {
    let RawLogin { rate, recipients, sender, from_name, reply_to, lone_lf_ends_message, .. } = raw;
    let places = [
        rate.as_ref().map(Spanned::span),
        recipients.as_ref().map(Spanned::span),
        sender.as_ref().map(Spanned::span),
        from_name.as_ref().map(Spanned::span),
        reply_to.as_ref().map(Spanned::span),
        lone_lf_ends_message.as_ref().map(Spanned::span),
    ];
    places.into_iter().flatten().collect()
}

fn rate(text: &Spanned<String>, resolver: &mut Resolver<'_>) -> Option<Rate> {
    let fault = match units::rate(text.get_ref()) {
        Some((messages @ 1..=MOST_MESSAGES, within)) => {
            return u32::try_from(messages).ok().map(|messages| Rate { messages, within });
        }
        Some(_) => format!("must be 1 to {MOST_MESSAGES} messages"),
        None => format!("no rate; it must be {}", units::RATE),
    };
    resolver.report.error(text.span(), fault);
    None
}

fn recipients(list: Spanned<Vec<Spanned<String>>>, resolver: &mut Resolver<'_>) -> Vec<Recipients> {
    if list.get_ref().is_empty() {
        let what = "must not be empty: it could write to nobody; leave it out to allow any recipient";
        resolver.report.error(list.span(), what);
    }
    let mut recipients = Vec::with_capacity(list.get_ref().len());
    for text in list.into_inner() {
        let lower = text.get_ref().to_ascii_lowercase();
        match lower.strip_prefix('@') {
            Some(domain) if units::is_host_name(domain) => recipients.push(Recipients::Domain(domain.to_owned())),
            None if units::is_plain_address(&lower) => recipients.push(Recipients::Address(lower)),
            _ => {
                let what = "no recipient; it must be an address, as in \"it@contoso.com\", or all of a domain, as in \
                            \"@contoso.com\"";
                resolver.report.error(text.span(), what);
            }
        }
    }
    recipients
}

fn sender_rule(
    sender: Option<Spanned<RawSender>>,
    from_name: Option<Spanned<String>>,
    reply_to: Option<Spanned<String>>,
    address: Option<&str>,
    resolver: &mut Resolver<'_>,
) -> SenderRule {
    let rule = sender.as_ref().map_or(RawSender::Keep, |sender| *sender.get_ref());
    if let Some(sender) = &sender
        && rule != RawSender::Keep
        && let Some(address) = address.filter(|address| !units::is_plain_address(address))
    {
        let what = format!("must be \"keep\": {address} cannot be written as a sender");
        resolver.report.error(sender.span(), what);
    }
    if rule != RawSender::Force {
        for key in [&from_name, &reply_to].into_iter().flatten() {
            let what = "changes the header, which only sender = \"force\" does; set that, or leave this out";
            resolver.report.error(key.span(), what);
        }
    }
    let from_name = from_name.and_then(|name| {
        let text = name.get_ref().trim();
        if text.is_empty() || text.len() > LONGEST_NAME || text.contains(char::is_control) {
            let what = format!("no name; it must be 1 to {LONGEST_NAME} octets without control characters");
            resolver.report.error(name.span(), what);
            return None;
        }
        Some(text.to_owned())
    });
    let reply_to = reply_to.and_then(|reply_to| {
        if units::is_plain_address(reply_to.get_ref()) {
            return Some(reply_to.into_inner());
        }
        let what = "no address; it must be as in \"it@contoso.com\"";
        resolver.report.error(reply_to.span(), what);
        None
    });
    match rule {
        RawSender::Keep => SenderRule::Keep,
        RawSender::Envelope => SenderRule::Envelope,
        RawSender::Force => SenderRule::Force { from_name, reply_to },
    }
}
