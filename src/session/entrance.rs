//! Before the greeting: for whom a connection speaks, and whether it is under TLS from its first octet.

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::announced::{Speaker, announced};
use super::drive::{Patience, Side};
use super::handshake::secure;
use super::limits::Place;
use super::record::{Ending, Record};
use super::{Arrival, Shared};
use crate::config::{Listener, ListenerTls};
use crate::login::Visit;
use crate::net::stream::Stream;
use crate::proto::HANDSHAKE;

/// Takes a connection to where it can be greeted, and says until when it may take to log in.
pub(super) async fn enter<'a>(
    shared: &'a Shared,
    listener: &'a Listener,
    stream: TcpStream,
    place: &mut Place,
    record: &mut Record,
) -> Result<(Side, Arrival<'a>, Patience), Ending> {
    let Speaker { address, encrypted, may_log_in } = announced(shared, listener, &stream, place, record).await?;
    let visit = Visit { peer: address, protocol: listener.protocol, encrypted };
    let mut arrival = Arrival { shared, listener, visit, may_log_in };
    let patience = Patience::of(shared.config.limits.login_timeout);
    let is_tls = match listener.tls {
        ListenerTls::None | ListenerTls::StartTls => false,
        ListenerTls::Implicit => true,
        ListenerTls::Auto => begins_tls(shared, &stream).await,
    };
    let side = match is_tls {
        true => secure(&mut arrival, stream, &patience, record).await?,
        false => Side::new(Stream::Plain(stream)),
    };
    Ok((side, arrival, patience))
}

/// Whether the client begins a TLS handshake of itself. One that does not waits for the greeting.
async fn begins_tls(shared: &Shared, stream: &TcpStream) -> bool {
    let mut first = [0];
    match timeout(shared.config.budgets.first_octet, stream.peek(&mut first)).await {
        Ok(Ok(1)) => HANDSHAKE.starts_with(&first),
        // It is silent, or gone, which the next read will tell.
        _ => false,
    }
}
