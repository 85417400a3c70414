//! Upstreams that take a token by OAUTHBEARER only, or by nothing, over all three protocols.

use mailferry::config::Protocol;
use mailferry::sim::{Fault, Mechanism, Personality, Refusal};

use crate::common::{Setup, Wanted};
use crate::{Kind, accepted, refused, server};

const ALL: [Personality; 3] = [Personality::Microsoft, Personality::Dovecot, Personality::Gmail];

#[tokio::test]
async fn an_upstream_that_has_oauthbearer_only_gets_that() {
    for personality in ALL {
        let setup = Setup::with(Wanted::of(personality)).await;
        let provider = setup.control();
        provider.offer_mechanisms(&[Mechanism::Oauthbearer]);
        for protocol in Protocol::ALL {
            let why = format!("{personality:?} {protocol}");
            for refusal in [Refusal::Token, Refusal::TokenWithChallenge] {
                provider.fail_next(server(protocol), 1, Fault::RefuseLogin(refusal));
                let mut client = setup.client(protocol).await;
                let line = refused(&mut client, protocol, Kind::Person, &why).await;
                assert!(line.contains(" OAUTHBEARER was refused: "), "{why}: {line}");
                // Whatever the dialogue was, nothing of it is left for the next.
                accepted(&mut client, protocol).await;
            }
            provider.fail_next(server(protocol), 1, Fault::RefuseLogin(Refusal::Echo));
            let line = refused(&mut setup.client(protocol).await, protocol, Kind::Person, &why).await;
            assert!(line.contains("[redacted]"), "{why}: {line}");
        }
        assert_eq!(provider.violations(), Vec::<String>::new(), "{personality:?}");
        assert_eq!(provider.token_requests(), 1, "{personality:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_takes_no_token_is_found_out_before_it_gets_one() {
    for personality in ALL {
        let setup = Setup::with(Wanted::of(personality)).await;
        let provider = setup.control();
        provider.offer_mechanisms(&[]);
        for protocol in Protocol::ALL {
            let why = format!("{personality:?} {protocol}");
            let line = refused(&mut setup.client(protocol).await, protocol, Kind::Person, &why).await;
            assert!(line.contains("does not offer what is needed"), "{why}: {line}");
            assert_eq!(provider.logins_refused(server(protocol)), 0, "{why}");
        }
        assert_eq!(provider.violations(), Vec::<String>::new(), "{personality:?}");
    }
}
