//! The listener as browsers, and those who are none, meet it.

use std::net::IpAddr;

use tokio::task::JoinHandle;

use super::*;

const LONG: Duration = Duration::from_secs(600);

fn is_mine(query: &str) -> bool {
    query.contains("state=mine")
}

/// A listener that waits.
async fn waiting() -> (u16, JoinHandle<Result<String, RedirectError>>) {
    let redirect = Redirect::bind(None).await.unwrap();
    let port = redirect.expected.port;
    (port, tokio::spawn(redirect.wait(LONG, is_mine)))
}

async fn say(address: impl Into<IpAddr>, port: u16, request: &[u8]) -> String {
    let mut stream = TcpStream::connect((address.into(), port)).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn get(port: u16, target: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost:{port}\r\nAccept: text/html\r\n\r\n");
    say(Ipv4Addr::LOCALHOST, port, request.as_bytes()).await
}

#[tokio::test]
async fn the_awaited_redirect_is_taken() {
    let (port, waiting) = waiting().await;
    let page = get(port, "/?code=c%2B1&state=mine").await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    assert!(page.contains("\r\nContent-Security-Policy: default-src 'none'"), "{page}");
    assert!(page.contains("\r\nReferrer-Policy: no-referrer\r\n"), "{page}");
    assert_eq!(waiting.await.unwrap().unwrap(), "code=c%2B1&state=mine");
    let again = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
    assert!(again.is_err(), "one shot");
}

#[tokio::test]
async fn both_loopback_addresses_lead_there_under_the_name_that_can_be_registered() {
    let redirect = Redirect::bind(None).await.unwrap();
    assert_eq!(redirect.uri(), format!("http://localhost:{}", redirect.expected.port));
    let port = redirect.expected.port;
    if redirect.sockets.len() == 1 {
        return; // This machine has no IPv6.
    }
    let waiting = tokio::spawn(redirect.wait(LONG, is_mine));
    for host in ["localhost", "LocalHost", "127.0.0.1", "[::1]"] {
        let request = format!("GET /?state=other HTTP/1.1\r\nhost:{host}:{port}\r\n\r\n");
        for address in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            assert!(say(address, port, request.as_bytes()).await.contains(" 400 "), "{host}");
        }
    }
    let request = format!("GET /?state=mine HTTP/1.1\r\nHost: [::1]:{port}\r\n\r\n");
    assert!(say(Ipv6Addr::LOCALHOST, port, request.as_bytes()).await.contains(" 200 "));
    assert_eq!(waiting.await.unwrap().unwrap(), "state=mine");
}

#[tokio::test]
async fn what_else_comes_does_not_use_up_the_shot() {
    let (port, waiting) = waiting().await;
    for (target, status) in [
        ("/favicon.ico", " 404 "),
        ("/other?code=c&state=mine", " 404 "),
        ("//?state=mine", " 404 "),
        ("http://localhost/?state=mine", " 404 "),
        ("/", " 400 "),
        ("/?", " 400 "),
        ("/?code=c", " 400 "),
        ("/?code=c&state=guessed", " 400 "),
        ("/?error=access_denied", " 400 "),
    ] {
        let page = get(port, target).await;
        assert!(page.contains(status), "{target}: {page}");
    }
    for request in [
        format!("POST /?state=mine HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 0\r\n\r\n"),
        format!("HEAD /?state=mine HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"),
        format!("get /?state=mine HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"),
    ] {
        let page = say(Ipv4Addr::LOCALHOST, port, request.as_bytes()).await;
        assert!(page.contains(" 405 "), "{request}: {page}");
    }
    drop(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap());
    assert!(get(port, "/?state=mine").await.contains(" 200 "));
    assert_eq!(waiting.await.unwrap().unwrap(), "state=mine");
}

#[tokio::test]
async fn a_name_made_to_lead_here_is_turned_away() {
    let (port, waiting) = waiting().await;
    for host in [
        format!("Host: rebound.example.com:{port}"),
        format!("Host: localhost.example.com:{port}"),
        "Host: localhost".to_owned(),
        "Host: localhost:1".to_owned(),
        format!("Host: 192.0.2.1:{port}"),
        "Host:".to_owned(),
        format!("Host: localhost:{port}\r\nHost: rebound.example.com"),
        format!("X-Forwarded-Host: localhost:{port}"),
    ] {
        let request = format!("GET /?code=c&state=mine HTTP/1.1\r\n{host}\r\n\r\n");
        let page = say(Ipv4Addr::LOCALHOST, port, request.as_bytes()).await;
        assert!(page.contains(" 421 "), "{host}: {page}");
    }
    assert!(!waiting.is_finished());
}

#[tokio::test]
async fn no_page_shows_what_came() {
    let (port, _waiting) = waiting().await;
    let script = "%3Cscript%3Ealert(1)%3C/script%3E";
    for target in [
        format!("/?error={script}&error_description={script}"),
        format!("/{script}"),
        format!("/?code={script}&state=mine&error_description={script}"),
    ] {
        let page = get(port, &target).await;
        assert!(!page.contains("script") && !page.contains("alert"), "{page}");
    }
}

#[tokio::test]
async fn a_head_without_end_and_rubbish_are_cut_off() {
    let (port, waiting) = waiting().await;
    let endless = [b"GET /?state=mine&x=".as_slice(), &vec![b'x'; MAX_HEAD]].concat();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    stream.write_all(&endless[..MAX_HEAD]).await.unwrap();
    let mut page = Vec::new();
    stream.read_to_end(&mut page).await.unwrap();
    assert!(String::from_utf8(page).unwrap().contains(" 431 "));
    let many = format!("GET /?state=mine HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(MAX_HEADERS + 1));
    for rubbish in ["\u{16}\u{3}\u{1}\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\r\n\r\n\r\n", many.as_str()]
    {
        let page = say(Ipv4Addr::LOCALHOST, port, rubbish.as_bytes()).await;
        assert!(page.contains(" 400 "), "{rubbish:?}: {page}");
    }
    assert!(!waiting.is_finished());
}

#[tokio::test]
async fn a_second_hit_comes_too_late() {
    let taker = Taker { awaited: is_mine, taken: AtomicBool::new(false) };
    assert!(!taker.takes("state=other"));
    assert!(taker.takes("state=mine"));
    assert!(!taker.takes("state=mine"));
}

#[tokio::test]
async fn the_silent_are_bounded_in_number_and_time() {
    let redirect = Redirect::bind(None).await.unwrap();
    let port = redirect.expected.port;
    let waiting = tokio::spawn(redirect.wait(LONG, is_mine));
    let mut silent = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        silent.push(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap());
    }
    let browser = tokio::spawn(async move { get(port, "/?state=mine").await });
    // Nobody says anything; the clock goes on until the silent are sent away.
    tokio::time::pause();
    assert!(browser.await.unwrap().contains(" 200 "));
    assert_eq!(waiting.await.unwrap().unwrap(), "state=mine");
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_waited_for_for_ever() {
    let redirect = Redirect::bind(None).await.unwrap();
    assert!(matches!(redirect.wait(LONG, is_mine).await, Err(RedirectError::TimedOut)));
}

#[tokio::test]
async fn a_configured_address_is_listened_on() {
    let (uri, redirect) = loop {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = free.local_addr().unwrap().port();
        let uri = format!("http://127.0.0.1:{port}/callback");
        let taken = Redirect::bind(Some(&uri.parse().unwrap())).await;
        assert!(matches!(taken, Err(RedirectError::Bind { port: told, .. }) if told == port));
        drop(free);
        // Another program may be quicker.
        if let Ok(redirect) = Redirect::bind(Some(&uri.parse().unwrap())).await {
            break (uri, redirect);
        }
    };
    assert_eq!(redirect.uri(), uri);
    let port = redirect.expected.port;
    let waiting = tokio::spawn(redirect.wait(LONG, is_mine));
    assert!(get(port, "/?state=mine").await.contains(" 404 "));
    assert!(get(port, "/callback?state=mine").await.contains(" 200 "));
    waiting.await.unwrap().unwrap();
    for elsewhere in ["https://localhost:1/", "http://192.0.2.1:1/", "http://example.com/", "http://localhost.example/"]
    {
        let bound = Redirect::bind(Some(&elsewhere.parse().unwrap())).await;
        assert!(matches!(bound, Err(RedirectError::NotHere(_))), "{elsewhere}");
    }
}

#[tokio::test]
async fn localhost_is_not_shared_with_another_program() {
    let Ok(other) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await else { return };
    let port = other.local_addr().unwrap().port();
    let bound = Redirect::bind(Some(&format!("http://localhost:{port}").parse().unwrap())).await;
    assert!(matches!(bound, Err(RedirectError::Bind { .. })));
}

#[test]
fn a_redirect_uri_is_sent_as_it_is_registered() {
    for (uri, text) in [
        ("http://localhost:8400", "http://localhost:8400"),
        ("http://localhost:8400/", "http://localhost:8400"),
        ("http://localhost:8400/callback", "http://localhost:8400/callback"),
        ("http://localhost:8400/callback/", "http://localhost:8400/callback/"),
        ("http://localhost/?a=b", "http://localhost/?a=b"),
    ] {
        assert_eq!(text_of(&uri.parse().unwrap()), text);
    }
}
