//! A sign-in on another device: an address and a code are shown here, and waited for.

use std::io::Write;

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use crate::cli::Failure;
use crate::oauth::sign_in::{Obtained, SignIn};

/// Shows the code and waits until somebody has signed in with it.
pub(super) async fn obtain(sign_in: SignIn) -> Result<Obtained, Failure> {
    let waiting = sign_in.device().await.map_err(anyhow::Error::new)?;
    let shown = waiting.shown();
    // Where the provider has an address with the code in it, that is what a camera is given.
    let address = shown.verification_uri_complete.as_ref().unwrap_or(&shown.verification_uri);
    let minutes = shown.expires_in.as_secs() / 60;
    let mut out = std::io::stderr();
    write!(
        out,
        "{}\nOpen {} on any device and type the code\n\n  {}\n\nIt is good for {minutes} minutes.\n",
        picture(address.as_str()),
        shown.verification_uri,
        shown.user_code,
    )
    .map_err(anyhow::Error::new)?;
    Ok(waiting.wait().await.map_err(anyhow::Error::new)?)
}

/// The address as a QR code of block characters; nothing where it is too long for one.
fn picture(address: &str) -> String {
    match QrCode::new(address) {
        // On a dark terminal light modules are the ones to be drawn.
        Ok(code) => code
            .render::<Dense1x2>()
            .dark_color(Dense1x2::Light)
            .light_color(Dense1x2::Dark)
            .build(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_drawn_and_one_that_is_too_long_is_not() {
        let drawn = picture("https://microsoft.com/devicelogin");
        assert!(drawn.lines().count() > 10 && drawn.contains('\u{2588}'), "{drawn}");
        assert_eq!(picture(&"x".repeat(5000)), "");
    }
}
