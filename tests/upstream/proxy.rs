//! `[upstream] proxy`: every mail server through one tunnel each, and what an office's proxy does wrong.

use std::time::Duration;

use mailferry::app::Gateway;
use mailferry::config::{Config, ConnectProxy, Protocol};
use mailferry::secret::SecretText;
use mailferry::sim::{Certificate, Fault, Gate, Proxy, ProxyFault, Simulator};

use crate::common::{Setup, Wanted};
use crate::{assert_unavailable, server};

const CREDENTIALS: &str = "mail:ferry and more";

/// A gateway that reaches its provider through `proxy`.
async fn behind(proxy: &Proxy, credentials: Option<&str>, change: impl FnOnce(&mut Config)) -> Setup {
    let wanted = Wanted::default();
    let provider = Simulator::start(wanted.provider.clone()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut config = Setup::configuration(&provider, &folder, &wanted);
    config.proxy = Some(ConnectProxy {
        host: "localhost".into(),
        port: proxy.address().port(),
        credentials: credentials.map(|text| SecretText::new(text.into())),
    });
    change(&mut config);
    Setup { gateway: Gateway::start(config).await.unwrap(), provider, folder }
}

#[tokio::test]
async fn every_mail_server_is_reached_through_the_proxy_and_verified_behind_it() {
    let proxy = Proxy::start().await.unwrap();
    proxy.demand(CREDENTIALS);
    let setup = behind(&proxy, Some(CREDENTIALS), |_| {}).await;
    let mut asked = Vec::new();
    for (protocol, address) in
        Protocol::ALL
            .into_iter()
            .zip([setup.provider.smtp(), setup.provider.imap(), setup.provider.pop3()])
    {
        setup.logged_in(protocol).await;
        setup
            .control()
            .fail_next(server(protocol), 1, Fault::Certificate(Certificate::WrongName));
        assert_unavailable(&setup, protocol, "scanner").await;
        asked.extend(vec![format!("localhost:{}", address.port()); 2]);
    }
    // The token endpoint is in the clear, and so it is for this machine and no proxy.
    assert_eq!(proxy.asked(), asked);
    assert_eq!((proxy.violations(), setup.control().violations()), (vec![], vec![]));
}

#[tokio::test]
async fn a_proxy_that_does_not_do_its_work_is_a_passing_fault() {
    let proxy = Proxy::start().await.unwrap();
    let setup = behind(&proxy, None, |_| {}).await;
    for fault in [
        ProxyFault::Refuse(407),
        ProxyFault::Refuse(502),
        ProxyFault::Close,
        ProxyFault::Say(b"220 mail.example ESMTP\r\n".to_vec()),
        ProxyFault::Endless,
        ProxyFault::Inject(b"* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2] hi\r\n".to_vec()),
    ] {
        for protocol in Protocol::ALL {
            // What SMTP's server says first comes in the clear.
            proxy.fail_next(1, fault.clone());
            assert_unavailable(&setup, protocol, "scanner").await;
            setup.logged_in(protocol).await;
        }
    }
    assert_eq!(setup.control().token_requests(), 1);
    proxy.demand(CREDENTIALS);
    assert_unavailable(&setup, Protocol::Imap, "scanner").await;
}

#[tokio::test]
async fn a_proxy_that_hangs_costs_the_dials_time_and_no_more() {
    let proxy = Proxy::start().await.unwrap();
    let setup = behind(&proxy, None, |config| config.budgets.dial = Duration::from_millis(300)).await;
    let gate = Gate::new();
    proxy.fail_next(1, ProxyFault::Hold(gate.clone()));
    assert_unavailable(&setup, Protocol::Pop3, "scanner").await;
    gate.open();
    setup.deserted().await;
}
