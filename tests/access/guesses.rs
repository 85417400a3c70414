//! Guessed and sprayed passwords from beyond loopback, beside a device that wants to send its scan.

use mailferry::config::Protocol;
use tokio::task::JoinSet;

use crate::common::{Answer, Client, PASSWORD, Setup, Wanted, in_time};
use crate::{behind_a_proxy, from, v1};

const GUESSES: usize = 200;

/// What a guess was answered: the first digits of the code.
async fn guess(address: std::net::SocketAddr, number: usize) -> String {
    let mut client = Client::connect(address).await;
    client.send(&v1("198.51.100.66")).await;
    assert!(client.line().await.starts_with("220 "));
    // As names are made up: none is tried twice.
    let name = format!("{:08x}", number.wrapping_mul(0x9e37_79b1) % 0xffff_fffb);
    match client.log_in(Protocol::Smtp, &name, &format!("guess {number}")).await {
        Answer::Refused(line) => line[..3].to_owned(),
        Answer::Accepted => panic!("a made-up login was let in"),
    }
}

#[tokio::test]
async fn two_hundred_guesses_with_made_up_names_keep_nobody_out_and_stay_within_the_gate() {
    let listener_keys = behind_a_proxy()
        .listener_keys
        .replace("plaintext_login = [", "plaintext_login = [\"198.51.100.0/24\", ");
    let setup = Setup::with(Wanted { listener_keys, crowd: 2, ..behind_a_proxy() }).await;
    // A device that has logged in before.
    let mut device = from(&setup, "192.0.2.7").await;
    assert_eq!(device.log_in(Protocol::Smtp, "scanner", PASSWORD).await, Answer::Accepted);
    let before = setup.gateway.password_computations();

    let mut guesses = JoinSet::new();
    for number in 0..GUESSES {
        guesses.spawn(guess(setup.address(Protocol::Smtp), number));
    }
    // While they are at it: the device again; a device that nobody has seen before; and one at the guesser's own address.
    let mut device = from(&setup, "192.0.2.7").await;
    assert_eq!(device.log_in(Protocol::Smtp, "scanner", PASSWORD).await, Answer::Accepted);
    let mut stranger = from(&setup, "192.0.2.8").await;
    assert_eq!(stranger.log_in(Protocol::Smtp, "user0", PASSWORD).await, Answer::Accepted);
    let mut neighbour = from(&setup, "198.51.100.66").await;
    assert_eq!(neighbour.log_in(Protocol::Smtp, "user1", PASSWORD).await, Answer::Accepted);

    let answers = in_time(guesses.join_all()).await;
    let heard = answers.iter().filter(|code| *code == "535").count();
    assert!(answers.iter().all(|code| code == "535" || code == "454"), "{answers:?}");
    assert!(heard >= 50, "until an address is slowed every name's first guess is looked at: {heard}");
    // Each answer cost one computation, and who found no place at the gate cost none; the two that were new cost theirs.
    let computed = setup.gateway.password_computations() - before;
    assert_eq!(computed, heard as u64 + 2);
    let mut device = from(&setup, "192.0.2.7").await;
    assert_eq!(device.log_in(Protocol::Smtp, "scanner", PASSWORD).await, Answer::Accepted, "and it is not shut out");
    assert_eq!(setup.control().token_requests(), 1, "the app's one token serves all; no guess costs one");
}
