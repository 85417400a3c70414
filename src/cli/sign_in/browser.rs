//! A sign-in in a browser: on this machine the browser comes back by itself; from any other, a person copies the address
//! it ended at.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tokio::sync::oneshot;

use crate::cli::Failure;
use crate::config::{Account, Grant};
use crate::net::redirect::{DEFAULT_URI, Redirect, RedirectError, text_of};
use crate::oauth::sign_in::code::AuthorizationCode;
use crate::oauth::sign_in::{Obtained, SignIn};

/// How long somebody may take to sign in.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// The longest address that is read, in octets.
const MAX_PASTED: u64 = 16 * 1024;

/// Sends a browser to the provider and waits until it is back.
pub(super) async fn obtain(sign_in: SignIn, account: &Account) -> Result<Obtained, Failure> {
    let configured = match &account.app.grant {
        Grant::AuthorizationCode { redirect_uri, .. } => redirect_uri.as_ref(),
        _ => None,
    };
    // Where nothing can listen, the address is pasted.
    let redirect = match Redirect::bind(configured).await {
        Ok(redirect) => Some(redirect),
        Err(RedirectError::NotHere(_)) => None,
        Err(error) => return Err(Failure::Failed(anyhow!("{error}; free the port, or set another redirect_uri"))),
    };
    let uri = match (&redirect, configured) {
        (Some(redirect), _) => redirect.uri().to_owned(),
        (None, Some(uri)) => text_of(uri),
        (None, None) => DEFAULT_URI.to_owned(),
    };
    let flow = Arc::new(sign_in.authorization_code(&uri).map_err(anyhow::Error::new)?);
    explain(&flow, account, redirect.is_some())?;
    let mut back = pin!(come_back(redirect, Arc::clone(&flow)));
    let obtained = loop {
        tokio::select! {
            query = &mut back => {
                let query = query.map_err(|error| anyhow!("{error}; run the command again"))?;
                break flow.answered(&query).await;
            }
            Ok(text) = pasted() => {
                if flow.is_answered_by_pasted(&text) || !std::io::stdin().is_terminal() {
                    break flow.pasted(&text).await;
                }
                crate::cli::note(
                    "that is not the address at which the browser ends after this sign-in: paste all of it, up to its end, and \
                     press Enter",
                );
            }
        }
    };
    Ok(obtained.map_err(anyhow::Error::new)?)
}

fn explain(flow: &AuthorizationCode, account: &Account, listens: bool) -> Result<(), Failure> {
    let mut out = std::io::stderr();
    let address = &account.address;
    let told = writeln!(
        out,
        "Sign in as {address}. A browser that is signed in as somebody else already would take that: use a private\n\
         window then. Open\n\n  {}\n",
        flow.url()
    );
    let told = told.and_then(|()| {
        if listens {
            writeln!(
                out,
                "If the browser runs on another machine it will end at an address that cannot be opened: copy that\n\
                 address from it, paste it here and press Enter."
            )
        } else {
            writeln!(out, "Then copy the address the browser ends at, paste it here and press Enter.")
        }
    });
    told.map_err(anyhow::Error::new)?;
    // Without a desktop there may be a browser of text, which would take the terminal.
    if has_desktop() {
        // Where none opens, there is the address to copy.
        _ = webbrowser::open(flow.url().as_str());
    }
    Ok(())
}

fn has_desktop() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(not(any(target_os = "linux", target_os = "freebsd"))) || set("DISPLAY") || set("WAYLAND_DISPLAY")
}

/// The query that the browser comes back with; never, where nothing listens for it.
async fn come_back(redirect: Option<Redirect>, flow: Arc<AuthorizationCode>) -> Result<String, RedirectError> {
    match redirect {
        Some(redirect) => redirect.wait(PATIENCE, move |query| flow.is_answered_by(query)).await,
        None => {
            tokio::time::sleep(PATIENCE).await;
            Err(RedirectError::TimedOut)
        }
    }
}

/// A line of standard input; an error where it ends without one. The thread that reads is not waited for: nobody may ever
/// press Enter.
async fn pasted() -> Result<String, oneshot::error::RecvError> {
    let (line, read) = oneshot::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        for _ in 0..8 {
            match std::io::stdin().lock().take(MAX_PASTED).read_line(&mut text) {
                Ok(1..) if text.trim().is_empty() => text.clear(),
                Ok(1..) => return line.send(text).ok(),
                Ok(0) | Err(_) => return None,
            }
        }
        None
    });
    read.await
}
