//! Before the greeting: for whom a connection speaks, and whether it is under TLS from its first octet.

use tokio::net::TcpStream;

use super::announced::{Speaker, announced};
use super::drive::Side;
use super::limits::Place;
use super::record::{Ending, Record};
use super::{Arrival, Shared};
use crate::config::Listener;
use crate::login::Visit;
use crate::net::stream::Stream;

/// Takes a connection to where it can be greeted.
pub(super) async fn enter<'a>(
    shared: &'a Shared,
    listener: &'a Listener,
    stream: TcpStream,
    place: &mut Place,
    record: &mut Record,
) -> Result<(Side, Arrival<'a>), Ending> {
    let Speaker { address, encrypted, may_log_in } = announced(shared, listener, &stream, place, record).await?;
    let visit = Visit { peer: address, protocol: listener.protocol, encrypted };
    Ok((Side::new(Stream::Plain(stream)), Arrival { shared, listener, visit, may_log_in }))
}
