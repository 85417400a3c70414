use proptest::prelude::*;
use tokio::time::advance;

use super::*;
use crate::login::throttle::Origin;

const MINUTE: Duration = Duration::from_secs(60);

const SEND_AS: &[u8] = b"554 5.2.252 SendAsDenied; scanner@contoso.com not allowed to send as old@contoso.com; \
    STOREDRV.Submission.Exception:SendAsDeniedException [Hostname=VI1PR01MB1234.eurprd01.prod.outlook.com]";

fn sender(login: &str) -> Sender {
    Sender::whole("scanner@contoso.com", login)
}

/// Whether a message may pass that is never sent, and how long not.
fn held(refusals: &Refusals, login: &str) -> Option<Duration> {
    refusals.pass(&sender(login)).err().map(|held| held.left)
}

fn refuse(refusals: &Refusals, login: &str) -> Option<Duration> {
    refusals
        .refused(&sender(login), Stage::Message, SEND_AS)
        .map(|silenced| silenced.lasts)
}

#[tokio::test(start_paused = true)]
async fn the_fifth_refusal_in_the_same_words_silences_that_login_and_no_other() {
    let refusals = Refusals::default();
    for _ in 0..4 {
        assert_eq!(refuse(&refusals, "scanner"), None);
        assert_eq!(held(&refusals, "scanner"), None);
        advance(MINUTE).await;
    }
    assert_eq!(refuse(&refusals, "copier"), None);
    assert_eq!(refuse(&refusals, "scanner"), Some(15 * MINUTE));
    let expected = Held { reply: SEND_AS.to_vec(), left: 15 * MINUTE };
    assert_eq!(refusals.pass(&sender("scanner")).unwrap_err(), expected);
    assert_eq!(held(&refusals, "copier"), None);
    assert_eq!(refuse(&refusals, "scanner"), None, "one that was on its way is not told again");
    advance(15 * MINUTE).await;
    assert_eq!(held(&refusals, "scanner"), None, "one message is tried");
}

#[tokio::test(start_paused = true)]
async fn refusals_far_apart_or_in_other_words_are_no_series() {
    let refusals = Refusals::default();
    for _ in 0..20 {
        assert_eq!(refuse(&refusals, "scanner"), None);
        advance(3 * MINUTE).await;
    }
    let full = b"554 5.2.2 mailbox full; STOREDRV.Deliver";
    for _ in 0..4 {
        assert_eq!(refusals.refused(&sender("copier"), Stage::Message, full), None);
        assert_eq!(refuse(&refusals, "copier"), None);
    }
    let silenced = Silenced { whom: sender("copier"), lasts: FIRST_WHILE };
    assert_eq!(refusals.refused(&sender("copier"), Stage::Message, full), Some(silenced));
}

#[tokio::test(start_paused = true)]
async fn each_while_is_twice_as_long_up_to_an_hour_and_a_success_ends_it() {
    let refusals = Refusals::default();
    for _ in 0..4 {
        assert_eq!(refuse(&refusals, "scanner"), None);
    }
    for minutes in [15, 30, 60, 60] {
        assert_eq!(refuse(&refusals, "scanner"), Some(minutes * MINUTE));
        advance(minutes * MINUTE).await;
    }
    refusals.accepted(&sender("scanner"));
    for _ in 0..4 {
        assert_eq!(refuse(&refusals, "scanner"), None);
    }
    assert_eq!(refuse(&refusals, "scanner"), Some(15 * MINUTE));
    // Through a session that had been let pass.
    refusals.accepted(&sender("scanner"));
    assert_eq!(held(&refusals, "scanner"), None);
}

#[tokio::test(start_paused = true)]
async fn a_good_message_now_and_then_makes_no_refusal_free() {
    let refusals = Refusals::default();
    for _ in 0..4 {
        assert_eq!(refuse(&refusals, "scanner"), None);
    }
    refusals.accepted(&sender("scanner"));
    assert_eq!(refuse(&refusals, "scanner"), Some(FIRST_WHILE));
    // One that was on its way is accepted, and the next one refused again.
    refusals.accepted(&sender("scanner"));
    assert_eq!(refuse(&refusals, "scanner"), Some(FIRST_WHILE));
}

#[tokio::test(start_paused = true)]
async fn fifteen_refusals_in_whatever_words_are_too_many() {
    let refusals = Refusals::default();
    let other = |number: u64| {
        let word = "abcdefghijklmnopqrst"
            .repeat(2)
            .split_at(usize::try_from(number).unwrap())
            .0
            .to_owned();
        let said = format!("550 5.2.1 no {word}");
        let silenced = refusals.refused(&sender("scanner"), Stage::Message, said.as_bytes());
        silenced.map(|silenced| silenced.lasts)
    };
    for number in 0..14 {
        assert_eq!(other(number), None);
        advance(MINUTE / 4).await;
    }
    assert_eq!(other(14), Some(FIRST_WHILE));
    advance(FIRST_WHILE).await;
    assert_eq!(other(15), Some(2 * FIRST_WHILE), "no words were what it was for");
}

#[tokio::test(start_paused = true)]
async fn when_the_while_is_over_one_message_is_tried_at_a_time() {
    let refusals = Refusals::default();
    for _ in 0..5 {
        refuse(&refusals, "scanner");
    }
    advance(FIRST_WHILE).await;
    let probe = refusals.pass(&sender("scanner")).unwrap();
    assert!(probe.is_some());
    assert_eq!(held(&refusals, "scanner"), Some(PROBE), "of whatever session");
    drop(probe);
    let probe = refusals.pass(&sender("scanner")).unwrap();
    advance(PROBE).await;
    // Who says nothing more keeps the others out no longer.
    let next = refusals.pass(&sender("scanner")).unwrap();
    drop(probe);
    assert_eq!(held(&refusals, "scanner"), Some(PROBE), "the second one's");
    assert_eq!(refuse(&refusals, "scanner"), Some(2 * FIRST_WHILE));
    drop(next);
    assert_eq!(held(&refusals, "scanner"), Some(2 * FIRST_WHILE));
    advance(2 * FIRST_WHILE).await;
    let probe = refusals.pass(&sender("scanner")).unwrap();
    refusals.accepted(&sender("scanner"));
    let all = [(); 3].map(|()| refusals.pass(&sender("scanner")).unwrap().is_none());
    assert_eq!((all, probe.is_some()), ([true; 3], true), "and then all may");
}

#[tokio::test(start_paused = true)]
async fn long_after_a_while_it_is_forgotten() {
    let refusals = Refusals::default();
    for _ in 0..5 {
        refuse(&refusals, "scanner");
    }
    advance(15 * MINUTE + PROBATION).await;
    assert_eq!(refuse(&refusals, "scanner"), None);
}

#[tokio::test(start_paused = true)]
async fn of_ipv6_a_host_with_addresses_without_end_is_silenced_with_its_network() {
    let refusals = Refusals::default();
    let at = |network: u16, host: u16| {
        let peer = std::net::Ipv6Addr::from([0x2001, 0xdb8, 0, network, 0, 0, 0, host]);
        Sender { origin: Some(Origin::of(peer.into())), ..sender("floor") }
    };
    let refuse = |sender: &Sender| refusals.refused(sender, Stage::Message, SEND_AS);
    for _ in 0..4 {
        assert_eq!(refuse(&at(1, 1)), None);
    }
    assert_eq!(refuse(&at(1, 1)), Some(Silenced { whom: at(1, 1), lasts: FIRST_WHILE }));
    assert!(refusals.pass(&at(1, 1)).is_err() && refusals.pass(&at(1, 2)).is_ok(), "one bad device silences itself");
    for host in 0..14 {
        assert_eq!(refuse(&at(1, 100 + host)), None);
    }
    let network = at(1, 1).with_network().pop().unwrap();
    assert_eq!(refuse(&at(1, 200)), Some(Silenced { whom: network, lasts: FIRST_WHILE }), "as those of four");
    refusals.accepted(&at(1, 2));
    let held = refusals.pass(&at(1, 2)).unwrap_err();
    assert_eq!((held.left, &held.reply[..]), (FIRST_WHILE, SEND_AS));
    assert!(refusals.pass(&at(2, 1)).is_ok(), "and no other network");
    advance(FIRST_WHILE).await;
    let all = (2..5).map(|host| refusals.pass(&at(1, host)).unwrap());
    assert!(all.collect::<Vec<_>>().iter().all(Option::is_none), "neighbours need not wait for each other");
    assert!(refusals.pass(&at(1, 1)).unwrap().is_some(), "the one whose own while is over is tried");
    assert_eq!(refuse(&at(1, 3)), None, "it begins anew");
}

#[test]
fn what_is_about_one_message_does_not_count() {
    use Stage::{Mail, Message};
    for (stage, reply, counts) in [
        (Message, "554 5.2.252 SendAsDenied; a@x not allowed to send as b@x", true),
        (Message, "550 5.2.254 InterfaceException; throttled", true),
        (Message, "554 5.2.2 mailbox full; STOREDRV.Deliver", true),
        (Message, "554 5.2.0 STOREDRV.Submission; SubmissionQuotaExceededException", true),
        (Message, "550 5.7.60 SMTP; Client does not have permissions to send as this sender", true),
        (Message, "550 5.4.5 Daily user sending limit exceeded", true),
        (Mail, "550 5.7.1 Policy", true),
        (Mail, "550 Sender not allowed", true),
        (Mail, "501 5.1.7 Bad sender", true),
        (Mail, "550 5.7.1 Sender content policy", true),
        (Message, "550 5.1.8 <spam@bad.example> Sender domain rejected", true),
        (Message, "550 5.1.8 <\"dkim> virus\"@bad.example> Sender domain rejected", true),
        (Message, "550 5.2.1 the name \"content\" is not allowed", true),
        // What passes by itself, or with the next message.
        (Message, "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", false),
        (Message, "550 5.1.1 User unknown", false),
        (Message, "550 5.1.10 RESOLVER.ADR.RecipientNotFound", false),
        (Message, "552 5.3.4 Message size exceeds fixed maximum message size", false),
        (Message, "550 5.6.11 SMTPSEND.BareLinefeedsAreIllegal", false),
        (Message, "550 5.7.1 Message contains a virus", false),
        (Message, "554 5.7.1 Not allowed to send to this group", false),
        (Message, "554 no", false),
        (Message, "503 5.5.1 Need RCPT first", false),
        (Mail, "501 5.5.4 Invalid arguments", false),
        (Mail, "552 5.3.4 Too big", false),
        (Mail, "502 5.3.3 Command not implemented", false),
        (Mail, "250 2.1.0 Sender OK", false),
        (Mail, "rubbish", false),
    ] {
        assert_eq!(counted(stage, reply.as_bytes()).is_some(), counts, "{reply}");
    }
}

#[test]
fn what_differs_each_time_is_not_compared() {
    let words = |reply: &str| counted(Stage::Message, reply.as_bytes()).unwrap();
    let one = "554 5.2.252 SendAsDenied; a@x.example not allowed to send as b@y.example; STOREDRV.Submission [Hostname=A1.prod 2026]";
    let other = "554 5.2.252 SendAsDenied; c@z.example not allowed to send as d@y.example; STOREDRV.Submission [Hostname=B2.prod 2027]";
    assert_eq!(words(one), words(other));
    let meaning = words::of_reply(one.as_bytes()).unwrap().what;
    assert_eq!(counted(Stage::Message, one.as_bytes()), Some(format!("554 5.2.252 {meaning}")));
    let unknown = "550 5.2.9 a@x.example: not allowed to send as <b@y.example>, 'c@z.example' [Hostname=A1.prod 2026]";
    assert_eq!(words(unknown), "550 5.2.9 # not allowed to send as #");
    assert_eq!(words("550 5.2.9 <one> may \"one two\" not"), words("550 5.2.9 <other> may \"\" not"));
    assert_ne!(words("550 5.2.251 sender is throttled"), words("550 5.2.255 sender is throttled"));
    assert_ne!(words("550 5.2.1 mailbox is disabled"), words("550 5.2.1 mailbox is over its limit"));
}

proptest! {
    /// Whatever is said, to whom and when: a login is held back after five refusals of its own and no sooner, and what is
    /// remembered of it stays small.
    #[test]
    fn nobody_is_silenced_by_others_or_without_five(
        steps in prop::collection::vec((0_usize..3, 0_usize..6, 0_u64..400, any::<bool>()), 0..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let refusals = Refusals::default();
            let mut own = [0_usize; 3];
            for (who, how, pause, accepted) in steps {
                advance(Duration::from_secs(pause)).await;
                let login = sender(&who.to_string());
                if accepted && how == 0 {
                    refusals.accepted(&login);
                    prop_assert!(refusals.pass(&login).is_ok());
                    continue;
                }
                own[who] += 1;
                let said = format!("550 5.2.25{how} {}", "word".repeat(100 * how));
                if refusals.refused(&login, Stage::Message, said.as_bytes()).is_some() {
                    prop_assert!(own[who] >= MOST);
                    prop_assert_eq!(refusals.pass(&login).err().map(|held| held.reply), Some(said.into_bytes()));
                }
                let troubles = refusals.troubles();
                let trouble = troubles.get(&login).unwrap();
                for kind in &trouble.kinds {
                    prop_assert!(kind.times.len() <= MOST && kind.words.len() <= COMPARED + 20);
                }
                prop_assert!(trouble.kinds.len() <= MOST_KINDS && trouble.times.len() <= MOST_IN_ALL);
            }
            Ok(())
        })?;
    }
}
