//! Before the greeting: for whom a connection speaks, and whether it is under TLS from its first octet.

use tokio::net::TcpStream;

use super::drive::Side;
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
    record: &mut Record,
) -> Result<(Side, Arrival<'a>), Ending> {
    let visit = Visit { peer: record.peer, protocol: listener.protocol, encrypted: false };
    Ok((Side::new(Stream::Plain(stream)), Arrival { shared, listener, visit }))
}
