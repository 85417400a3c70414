//! `mailferry cert`: the certificate that listeners show, for installing it in a device.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;
use jiff::Timestamp;

use super::Failure;
use crate::app::certificate::{self, KeyKind, Shown, Verdict};

/// Print the certificate that listeners show under TLS, with its fingerprint, names and end
///
/// Where the configuration names none, it is the gateway's own, which is made now if there is none yet.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Make a new one of the gateway's own in the old one's place, which is kept with .old behind its name, without its key.
    /// Devices that trust the old one have to be told of the new one
    #[arg(long)]
    new: bool,
    /// Where one is made: with a key on the curve P-256, which old devices do not know, instead of RSA with 2048 bits
    #[arg(long)]
    p256: bool,
}

pub(super) fn run(args: &Args, config: Option<&Path>) -> Result<(), Failure> {
    let config = super::configuration(config)?;
    let kind = if args.p256 { KeyKind::P256 } else { KeyKind::Rsa };
    let has_own = || certificate::own_files(&config.state_dir).certificate.exists();
    let had_own = has_own();
    let certificates = if args.new {
        vec![certificate::renew(&config, kind).context("no new certificate could be made")?]
    } else {
        certificate::shown(&config, kind).context("the certificate cannot be shown")?
    };
    if args.new && !certificate::is_own_shown(&config) {
        super::note(
            "no listener shows the new certificate: each names one of its own in the configuration, or has tls = \"none\"",
        );
    } else if !certificate::is_any_shown(&config) {
        let made = if had_own { "" } else { ", which was made now" };
        super::note(&format!("no listener shows this certificate{made}: each has tls = \"none\""));
    }
    if args.p256 && !args.new && (had_own || !has_own()) {
        super::note(
            "no certificate was made, so --p256 changes nothing: `mailferry cert --new --p256` makes another of the gateway's \
             own",
        );
    }
    let mut result = String::new();
    for certificate in &certificates {
        result += &describe(certificate)?;
    }
    let mut verdict = Verdict::default();
    for certificate in &certificates {
        verdict.judge(&config, certificate, SystemTime::now());
    }
    for remark in verdict.faults.iter().chain(&verdict.warnings) {
        super::note(remark);
    }
    io::stdout()
        .write_all(result.as_bytes())
        .context("the result cannot be written to standard output")?;
    Ok(())
}

/// What a person compares with what a device shows, and what is installed in it.
fn describe(shown: &Shown) -> anyhow::Result<String> {
    let (file, facts) = (&shown.files().certificate, shown.facts());
    let ends = Timestamp::try_from(facts.ends).context("the certificate's end is no date")?;
    let mut text = String::new();
    let mut line = |name: &str, value: &str| _ = writeln!(text, "{name:<11} {value}");
    line("certificate", &file.display().to_string());
    line("fingerprint", &format!("SHA-256 {}", facts.fingerprint));
    line("names", &if facts.names.is_empty() { "none".into() } else { facts.names.join(" ") });
    line("expires", &ends.strftime("%Y-%m-%d").to_string());
    // Not the file: a private key may stand beside the certificates.
    text += &shown.pem();
    Ok(text)
}
