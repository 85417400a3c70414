//! `mailferry accounts`: how each account is, who signed in, and what will end soon.

use std::io::Write;
use std::path::Path;

use anyhow::Context;

use super::Failure;
use super::office::{ask, unexpected, within};
use crate::control::{AccountState, AccountStatus, Answer, Request};

/// See how each account is
///
/// For each account: its app and grant, whether there is a good token, who signed in and when, and what will end within 30
/// days.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// As JSON, for programs
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, config: Option<&Path>) -> Result<(), Failure> {
    let config = super::configuration(config)?;
    let (answer, here) = within(config, async |office| {
        let answer = ask(office, Request::Accounts).await?;
        Ok((answer, office.answered_here()))
    })
    .await?;
    let Answer::Accounts(accounts) = answer else { return Err(unexpected()) };
    let text = if args.json {
        serde_json::to_string_pretty(&accounts).context("the accounts cannot be written as JSON")? + "\n"
    } else {
        accounts.iter().map(|account| describe(account, here)).collect()
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("the result cannot be written to standard output")?;
    Ok(())
}

/// A line for the account, and one, indented, for each thing there is to say about it. `here`: no gateway runs, which would
/// know whether a token could be had.
fn describe(account: &AccountStatus, here: bool) -> String {
    let AccountStatus { address, app, provider, grant, state, .. } = account;
    let made = if account.from_the_file { "from the file" } else { "made by a command" };
    let mut lines = vec![format!("{:<13} {address}: {app} at {provider}, {grant}, {made}", in_a_word(*state, here))];
    if let Some(sign_in) = &account.sign_in {
        let name = sign_in.name.as_deref();
        let name = name.map_or_else(|| " (the provider does not say as whom)".into(), |name| format!(" as {name}"));
        lines.push(format!(
            "signed in{name} on {} by {} with the client {}; last renewed {}",
            sign_in.at.strftime("%Y-%m-%d %H:%M UTC"),
            sign_in.by,
            sign_in.client_id,
            sign_in.exercised.strftime("%Y-%m-%d %H:%M UTC"),
        ));
    }
    if let Some(ends) = account.token_ends {
        lines.push(format!("token good until {}", ends.strftime("%Y-%m-%d %H:%M UTC")));
    }
    lines.extend(account.detail.clone());
    lines.extend(account.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.join("\n              ") + "\n"
}

const fn in_a_word(state: AccountState, here: bool) -> &'static str {
    match state {
        AccountState::Unused if here => "not tried",
        AccountState::Ready => "ready",
        AccountState::Unused => "not used yet",
        AccountState::Waiting => "waiting",
        AccountState::SignedOut => "signed out",
        AccountState::NeedsPerson => "NEEDS YOU",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::SignInStatus;

    #[test]
    fn an_account_is_told_in_a_line_and_what_belongs_to_it() {
        let at = "2027-03-01T09:30:00Z".parse().unwrap();
        let account = AccountStatus {
            address: "ann@contoso.com".into(),
            app: "people".into(),
            provider: "microsoft".into(),
            grant: "device-code".into(),
            from_the_file: true,
            state: AccountState::NeedsPerson,
            detail: Some("The earlier sign-in has expired. Run `mailferry sign-in ann@contoso.com`".into()),
            sign_in: Some(SignInStatus {
                name: Some("ann@contoso.com".into()),
                by: "root".into(),
                client_id: "the-app".into(),
                at,
                exercised: at,
            }),
            token_ends: None,
            warnings: vec!["It ends".into()],
        };
        assert_eq!(
            describe(&account, false),
            "NEEDS YOU     ann@contoso.com: people at microsoft, device-code, from the file\n              \
             signed in as ann@contoso.com on 2027-03-01 09:30 UTC by root with the client the-app; last renewed \
             2027-03-01 09:30 UTC\n              \
             The earlier sign-in has expired. Run `mailferry sign-in ann@contoso.com`\n              \
             warning: It ends\n"
        );
        let sign_in = account.sign_in.clone().map(|sign_in| SignInStatus { name: None, ..sign_in });
        let unnamed = describe(&AccountStatus { sign_in, ..account.clone() }, false);
        assert!(
            unnamed.contains(" signed in (the provider does not say as whom) on 2027-03-01 09:30 UTC by root with")
        );
        // Only a gateway that runs knows that no token was needed yet.
        let unused = AccountStatus { state: AccountState::Unused, ..account };
        assert!(describe(&unused, false).starts_with("not used yet  ann"));
        assert!(describe(&unused, true).starts_with("not tried     ann"));
    }
}
