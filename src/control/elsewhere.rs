//! Where there are no Unix sockets: nobody listens, and commands open the store themselves.

use std::path::Path;
use std::sync::Arc;

use super::{Answer, AskError, ControlError, Desk, Request};

/// Holds nothing.
#[derive(Debug)]
pub struct Claim;

/// Holds nothing.
#[derive(Debug)]
pub struct Hold;

/// Answers nobody.
#[derive(Debug)]
pub struct Server;

/// Takes nothing: no gateway listens that would have to know.
///
/// # Errors
/// None.
pub fn hold(_: &Path) -> Result<Hold, ControlError> {
    Ok(Hold)
}

/// Takes nothing.
///
/// # Errors
/// None.
pub fn claim(_: &Path) -> Result<Claim, ControlError> {
    Ok(Claim)
}

impl Claim {
    /// Answers nobody.
    ///
    /// # Errors
    /// None.
    pub fn serve(self, _: Arc<dyn Desk>) -> Result<Server, ControlError> {
        Ok(Server)
    }
}

impl Server {
    /// There is nothing to be closed.
    pub async fn close(self) {}
}

/// Nobody listens.
///
/// # Errors
/// None.
pub async fn listens(_: &Path) -> Result<bool, AskError> {
    Ok(false)
}

/// Who may ask, as in "run this as".
#[must_use]
pub fn masters(_: &Path) -> String {
    "the gateway's user".into()
}

/// Nobody is there to be asked.
///
/// # Errors
/// [`AskError::NobodyListens`].
pub async fn ask(_: &Path, _: &Request, _: impl FnMut(&str)) -> Result<Answer, AskError> {
    Err(AskError::NobodyListens)
}
