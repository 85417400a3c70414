//! Many attempts, one after the other or at once: who is shut out, who waits, and who goes first.

use super::*;

#[tokio::test]
async fn a_blocked_pair_is_not_computed_and_a_remembered_password_passes() {
    let office = Office::new(vec![login("scanner", "right"), login("scanner", "spare")]);
    office.attempt("scanner", "right").await.unwrap();
    for guess in 0..10 {
        assert_eq!(office.attempt("scanner", &format!("guess{guess}")).await, Err(Denied::Credentials));
    }
    let computed = office.verifier.computations();
    assert_eq!(office.attempt("scanner", "spare").await, Err(Denied::Throttled));
    assert_eq!(office.verifier.computations(), computed);
    assert_eq!(office.attempt("scanner", "right").await, Ok(0));
    assert_eq!(office.attempt("scanner", "spare").await, Err(Denied::Throttled), "the block stays for the others");
}

#[tokio::test(start_paused = true)]
async fn a_guesser_with_a_whole_network_of_ipv6_shuts_out_no_device_that_has_logged_in_there() {
    let office = Office::new(vec![login("scanner", "right"), login("scanner", "spare")]);
    let directory = Directory::of(&office.config);
    let attempt = async |host: u16, password: &str| {
        let peer = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host).into();
        let visit = Visit { peer, protocol: Protocol::Smtp, encrypted: true };
        let verified = office.verifier.verify(&directory, &visit, &request("scanner", password)).await;
        verified.map(|verified| verified.login)
    };
    assert_eq!(attempt(7, "right").await, Ok(0));
    let mut computed = office.verifier.computations();
    for host in 100..150 {
        let expected = if host < 140 { Denied::Credentials } else { Denied::Throttled };
        assert_eq!(attempt(host, &format!("guess{host}")).await, Err(expected), "{host}");
    }
    assert_eq!(office.verifier.computations(), computed + 2 * 40);
    assert_eq!(attempt(8, "spare").await, Err(Denied::Throttled), "a stranger there, for now");
    assert_eq!(attempt(7, "spare").await, Ok(1));
    // A wrong password is wrong at every address: nobody keeps the cores busy by changing it.
    tokio::time::advance(office.config.limits.failed_logins.block).await;
    computed = office.verifier.computations();
    for host in 200..220 {
        assert_eq!(attempt(host, "wrong").await, Err(Denied::Credentials));
    }
    assert_eq!(office.verifier.computations(), computed + 2);
}

#[tokio::test(start_paused = true)]
async fn loopback_waits_and_is_then_checked() {
    let office = Office::new(vec![login("scanner", "right")]);
    let here = [127, 0, 0, 1];
    for guess in 0..30 {
        let wrong = request("scanner", &format!("guess{guess}"));
        assert_eq!(office.try_from_peer(here, Protocol::Pop3, &wrong).await, Err(Denied::Credentials));
    }
    let before = Instant::now();
    assert_eq!(office.try_from_peer(here, Protocol::Pop3, &request("scanner", "right")).await, Ok(0));
    assert_eq!(before.elapsed().as_secs(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_attempts_at_once_share_one_computation() {
    let names: Vec<String> = (0..200).map(|number| format!("device{number}")).collect();
    let config = config(names.iter().map(|name| vec![login(name, "right")]).collect());
    let (directory, verifier) = (Arc::new(Directory::of(&config)), Verifier::new(&config).unwrap());
    let mut attempts = tokio::task::JoinSet::new();
    for name in names.iter().cycle().take(1000) {
        let (directory, verifier, request) = (Arc::clone(&directory), verifier.clone(), request(name, "right"));
        attempts.spawn(async move {
            let here = visit([127, 0, 0, 1], Protocol::Imap);
            verifier
                .verify(&directory, &here, &request)
                .await
                .map(|verified| verified.login)
        });
    }
    while let Some(outcome) = attempts.join_next().await {
        assert_eq!(outcome.unwrap(), Ok(0));
    }
    assert_eq!(verifier.computations(), 200);
}

/// Attempts from `number` of this machine's addresses at once, each with a password of its own. How long each took.
async fn guess_at_once(office: &Arc<Office>, number: u8, username: &'static str) -> Vec<(Duration, Denied)> {
    let mut guesses = tokio::task::JoinSet::new();
    for guess in 0..number {
        let office = Arc::clone(office);
        guesses.spawn(async move {
            let (begun, wrong) = (Instant::now(), request(username, &format!("guess{guess}")));
            let denied = office
                .try_from_peer([127, 0, guess, 1], Protocol::Smtp, &wrong)
                .await
                .unwrap_err();
            (begun.elapsed(), denied)
        });
    }
    guesses.join_all().await
}

#[tokio::test(start_paused = true)]
async fn many_guesses_at_once_on_loopback_are_no_faster_than_one_after_the_other() {
    let office = Arc::new(Office::new(vec![login("scanner", "right"), login("scanner", "spare")]));
    let answers = guess_at_once(&office, 100, "scanner").await;
    let (busy, computed): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(_, denied)| *denied == Denied::Busy);
    assert!(busy.iter().all(|(took, _)| took.is_zero()), "{busy:?}");
    assert_eq!(computed.len(), 9, "{computed:?}");
    assert!(computed.iter().all(|(took, _)| took.as_secs() <= 10), "{computed:?}");
    assert!(computed.iter().any(|(took, _)| took.as_secs() == 9), "{computed:?}");

    // Nobody is shut out by that: who waited is heard.
    assert_eq!(guess_at_once(&office, 1, "scanner").await[0].1, Denied::Credentials);
    assert_eq!(
        office
            .try_from_peer([127, 0, 0, 1], Protocol::Smtp, &request("scanner", "right"))
            .await,
        Ok(0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_guesser_on_loopback_delays_neither_other_names_nor_a_remembered_password() {
    let office =
        Arc::new(Office::new(vec![login("scanner", "right"), login("printer", "right"), login("fax", "right")]));
    let here = [127, 0, 0, 1];
    assert_eq!(office.try_from_peer(here, Protocol::Smtp, &request("scanner", "right")).await, Ok(0));
    // Enough names to slow all of this machine, and then every one again.
    for round in 0..2 {
        for name in 0..60 {
            let wrong = request(format!("name{name}"), &format!("guess{round}"));
            let guess = office.try_from_peer(here, Protocol::Smtp, &wrong);
            assert_eq!(guess.await, Err(Denied::Credentials));
        }
    }
    let guesser = {
        let office = Arc::clone(&office);
        tokio::spawn(async move { guess_at_once(&office, 100, "fax").await })
    };
    while office.verifier.computations() < 122 {
        tokio::task::yield_now().await;
    }
    let before = Instant::now();
    assert_eq!(office.try_from_peer(here, Protocol::Smtp, &request("printer", "right")).await, Ok(1));
    assert_eq!(office.try_from_peer(here, Protocol::Smtp, &request("scanner", "right")).await, Ok(0));
    assert!(before.elapsed().is_zero());
    assert!(guesser.await.unwrap().iter().any(|(_, denied)| *denied == Denied::Busy));
}

#[tokio::test(start_paused = true)]
async fn passwords_found_wrong_need_no_place_at_the_gate_and_stay_counted() {
    let office = Arc::new(Office::new(vec![login("scanner", "right")]));
    for guess in 0..9 {
        assert_eq!(office.attempt("scanner", &format!("guess{guess}")).await, Err(Denied::Credentials));
    }
    let gate = &office.verifier.0.gate;
    let mut held = Vec::new();
    for _ in 0..std::thread::available_parallelism().unwrap().get() {
        held.push(gate.enter(Origin::of(OFFICE.into()), false).await.unwrap());
    }
    let mut places: Vec<_> = (0..64)
        .map(|_| Box::pin(gate.enter(Origin::of(OFFICE.into()), false)))
        .collect();
    for place in &mut places {
        assert!(poll_once(place).await.is_none());
    }
    for guess in 0..9 {
        assert_eq!(office.attempt("scanner", &format!("guess{guess}")).await, Err(Denied::Credentials));
    }
    assert_eq!(office.attempt("scanner", "unchecked").await, Err(Denied::Busy));
    drop(places);
    drop(held);
    assert_eq!(office.attempt("scanner", "guess9").await, Err(Denied::Credentials));
    assert_eq!(office.attempt("scanner", "guess10").await, Err(Denied::Throttled));
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_succeeded_goes_first_until_it_has_been_wrong_too_often() {
    let office = Office::new(vec![login("scanner", "right"), login("scanner", "spare")]);
    let goes_first = || {
        office
            .verifier
            .0
            .memory()
            .proven
            .get(&(Origin::of(OFFICE.into()), "scanner".into()))
            .copied()
    };
    assert_eq!(office.attempt("scanner", "guess").await, Err(Denied::Credentials));
    assert_eq!(goes_first(), None);
    assert_eq!(office.attempt("scanner", "right").await, Ok(0));
    for (guess, left) in [("a", 2), ("a", 2), ("b", 1), ("c", 0), ("d", 0)] {
        assert_eq!(office.attempt("scanner", guess).await, Err(Denied::Credentials));
        assert_eq!(goes_first(), Some(left), "what is not computed goes nowhere first");
    }
    assert_eq!(office.attempt("scanner", "right").await, Ok(0));
    assert_eq!(goes_first(), Some(0), "a remembered password gives nothing back");
    assert_eq!(office.attempt("scanner", "spare").await, Ok(1));
    assert_eq!(goes_first(), Some(3));
}

#[tokio::test]
async fn wrong_passwords_sent_at_once_do_not_all_go_first() {
    let office = Office::new(vec![login("scanner", "right")]);
    office.attempt("scanner", "right").await.unwrap();
    let mut held = Vec::new();
    for _ in 0..std::thread::available_parallelism().unwrap().get() {
        held.push(office.verifier.0.gate.enter(Origin::of(OFFICE.into()), false).await.unwrap());
    }
    let wrong: Vec<_> = (0..8).map(|guess| format!("guess{guess}")).collect();
    let mut guesses: Vec<_> = wrong.iter().map(|wrong| Box::pin(office.attempt("scanner", wrong))).collect();
    for guess in &mut guesses {
        assert!(poll_once(guess).await.is_none());
    }
    while office.verifier.0.gate.waiting().iter().sum::<usize>() < 8 {
        tokio::task::yield_now().await;
    }
    assert_eq!(office.verifier.0.gate.waiting(), [3, 5]);
}

#[tokio::test]
async fn a_crowd_from_one_address_is_told_to_come_back() {
    let office = Office::new(vec![login("scanner", "right")]);
    let cores = std::thread::available_parallelism().unwrap().get();
    let mut held = Vec::new();
    let elsewhere = Origin::of([198, 51, 100, 1].into());
    for _ in 0..cores {
        held.push(office.verifier.0.gate.enter(elsewhere, false).await.unwrap());
    }
    let mut attempts = tokio::task::JoinSet::new();
    let directory = Arc::new(Directory::default());
    for number in 0..100 {
        let (directory, verifier) = (Arc::clone(&directory), office.verifier.clone());
        let request = request(format!("name{number}"), "x");
        attempts.spawn(async move {
            verifier
                .verify(&directory, &visit(OFFICE, Protocol::Imap), &request)
                .await
                .err()
        });
    }
    for _ in 64..100 {
        assert_eq!(attempts.join_next().await.unwrap().unwrap(), Some(Denied::Busy));
    }
    held.clear();
    while let Some(outcome) = attempts.join_next().await {
        assert_eq!(outcome.unwrap(), Some(Denied::Credentials));
    }
}

#[tokio::test]
async fn a_computation_nobody_waits_for_leaves_the_queue() {
    let office = Office::new(vec![login("scanner", "right")]);
    let elsewhere = Origin::of([198, 51, 100, 1].into());
    let mut held = Vec::new();
    for _ in 0..std::thread::available_parallelism().unwrap().get() {
        held.push(office.verifier.0.gate.enter(elsewhere, false).await.unwrap());
    }
    {
        let mut attempt = Box::pin(office.attempt("scanner", "right"));
        assert!(poll_once(&mut attempt).await.is_none());
        tokio::task::yield_now().await;
    }
    while !office.verifier.0.memory().flights.is_empty() {
        tokio::task::yield_now().await;
    }
    held.clear();
    assert_eq!(office.verifier.computations(), 0);
    assert_eq!(office.attempt("scanner", "right").await, Ok(0));
}

/// Polls once; `None` while it is pending.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        let polled = std::pin::Pin::new(&mut *future).poll(context);
        std::task::Poll::Ready(match polled {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
