//! `mailferry sign-out`: forgets a sign-in and its refresh token.

use std::path::Path;

use super::Failure;
use super::office::{done, within};
use crate::control::Request;

/// Forget the sign-in of an account
///
/// Its refresh token is deleted and no login can use the account until somebody signs in again. The consent itself stays
/// with the provider, where it can be revoked.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The account's address
    account: String,
}

pub(super) async fn run(args: &Args, config: Option<&Path>) -> Result<(), Failure> {
    let config = super::configuration(config)?;
    let request = Request::SignOut { account: args.account.clone() };
    within(config, async |office| done(office, request).await).await
}
