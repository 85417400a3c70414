//! `mailferry send-test`: one message through the real path.

use std::path::Path;

use super::Failure;
use super::office::{done, within};
use crate::control::Request;

/// Send a test message through an account
///
/// The message goes the way every message goes: with a token to the provider's SMTP server. Prints what that answers.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The account's address
    account: String,
    /// To whom
    #[arg(long, value_name = "ADDRESS")]
    to: String,
}

pub(super) async fn run(args: &Args, config: Option<&Path>) -> Result<(), Failure> {
    let config = super::configuration(config)?;
    let request = Request::SendTest { account: args.account.clone(), to: args.to.clone() };
    within(config, async |office| done(office, request).await).await
}
