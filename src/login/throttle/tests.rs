//! The throttle by itself, on a clock the test moves.

use super::*;

const LIMITS: FailedLogins =
    FailedLogins { count: 10, within: Duration::from_secs(300), block: Duration::from_secs(900) };

const AT_ONCE: Result<Duration, Refused> = Ok(Duration::ZERO);

fn origin(text: &str) -> Origin {
    Origin::of(text.parse().unwrap())
}

fn password(number: u32) -> Fingerprint {
    let mut fingerprint = [0; 32];
    fingerprint[..4].copy_from_slice(&number.to_be_bytes());
    fingerprint
}

/// Begins an attempt; its wait.
fn begin(throttle: &mut Throttle, now: Instant, from: Origin, name: &str, number: u32) -> Result<Duration, Refused> {
    let attempt = throttle.begin(now, from, name, password(number), false)?;
    Ok(attempt.wait)
}

/// An attempt that fails as soon as its turn has come; its wait.
fn fail(throttle: &mut Throttle, now: Instant, from: Origin, name: &str, number: u32) -> Result<Duration, Refused> {
    let wait = begin(throttle, now, from, name, number)?;
    throttle.failed(now + wait, from, name, password(number), Found::Wrong);
    Ok(wait)
}

fn milliseconds(number: u64) -> Result<Duration, Refused> {
    Ok(Duration::from_millis(number))
}

#[test]
fn ten_failures_shut_the_pair_out_and_only_the_pair() {
    let mut throttle = Throttle::new(LIMITS);
    let (now, from) = (Instant::now(), origin("192.0.2.1"));
    for number in 0..10 {
        assert_eq!(fail(&mut throttle, now, from, "scanner", number), AT_ONCE);
    }
    assert_eq!(begin(&mut throttle, now, from, "scanner", 99), Err(Refused::Blocked));
    assert_eq!(begin(&mut throttle, now, from, "printer", 99), AT_ONCE);
    assert_eq!(begin(&mut throttle, now, origin("192.0.2.2"), "scanner", 99), AT_ONCE);

    let almost = now + LIMITS.block - Duration::from_secs(1);
    assert_eq!(begin(&mut throttle, almost, from, "scanner", 99), Err(Refused::Blocked));
    assert_eq!(begin(&mut throttle, now + LIMITS.block, from, "scanner", 99), AT_ONCE);
}

#[test]
fn guesses_sent_at_once_are_counted_before_any_has_failed() {
    let mut throttle = Throttle::new(LIMITS);
    let (now, from) = (Instant::now(), origin("192.0.2.1"));
    let passed = (0..100)
        .filter(|number| begin(&mut throttle, now, from, "scanner", *number) == AT_ONCE)
        .count();
    assert_eq!(passed, 10);
}

#[test]
fn the_same_wrong_password_counts_once() {
    let mut throttle = Throttle::new(LIMITS);
    let (now, from) = (Instant::now(), origin("192.0.2.1"));
    assert_eq!(fail(&mut throttle, now, from, "scanner", 7), AT_ONCE);
    for _ in 0..100 {
        assert_eq!(fail(&mut throttle, now, from, "scanner", 7), Ok(REPEATED));
    }
    for number in 10..19 {
        assert_eq!(fail(&mut throttle, now, from, "scanner", number), AT_ONCE, "{number}");
    }
    assert_eq!(begin(&mut throttle, now, from, "scanner", 7), Err(Refused::Blocked), "those were the nine others");
}

#[test]
fn what_was_found_is_kept_as_long_as_the_failure() {
    let mut throttle = Throttle::new(LIMITS);
    let (now, from) = (Instant::now(), origin("192.0.2.1"));
    let found = |throttle: &Throttle, now, from, name| throttle.found(now, from, name, &password(1));
    let waiting = throttle.begin(now, from, "scanner", password(1), false).unwrap();
    assert_eq!(found(&throttle, now, from, "scanner"), None, "it is being tried");
    throttle.failed(now, from, "scanner", password(1), Found::Wrong);
    throttle.failed(now, from, "printer", password(1), Found::Misplaced);
    assert_eq!(found(&throttle, now, from, "scanner"), Some(Found::Wrong));
    assert_eq!(found(&throttle, now, from, "printer"), Some(Found::Misplaced));
    assert_eq!(throttle.found(now, from, "scanner", &password(2)), None);
    assert_eq!(found(&throttle, now, origin("192.0.2.2"), "scanner"), None);

    let almost = now + LIMITS.within - Duration::from_secs(1);
    assert_eq!(found(&throttle, almost, from, "scanner"), Some(Found::Wrong));
    assert_eq!(found(&throttle, now + LIMITS.within, from, "scanner"), None);
    throttle.succeeded(from, "scanner", &waiting);
    assert_eq!(found(&throttle, almost, from, "scanner"), None);
}

#[test]
fn a_password_found_wrong_waits_as_a_new_one_would_but_stands_in_no_line() {
    let mut throttle = Throttle::new(LIMITS);
    let (now, from) = (Instant::now(), origin("127.0.0.1"));
    for number in 0..5 {
        fail(&mut throttle, now, from, "scanner", number).unwrap();
    }
    for number in (0..5).cycle().take(100) {
        assert_eq!(begin(&mut throttle, now, from, "scanner", number), milliseconds(1600), "after five, as a sixth");
    }
    assert_eq!(begin(&mut throttle, now, from, "scanner", 5), milliseconds(1500 + 1600), "they took no place");
}

#[test]
fn failures_age_out_of_the_window() {
    let mut throttle = Throttle::new(LIMITS);
    let (start, from) = (Instant::now(), origin("192.0.2.1"));
    for number in 0..40 {
        let now = start + LIMITS.within / 8 * number;
        assert_eq!(fail(&mut throttle, now, from, "scanner", number), AT_ONCE, "{number}");
    }
}

#[test]
fn success_and_an_unchecked_attempt_are_forgiven() {
    let mut throttle = Throttle::new(LIMITS);
    let (now, from) = (Instant::now(), origin("192.0.2.1"));
    for number in 0..9 {
        fail(&mut throttle, now, from, "scanner", number).unwrap();
    }
    let unchecked = throttle.begin(now, from, "scanner", password(50), false).unwrap();
    throttle.withdrawn(from, "scanner", &unchecked);
    assert_eq!(begin(&mut throttle, now, from, "scanner", 51), AT_ONCE);
    let right = throttle.begin(now, from, "scanner", password(51), false).unwrap();
    throttle.succeeded(from, "scanner", &right);
    for number in 0..10 {
        assert_eq!(fail(&mut throttle, now, from, "scanner", number), AT_ONCE);
    }
    assert_eq!(begin(&mut throttle, now, from, "scanner", 60), Err(Refused::Blocked));
}

#[test]
fn loopback_is_delayed_ever_longer_but_never_blocked() {
    let mut throttle = Throttle::new(LIMITS);
    let (mut now, from) = (Instant::now(), origin("127.0.0.1"));
    let mut longest = Duration::ZERO;
    for number in 0..100 {
        let wait = fail(&mut throttle, now, from, "scanner", number).unwrap();
        assert!(wait >= longest && wait <= LOOPBACK_SLOWED, "{wait:?}");
        longest = wait;
        now += wait;
    }
    assert_eq!(longest, LOOPBACK_SLOWED);
}

#[test]
fn guesses_sent_at_once_on_loopback_stand_in_line() {
    let mut throttle = Throttle::new(LIMITS);
    // Whichever of this machine's addresses each of them comes from.
    let from = |number: u32| origin(&format!("127.0.{number}.{number}"));
    let now = Instant::now();
    let mut waits = (0..9).map(|number| begin(&mut throttle, now, from(number), "scanner", number));
    for wait in [0, 100, 300, 700, 1500, 3100, 5100, 7100, 9100] {
        assert_eq!(waits.next(), Some(milliseconds(wait)));
    }
    drop(waits);
    // The next would wait longer than its client does: it is sent away, and takes no place.
    for number in 9..100 {
        assert_eq!(begin(&mut throttle, now, from(number), "scanner", number), Err(Refused::Crowded));
    }
    let later = now + Duration::from_millis(2000);
    assert_eq!(begin(&mut throttle, later, from(1), "scanner", 100), milliseconds(9100));
    assert_eq!(begin(&mut throttle, later, from(1), "printer", 100), AT_ONCE, "the line is the pair's");
    let much_later = now + Duration::from_secs(60);
    assert_eq!(begin(&mut throttle, much_later, from(1), "scanner", 101), milliseconds(2000), "the line moves on");
}

#[test]
fn on_loopback_what_blocks_elsewhere_delays_most_however_little_that_is() {
    let mut throttle = Throttle::new(FailedLogins { count: 1, ..LIMITS });
    let (now, from) = (Instant::now(), origin("127.0.0.1"));
    assert_eq!(fail(&mut throttle, now, from, "scanner", 0), AT_ONCE);
    assert_eq!(fail(&mut throttle, now, from, "scanner", 1), Ok(LOOPBACK_SLOWED));
}

#[test]
fn after_fifty_names_all_of_an_address_stand_in_one_line_but_who_has_not_failed() {
    for (from, step) in [("127.0.0.1", LOOPBACK_SLOWED), ("192.0.2.1", SLOWED)] {
        let mut throttle = Throttle::new(LIMITS);
        let (now, from) = (Instant::now(), origin(from));
        for number in 0..50 {
            assert_eq!(fail(&mut throttle, now, from, &format!("name{number}"), 1), AT_ONCE);
        }
        let mut wait = step;
        for number in 0..50 {
            let expected = if wait > LONGEST_WAIT { Err(Refused::Crowded) } else { Ok(wait) };
            assert_eq!(begin(&mut throttle, now, from, &format!("name{number}"), 2), expected, "{number}");
            wait += step;
        }
        let beside_them = if from.is_loopback() { AT_ONCE } else { Ok(SLOWED) };
        for number in 10..50 {
            assert_eq!(begin(&mut throttle, now, from, &format!("neighbour{number}"), 1), beside_them);
            assert_eq!(begin(&mut throttle, now, from, &format!("name{number}"), 1), Ok(step), "known to be wrong");
        }
        let later = now + Duration::from_secs(60);
        assert_eq!(begin(&mut throttle, later, from, "name0", 3), Ok(step), "the line moves on");
    }
}

#[test]
fn an_unchecked_attempt_takes_back_no_more_than_it_added() {
    let mut throttle = Throttle::new(LIMITS);
    let (now, from) = (Instant::now(), origin("192.0.2.1"));
    for number in 0..9 {
        fail(&mut throttle, now, from, "scanner", number).unwrap();
    }
    for number in 0..9 {
        let again = throttle.begin(now, from, "scanner", password(number), false).unwrap();
        throttle.withdrawn(from, "scanner", &again);
    }
    assert_eq!(fail(&mut throttle, now, from, "scanner", 9), AT_ONCE);
    assert_eq!(begin(&mut throttle, now, from, "scanner", 10), Err(Refused::Blocked), "that was the tenth");

    // Nor what it had added, where another attempt has found it wrong since.
    let waiting = throttle.begin(now, from, "printer", password(0), false).unwrap();
    for number in 0..9 {
        fail(&mut throttle, now, from, "printer", number).unwrap();
    }
    throttle.withdrawn(from, "printer", &waiting);
    assert_eq!(fail(&mut throttle, now, from, "printer", 9), AT_ONCE);
    assert_eq!(begin(&mut throttle, now, from, "printer", 10), Err(Refused::Blocked));
}

#[test]
fn an_unchecked_attempt_leaves_nothing_behind_but_a_block() {
    let mut throttle = Throttle::new(FailedLogins { count: 1, ..LIMITS });
    let (now, from) = (Instant::now(), origin("192.0.2.1"));
    let unchecked = throttle.begin(now, from, "scanner", password(0), false).unwrap();
    throttle.withdrawn(from, "scanner", &unchecked);
    assert!(throttle.pairs.get(&(from, "scanner".into())).is_none());

    let unchecked = throttle.begin(now, from, "scanner", password(0), false).unwrap();
    throttle.failed(now, from, "scanner", password(0), Found::Wrong);
    throttle.withdrawn(from, "scanner", &unchecked);
    assert_eq!(begin(&mut throttle, now, from, "scanner", 1), Err(Refused::Blocked));
}

#[test]
fn fifty_names_slow_the_whole_address() {
    let mut throttle = Throttle::new(LIMITS);
    let (now, from) = (Instant::now(), origin("2001:db8::1"));
    for number in 0..50 {
        assert_eq!(fail(&mut throttle, now, from, &format!("name{number}"), 1), AT_ONCE);
    }
    let same_network = origin("2001:db8::ffff:0:0:9");
    assert_eq!(begin(&mut throttle, now, same_network, "other", 1), Ok(SLOWED));
    assert_eq!(begin(&mut throttle, now, origin("2001:db8:0:1::1"), "other", 1), AT_ONCE);
    let later = now + LIMITS.within;
    assert_eq!(begin(&mut throttle, later, same_network, "other", 1), AT_ONCE);
}

/// The address of this number in one /64.
fn host(number: u32) -> Origin {
    origin(&format!("2001:db8::{number:x}"))
}

#[test]
fn of_ipv6_a_guesser_shuts_out_its_own_address_and_no_neighbour() {
    let mut throttle = Throttle::new(LIMITS);
    let now = Instant::now();
    for number in 0..12 {
        let _ = fail(&mut throttle, now, host(0), "scanner", number);
    }
    assert_eq!(begin(&mut throttle, now, host(0), "scanner", 99), Err(Refused::Blocked));
    assert_eq!(begin(&mut throttle, now, host(1), "scanner", 99), AT_ONCE);
}

#[test]
fn of_ipv6_a_guesser_with_addresses_without_end_shuts_the_name_out_in_its_network() {
    let mut throttle = Throttle::new(LIMITS);
    let now = Instant::now();
    let looked_at = (0..1000)
        .filter(|number| fail(&mut throttle, now, host(*number), "scanner", *number).is_ok())
        .count();
    assert_eq!(looked_at, 40, "as many as four addresses have");
    assert_eq!(begin(&mut throttle, now, host(9999), "scanner", 9999), Err(Refused::Blocked));
    // Also where they come all at once, before any has failed.
    let at_once = (0..1000)
        .filter(|number| begin(&mut throttle, now, host(*number), "fax", *number).is_ok())
        .count();
    assert_eq!(at_once, 40);
    // Neither other names, nor other networks, nor the addresses that the name has opened before.
    assert_eq!(begin(&mut throttle, now, host(1), "printer", 1), AT_ONCE);
    assert_eq!(begin(&mut throttle, now, origin("2001:db8:0:1::1"), "scanner", 1), AT_ONCE);
    let device = throttle.begin(now, host(9998), "scanner", password(1), true).unwrap();
    assert!(device.wait.is_zero());
    assert_eq!(begin(&mut throttle, now + LIMITS.block, host(9999), "scanner", 9999), AT_ONCE);
}

#[test]
fn of_ipv6_devices_with_one_old_password_do_not_shut_the_others_out() {
    let mut throttle = Throttle::new(LIMITS);
    let now = Instant::now();
    assert_eq!(fail(&mut throttle, now, host(0), "scanner", 7), AT_ONCE);
    for device in 1..200 {
        assert_eq!(
            throttle.found(now, host(device), "scanner", &password(7)),
            Some(Found::Wrong),
            "nor is it computed"
        );
        assert_eq!(begin(&mut throttle, now, host(device), "scanner", 7), Ok(REPEATED));
    }
    for device in 0..200 {
        let right = throttle.begin(now, host(device), "scanner", password(8), false).unwrap();
        assert!(right.wait.is_zero());
        throttle.succeeded(host(device), "scanner", &right);
    }
    // One that fits and may not be used there costs another address what a wrong one costs it.
    assert_eq!(begin(&mut throttle, now, host(0), "scanner", 9), AT_ONCE);
    throttle.failed(now, host(0), "scanner", password(9), Found::Misplaced);
    assert_eq!(throttle.found(now, host(1), "scanner", &password(9)), Some(Found::Misplaced));
    assert_eq!(begin(&mut throttle, now, host(1), "scanner", 9), Ok(REPEATED));
}

#[test]
fn of_ipv6_a_success_takes_back_its_own_count_alone() {
    let mut throttle = Throttle::new(LIMITS);
    let now = Instant::now();
    for number in 0..39 {
        assert_eq!(fail(&mut throttle, now, host(number), "scanner", number), AT_ONCE);
    }
    for device in 100..200 {
        let right = throttle.begin(now, host(device), "scanner", password(device), false).unwrap();
        throttle.succeeded(host(device), "scanner", &right);
        let unchecked = throttle.begin(now, host(device), "scanner", password(device), false).unwrap();
        throttle.withdrawn(host(device), "scanner", &unchecked);
    }
    assert_eq!(fail(&mut throttle, now, host(39), "scanner", 39), AT_ONCE);
    assert_eq!(begin(&mut throttle, now, host(40), "scanner", 40), Err(Refused::Blocked), "that was the fortieth");
}

#[test]
fn one_name_failing_often_does_not_slow_its_neighbours() {
    let mut throttle = Throttle::new(FailedLogins { count: 200, ..LIMITS });
    let (now, from) = (Instant::now(), origin("192.0.2.1"));
    for number in 0..100 {
        fail(&mut throttle, now, from, "scanner", number).unwrap();
    }
    assert_eq!(begin(&mut throttle, now, from, "printer", 1), AT_ONCE);
}

#[test]
fn random_names_push_out_the_oldest_memory() {
    let mut throttle = Throttle::with_capacity(LIMITS, 8, 8, 8);
    let now = Instant::now();
    for number in 0..10 {
        fail(&mut throttle, now, origin("192.0.2.1"), "scanner", number).unwrap();
    }
    for number in 0..8 {
        fail(&mut throttle, now, origin("192.0.2.9"), &format!("name{number}"), 1).unwrap();
    }
    assert_eq!(begin(&mut throttle, now, origin("192.0.2.1"), "scanner", 99), AT_ONCE);
}

#[test]
fn an_ipv4_address_in_ipv6_clothes_is_the_same_origin() {
    assert_eq!(origin("::ffff:192.0.2.1"), origin("192.0.2.1"));
    assert_ne!(origin("192.0.2.1"), origin("192.0.2.2"));
}

#[test]
fn this_machine_is_one_origin_under_all_its_loopback_addresses() {
    for address in ["127.0.0.2", "127.255.255.254", "::1", "::ffff:127.0.0.1", "::ffff:127.1.2.3"] {
        assert_eq!(origin(address), origin("127.0.0.1"), "{address}");
        assert!(origin(address).is_loopback());
    }
    for address in ["::2", "::", "128.0.0.1", "0.0.0.0"] {
        assert_ne!(origin(address), origin("127.0.0.1"), "{address}");
    }
}
