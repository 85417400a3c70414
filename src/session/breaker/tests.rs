//! When a server is given up, when it is tried, and that nobody waits for nothing.

use proptest::prelude::*;
use tokio::time::{advance, timeout};

use super::*;
use crate::config::UpstreamTls;
use crate::telemetry::testing::Logged;

const SECOND: Duration = Duration::from_secs(1);

/// A dial that may go.
#[track_caller]
fn go(breaker: &mut Breaker, now: Instant) -> u64 {
    match breaker.ask(now) {
        Word::Go(number) => number,
        other => panic!("{other:?}"),
    }
}

/// A breaker that has just been opened.
fn given_up(now: Instant) -> Breaker {
    let mut breaker = Breaker::default();
    for failure in 1..=THRESHOLD {
        let dial = go(&mut breaker, now);
        assert_eq!(breaker.failed(dial, now, 0).is_some(), failure == THRESHOLD);
    }
    breaker
}

#[test]
fn five_failures_in_a_row_and_no_fewer_give_a_server_up() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    for _ in 1..THRESHOLD {
        let dial = go(&mut breaker, now);
        assert_eq!(breaker.failed(dial, now, 0), None);
    }
    let dial = go(&mut breaker, now);
    assert_eq!(breaker.succeeded(Some(dial), now), None, "nobody has been told that it was given up");
    let mut breaker = given_up(now);
    assert_eq!(breaker.ask(now + SECOND), Word::Rest { failing: SECOND, left: 9 * SECOND });
}

#[test]
fn one_at_a_time_finds_out_and_the_rest_grows_to_a_minute() {
    let mut now = Instant::now();
    let begun = now;
    let mut breaker = given_up(now);
    for rest in [10, 20, 40, 60, 60] {
        assert!(matches!(breaker.ask(now + rest * SECOND - SECOND / 10), Word::Rest { .. }), "{rest}");
        now += rest * SECOND;
        let trial = go(&mut breaker, now);
        assert!(matches!(breaker.ask(now), Word::Rest { left: Duration::ZERO, .. }), "only one");
        assert_eq!(breaker.failed(trial, now, 0), None, "that is no news");
    }
    now += 60 * SECOND;
    let trial = go(&mut breaker, now);
    assert_eq!(breaker.succeeded(Some(trial), now), Some(now - begun));
    for _ in 0..100 {
        go(&mut breaker, now);
    }
}

#[test]
fn chance_takes_a_quarter_at_most() {
    let now = Instant::now();
    for (chance, rest) in [(0, 10_000), (255, 7500), (51, 9500)] {
        let mut breaker = Breaker::default();
        for _ in 1..THRESHOLD {
            let dial = go(&mut breaker, now);
            breaker.failed(dial, now, chance);
        }
        let dial = go(&mut breaker, now);
        assert_eq!(breaker.failed(dial, now, chance).unwrap().as_millis(), rest);
    }
}

#[test]
fn a_trial_that_is_given_up_leaves_the_next_one_its_turn() {
    let now = Instant::now() + 10 * SECOND;
    let mut breaker = given_up(now - 10 * SECOND);
    let trial = go(&mut breaker, now);
    breaker.abandoned(trial, now);
    go(&mut breaker, now);
}

#[test]
fn what_was_begun_before_a_server_was_given_up_does_not_count_after_it() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    let dial = go(&mut breaker, now);
    breaker.succeeded(Some(dial), now);
    let burst: Vec<_> = (0..40).map(|_| go(&mut breaker, now)).collect();
    let told = burst.iter().filter(|dial| breaker.failed(**dial, now, 0).is_some()).count();
    assert_eq!(told, 1);
    let later = now + 10 * SECOND;
    let trial = go(&mut breaker, later);
    assert_eq!(breaker.failed(burst[39], later, 0), None);
    breaker.abandoned(burst[39], later);
    assert!(matches!(breaker.ask(later), Word::Rest { .. }), "the trial goes on");
    assert!(breaker.succeeded(Some(trial), later).is_some());
    // But who reaches it at last has reached it.
    let mut breaker = given_up(now);
    assert_eq!(breaker.succeeded(None, now + SECOND), Some(SECOND));
    go(&mut breaker, now + SECOND);
}

/// What may happen to a breaker.
#[derive(Debug, Clone, Copy)]
enum Event {
    Ask,
    Succeed(usize),
    Fail(usize, u8),
    Abandon(usize),
    Probe,
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Ask),
        1 => any::<usize>().prop_map(Event::Succeed),
        4 => (any::<usize>(), any::<u8>()).prop_map(|(at, chance)| Event::Fail(at, chance)),
        1 => any::<usize>().prop_map(Event::Abandon),
        1 => Just(Event::Probe),
        2 => (0..30_000u64).prop_map(Event::Pass),
    ]
}

proptest! {
    /// Whatever happens: nobody waits unless somebody is under way, a server that rests is dialed by one at most, and a
    /// rest ends within a minute.
    #[test]
    fn nobody_waits_for_nothing(events in prop::collection::vec(event(), 0..200)) {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        let mut dials: Vec<u64> = Vec::new();
        for event in events {
            let take = |dials: &mut Vec<u64>, at: usize| {
                (!dials.is_empty()).then(|| dials.swap_remove(at % dials.len()))
            };
            match event {
                Event::Ask => match breaker.ask(now) {
                    Word::Go(dial) => dials.push(dial),
                    Word::Wait => prop_assert!(dials.contains(&breaker.epoch)),
                    Word::Rest { left, .. } => {
                        prop_assert!(left <= LONGEST_REST);
                        prop_assert!(!left.is_zero() || dials.contains(&breaker.epoch));
                    }
                },
                Event::Succeed(at) => if let Some(dial) = take(&mut dials, at) {
                    breaker.succeeded(Some(dial), now);
                    let closed = matches!(breaker.state, State::Closed { failures: 0, .. });
                    prop_assert!(closed);
                },
                Event::Fail(at, chance) => if let Some(dial) = take(&mut dials, at) {
                    breaker.failed(dial, now, chance);
                },
                Event::Abandon(at) => if let Some(dial) = take(&mut dials, at) {
                    breaker.abandoned(dial, now);
                },
                Event::Probe => drop(breaker.succeeded(None, now)),
                Event::Pass(millis) => now += Duration::from_millis(millis),
            }
            let counted = dials.iter().filter(|dial| **dial == breaker.epoch).count();
            prop_assert_eq!(counted, breaker.under_way as usize);
            if matches!(breaker.state, State::Trial { .. }) {
                prop_assert_eq!(counted, 1);
            }
        }
    }
}

fn server(tls: UpstreamTls) -> Server {
    Server { host: "imap.example".into(), port: 993, tls }
}

#[tokio::test]
async fn who_names_the_same_server_wrongly_gives_it_up_for_nobody_else() {
    let breakers = Breakers::default();
    let wrong = breakers.of("copy", Protocol::Imap, &server(UpstreamTls::StartTls));
    for _ in 0..THRESHOLD {
        wrong.enter().await.unwrap().failed("no TLS");
    }
    assert!(
        breakers
            .of("copy", Protocol::Imap, &server(UpstreamTls::StartTls))
            .enter()
            .await
            .is_err(),
        "it is one"
    );
    for (provider, protocol, tls) in [
        ("microsoft", Protocol::Imap, UpstreamTls::StartTls),
        ("copy", Protocol::Pop3, UpstreamTls::StartTls),
        ("copy", Protocol::Imap, UpstreamTls::Implicit),
    ] {
        assert!(breakers.of(provider, protocol, &server(tls)).enter().await.is_ok(), "{provider} {protocol} {tls:?}");
    }
}

fn endpoint() -> Arc<Endpoint> {
    Breakers::default().of("microsoft", Protocol::Imap, &server(UpstreamTls::Implicit))
}

/// How many of forty logins dial at once, and what the others are told in the end, if each dial takes a second and then
/// comes to this.
async fn crowd(endpoint: &Arc<Endpoint>, reached: bool) -> (usize, usize) {
    let dials = Arc::new(Mutex::new((0, 0)));
    let logins: Vec<_> = (0..40)
        .map(|_| {
            let (endpoint, dials) = (Arc::clone(endpoint), Arc::clone(&dials));
            tokio::spawn(async move {
                let Ok(mut dial) = endpoint.enter().await else {
                    dials.lock().unwrap().1 += 1;
                    return;
                };
                dials.lock().unwrap().0 += 1;
                tokio::time::sleep(SECOND).await;
                if reached { dial.succeeded() } else { dial.failed("no connection") }
            })
        })
        .collect();
    for login in logins {
        timeout(2 * SECOND + SECOND / 2, login)
            .await
            .expect("one waits for nothing")
            .unwrap();
    }
    *dials.lock().unwrap()
}

#[tokio::test(start_paused = true)]
async fn of_forty_devices_five_dial_a_dead_server() {
    let endpoint = endpoint();
    assert_eq!(crowd(&endpoint, false).await, (5, 35));
    assert_eq!(crowd(&endpoint, false).await, (0, 40));
    let refusal = endpoint.enter().await.unwrap_err();
    assert!(refusal.starts_with("imap.example:993 has been out of reach for "), "{refusal}");
    assert!(refusal.ends_with("The last failure: no connection"), "{refusal}");
    advance(FIRST_REST).await;
    assert_eq!(crowd(&endpoint, false).await, (1, 39));
    advance(2 * FIRST_REST).await;
    assert_eq!(crowd(&endpoint, true).await, (1, 39));
    assert_eq!(crowd(&endpoint, true).await, (40, 0));
}

#[tokio::test(start_paused = true)]
async fn of_forty_devices_all_get_to_a_server_that_lives() {
    assert_eq!(crowd(&endpoint(), true).await, (40, 0));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_makes_room_and_who_is_sent_by_a_person_goes_through() {
    let endpoint = endpoint();
    let mut dials = Vec::new();
    for _ in 0..THRESHOLD {
        dials.push(endpoint.enter().await.unwrap());
    }
    let sixth = endpoint.enter();
    tokio::pin!(sixth);
    assert!(timeout(SECOND, sixth.as_mut()).await.is_err());
    dials.pop();
    let mut sixth = timeout(SECOND, sixth).await.expect("there is room").unwrap();
    for dial in dials.iter_mut().chain([&mut sixth]) {
        dial.failed("no connection");
    }
    assert!(endpoint.enter().await.is_err());
    for _ in 0..10 {
        endpoint.regardless().failed("no connection");
    }
    drop(endpoint.regardless());
    assert!(endpoint.enter().await.is_err());
    endpoint.regardless().succeeded();
    endpoint.enter().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_log_says_once_when_a_server_is_given_up_and_once_when_it_is_back() {
    let (logged, _guard) = Logged::start();
    let endpoint = endpoint();
    crowd(&endpoint, false).await;
    let lines = logged.lines();
    assert!(lines.len() == 1 && lines[0].contains("WARN") && lines[0].contains("imap.example:993"), "{lines:?}");
    assert!(lines[0].contains("5 times in a row") && lines[0].contains(": no connection"), "{lines:?}");
    advance(FIRST_REST).await;
    crowd(&endpoint, false).await;
    assert_eq!(logged.lines(), [""; 0], "what has not changed is no news");
    advance(2 * FIRST_REST).await;
    crowd(&endpoint, true).await;
    crowd(&endpoint, true).await;
    let lines = logged.lines();
    assert!(lines.len() == 1 && lines[0].contains("INFO") && lines[0].contains("reached again"), "{lines:?}");
}
