//! Service accounts in the name of a user.

use serde_json::{Value, json};

use super::{Signer, ask, now};
use crate::sim::testing::{ANN, BOB, simulator};
use crate::sim::{Personality, Simulator};

const ROBOT: &str = "robot@project.iam.example";

async fn redeem(simulator: &Simulator, assertion: &str) -> (u16, Value) {
    let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
    ask(simulator, &[grant, ("assertion", assertion)]).await
}

#[tokio::test]
async fn an_assertion_gets_a_token_for_its_subject_only() {
    let simulator = simulator(Personality::Gmail).await;
    let (ours, other) = (Signer::new(), Signer::new());
    simulator.control().register_service_account(ROBOT, &ours.public_key).unwrap();
    let good = json!({
        "iss": ROBOT, "sub": ANN, "scope": "https://mail.google.com/", "aud": simulator.token_url(),
        "iat": now(), "exp": now() + 3600,
    });
    let header = json!({ "alg": "RS256", "typ": "JWT" });
    let (status, answer) = redeem(&simulator, &ours.signed(&header, &good)).await;
    assert_eq!((status, answer["token_type"].as_str()), (200, Some("Bearer")), "{answer}");
    assert!(answer.get("refresh_token").is_none() && answer.get("id_token").is_none());
    let token = answer["access_token"].as_str().unwrap();
    let shared = simulator.control().shared();
    let opens = |user| shared.opened_by(user, token, crate::sim::Protocol::Imap).is_some();
    assert!(opens(ANN) && !opens(BOB));

    let signed = |claim: &str, value: Value| {
        let mut claims = good.clone();
        claims[claim] = value;
        ours.signed(&header, &claims)
    };
    for (assertion, error) in [
        (other.signed(&header, &good), "invalid_grant"),
        (ours.jwt("PS256", &good), "invalid_grant"),
        ("rubbish".into(), "invalid_grant"),
        (signed("iss", "nobody".into()), "invalid_grant"),
        (signed("aud", "https://oauth2.googleapis.com/token".into()), "invalid_grant"),
        (signed("exp", (now() + 3700).into()), "invalid_grant"),
        (signed("exp", (now() - 1).into()), "invalid_grant"),
        (signed("sub", "eve@contoso.example".into()), "invalid_grant"),
        (signed("scope", "".into()), "invalid_scope"),
        (signed("scope", "https://mail.google.com/ openid".into()), "unauthorized_client"),
    ] {
        let (status, answer) = redeem(&simulator, &assertion).await;
        assert_eq!((status, answer["error"].as_str()), (400, Some(error)), "{answer}");
    }
    let (status, answer) = redeem(&simulator, &signed("sub", ROBOT.into())).await;
    assert_eq!(status, 200);
    let own = answer["access_token"].as_str().unwrap();
    assert!(shared.opened_by(ANN, own, crate::sim::Protocol::Imap).is_none());
}
