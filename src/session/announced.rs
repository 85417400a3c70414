//! For whom a connection speaks: its peer, or whom a trusted proxy names in a PROXY header before anything else.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Shared;
use super::failure::Goodbye;
use super::limits::Place;
use super::nuisance::Nuisance;
use super::record::{Ending, Record};
use super::watch::advice::Clue;
use crate::config::{Listener, holds};
use crate::net::proxy_header::{Announced, HeaderReader};
use crate::net::stream::{say_last, with_scratch};

/// How long a proxy may take to say for whom it speaks. It knows that when it connects.
const HEADER: Duration = Duration::from_secs(5);

/// How much of what has come is looked at in one go: a whole header that proxies really send, in octets.
const LOOK: usize = 512;

/// For whom a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Speaker {
    /// Whose address counts, for everything.
    pub(super) address: IpAddr,
    /// Whether the client speaks TLS to the proxy, by the proxy's word.
    pub(super) encrypted: bool,
    /// Whether it may log in: a proxy that speaks for itself may not.
    pub(super) may_log_in: bool,
}

/// Finds out for whom the connection speaks, and whether that one may be here. What stands behind a PROXY header is left in
/// the socket: it may be a TLS handshake.
///
/// # Errors
/// When the connection is to be closed; why has been told then, and to whom it concerns.
pub(super) async fn announced(
    shared: &Shared,
    listener: &Listener,
    stream: &TcpStream,
    place: &mut Place,
    record: &mut Record,
) -> Result<Speaker, Ending> {
    let proxy = record.peer;
    let itself = Speaker { address: proxy, encrypted: false, may_log_in: true };
    if !holds(&listener.proxy_protocol, proxy) {
        return Ok(itself);
    }
    let header = tokio::select! {
        biased;
        header = timeout(HEADER, header(stream)) => header.unwrap_or_else(|_| Err(format!("none came within {HEADER:?}"))),
        () = shared.drain.began() => return Err(Ending::Drained),
    };
    let session = record.session();
    let for_nobody = || {
        record.tap.is_for_nobody();
        Speaker { may_log_in: false, ..itself }
    };
    match header {
        Err(why) => {
            shared.nuisances.tell(listener, Nuisance::NoProxyHeader, proxy, || {
                tracing::warn!(
                    session, listener = listener.name, peer = %proxy,
                    "connection closed: no PROXY header from a peer in proxy_protocol: {why}. Have the proxy send one \
                     (HAProxy: send-proxy-v2, nginx: proxy_protocol on), or take its address out of proxy_protocol"
                );
            });
            record.tap.learn(Clue::NoProxyHeader);
            Err(Ending::TurnedAway("no PROXY header"))
        }
        Ok(Announced::Local) => Ok(for_nobody()),
        // Loopback is whoever may use this machine. That of another machine is not, and says nothing of who it is.
        Ok(Announced::Proxied { source, .. }) if source.ip().is_loopback() && !proxy.is_loopback() => Ok(for_nobody()),
        Ok(Announced::Proxied { source, encrypted }) => {
            let address = source.ip();
            record.peer = address;
            record.tap.is_for(address, encrypted);
            judge(shared, listener, stream, place, record)?;
            Ok(Speaker { address, encrypted, may_log_in: true })
        }
    }
}

/// What is asked of every peer when it is accepted, asked of the one that a proxy has named.
fn judge(
    shared: &Shared,
    listener: &Listener,
    stream: &TcpStream,
    place: &mut Place,
    record: &Record,
) -> Result<(), Ending> {
    let address = record.peer;
    if !holds(&listener.allow, address) {
        tell_of_forbidden(shared, listener, address);
        record.tap.learn(Clue::NotAllowed);
        return Err(Ending::TurnedAway("the listener does not allow the address that the proxy names"));
    }
    if !place.belongs_to(address) {
        tell_of_surplus(shared, listener, address);
        record.tap.learn(Clue::TooManySessions);
        say_last(stream, &Goodbye::SessionLimit.line(listener.protocol));
        return Err(Ending::TurnedAway("too many sessions from the address that the proxy names"));
    }
    Ok(())
}

/// Tells of a connection from where the listener allows none.
pub(super) fn tell_of_forbidden(shared: &Shared, listener: &Listener, address: IpAddr) {
    shared.nuisances.tell(listener, Nuisance::ForbiddenAddress, address, || {
        tracing::info!(
            listener = listener.name, peer = %address,
            "connection refused: the listener does not allow this address"
        );
    });
}

/// Tells of a connection beyond the limits.
pub(super) fn tell_of_surplus(shared: &Shared, listener: &Listener, address: IpAddr) {
    shared.nuisances.tell(listener, Nuisance::SurplusConnection, address, || {
        tracing::warn!(listener = listener.name, peer = %address, "connection refused: too many sessions");
    });
}

/// Reads a header and nothing behind it, or says why there is none.
async fn header(stream: &TcpStream) -> Result<Announced, String> {
    let mut reader = HeaderReader::default();
    loop {
        match poll_fn(|cx| with_scratch(|scratch| poll_header(stream, &mut reader, cx, &mut scratch[..LOOK]))).await {
            Ok(Some(announced)) => return Ok(announced),
            Ok(None) => {}
            Err(why) => return Err(why),
        }
    }
}

/// Looks at what has come, and takes as much of it as belongs to the header.
fn poll_header(
    stream: &TcpStream,
    reader: &mut HeaderReader,
    cx: &mut Context<'_>,
    scratch: &mut [u8],
) -> Poll<Result<Option<Announced>, String>> {
    let mut seen = ReadBuf::new(scratch);
    if let Err(error) = ready!(stream.poll_peek(cx, &mut seen)) {
        return Poll::Ready(Err(error.to_string()));
    }
    if seen.filled().is_empty() {
        return Poll::Ready(Err("the connection was closed".into()));
    }
    Poll::Ready(match reader.take(seen.filled()) {
        Err(fault) => Err(fault.to_string()),
        Ok((taken, announced)) => match stream.try_read(&mut scratch[..taken]) {
            Ok(read) if read == taken => Ok(announced),
            // What was seen is there to be read.
            Ok(_) => Err("the connection broke".into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err("the connection broke".into()),
            Err(error) => Err(error.to_string()),
        },
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_stands_behind_a_header_stays_in_the_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xc3\x50\x02\x4b";
        for announcement in [&b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 587\r\n"[..], v2] {
            for cut in [1, 5, 7, 14, 27, announcement.len() - 1, announcement.len()] {
                let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
                client.set_nodelay(true).unwrap();
                let (mut stream, _) = listener.accept().await.unwrap();
                client.write_all(&announcement[..cut]).await.unwrap();
                let sending = async {
                    tokio::task::yield_now().await;
                    client.write_all(&announcement[cut..]).await.unwrap();
                    client.write_all(b"\x16\x03\x01EHLO\r\n").await.unwrap();
                    client.shutdown().await.unwrap();
                };
                let (announced, ()) = tokio::join!(header(&stream), sending);
                let source = "192.0.2.7:50000".parse().unwrap();
                assert_eq!(announced, Ok(Announced::Proxied { source, encrypted: false }));
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).await.unwrap();
                assert_eq!(rest, b"\x16\x03\x01EHLO\r\n", "cut at {cut}");
            }
        }
    }
}
