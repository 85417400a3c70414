//! How devices try TLS.

use super::common::{Client, Setup, Wanted};
use super::{PLAIN, go_on, send_and_leave};
use mailferry::config::Protocol;

/// How an HP MFP asks whether a port speaks TLS: the first octets of a handshake of TLS 1.0.
const PROBE: &[u8] = b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x01";

#[tokio::test]
async fn an_hp_that_probes_for_tls_and_gives_up_goes_on_in_clear() {
    for tls in ["none", "starttls", "auto"] {
        let wanted = Wanted { listener_keys: format!("tls = \"{tls}\"\n"), ..Wanted::default() };
        let setup = Setup::with(wanted).await;
        let mut probe = Client::connect(setup.address(Protocol::Smtp)).await;
        probe.send(PROBE).await;
        drop(probe);
        let mut client = setup.client(Protocol::Smtp).await;
        let login = format!("AUTH PLAIN {PLAIN}\r\n");
        go_on(&mut client, &[("HELO hp477\r\n", "250"), (&login, "235")]).await;
        send_and_leave(&setup, client).await;
    }
}
