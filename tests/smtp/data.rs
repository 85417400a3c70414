//! Message data: it arrives octet for octet but for its line ends, and nothing in it is ever taken for its end or for a
//! command.

use mailferry::config::Protocol;
use mailferry::sim::{self, Personality};

use super::common::{ADDRESS, Client, Setup, Wanted};
use super::{BOTH, MAIL, RCPT, expect, part, taken};

/// Everything that some server somewhere has taken for the end of a message (SMTP smuggling, CVE-2023-51764 and its kin).
const NO_ENDS: &[&str] = &[
    "\n.\n",
    "\n.\r",
    "\r.\n",
    "\r.\r",
    "\n.\r\n",
    "\r.\r\n",
    "\r\n.\n",
    "\r\n.\r",
    "\r\n\0.\r\n",
    "\r\n.\0\r\n",
    "\r\n.\r\r\n",
    "\r\r\n.\r\r\n",
    "\r\n .\r\n",
    "\r\n. \r\n",
    "\r\n..\r\n",
];

/// What a smuggler puts behind the end that is none.
const SMUGGLED: &str = "MAIL FROM:<evil@example.com>\r\nRCPT TO:<evil@example.com>\r\nDATA\r\nSubject: evil\r\n";

/// What arrives of message data with its end, by a slow reading of its own: every line ends in CRLF, and a dot that stands
/// alone has a second one. A run of CRs before an LF is one line end.
fn as_sent(data: &[u8]) -> Vec<u8> {
    let (mut lines, mut rest) = (vec![Vec::new()], data.strip_suffix(b".\r\n").unwrap());
    while let Some((&octet, after)) = rest.split_first() {
        let crs = rest.iter().take_while(|octet| **octet == b'\r').count();
        rest = if rest[crs..].first() == Some(&b'\n') { &rest[crs + 1..] } else { after };
        if crs > 0 || octet == b'\n' {
            lines.push(Vec::new());
        } else {
            lines.last_mut().unwrap().push(octet);
        }
    }
    for line in &mut lines {
        // NULs beside it do not count: there are servers that drop them.
        let nuls = line.iter().take_while(|octet| **octet == 0).count();
        if line[nuls..] == *b"." || line[nuls..].starts_with(b".\0") {
            line.insert(nuls, b'.');
        }
    }
    assert_eq!(lines.pop().unwrap(), b"", "the end begins a line");
    let mut sent = lines.join(b"\r\n".as_slice());
    sent.extend_from_slice(if lines.is_empty() { b".\r\n" } else { b"\r\n.\r\n" });
    sent
}

/// Up to the 354.
async fn begin(client: &mut Client) {
    expect(client, MAIL, "250 ").await;
    expect(client, RCPT, "250 ").await;
    expect(client, "DATA", "354 ").await;
}

/// Takes the dots out as RFC 5321 section 4.5.2 says, of data with its end.
fn unstuffed(data: &str) -> String {
    let lines = data.strip_suffix(".\r\n").unwrap().split_inclusive("\r\n");
    lines.map(|line| line.strip_prefix('.').unwrap_or(line)).collect()
}

#[tokio::test]
async fn nothing_but_the_five_octets_ends_a_message() {
    for personality in BOTH {
        let setup = Setup::with(Wanted::of(personality)).await;
        let mut client = setup.logged_in(Protocol::Smtp).await;
        let mut sent = Vec::new();
        for no_end in NO_ENDS {
            // Behind text, and as the first octets of all.
            for before in ["Subject: one\r\n\r\ntext", ""] {
                let data = format!("{before}{no_end}{SMUGGLED}.\r\n");
                begin(&mut client).await;
                client.send(data.as_bytes()).await;
                let reply = client.line().await;
                assert!(reply.starts_with("250 2.0.0 "), "{no_end:?}: {reply}");
                let arrives = as_sent(data.as_bytes());
                assert_eq!(*setup.control().raw_smtp().last().unwrap(), arrives, "{no_end:?}");
                sent.push(String::from_utf8(arrives).unwrap());
            }
        }
        part(&setup, client).await;
        assert_eq!(taken(setup.control()), sent.iter().map(|data| unstuffed(data)).collect::<Vec<_>>());
        assert!(
            setup
                .control()
                .submissions()
                .iter()
                .all(|submission| submission.from == ADDRESS)
        );
    }
}

#[tokio::test]
async fn the_end_is_found_however_it_is_cut() {
    let setup = Setup::new().await;
    let mut client = setup.logged_in(Protocol::Smtp).await;
    let data = b"Subject: cut\r\n\r\nlast line\r\n.\r\n";
    for kept_back in 1..=6 {
        begin(&mut client).await;
        let (first, second) = data.split_at(data.len() - kept_back);
        client.send(first).await;
        // Each piece has arrived at the far end before the next is sent.
        // The gateway keeps what may yet become another line end, or the end.
        let kept = [b".\r".as_slice(), b"\r", b"."]
            .into_iter()
            .find_map(|kept| first.strip_suffix(kept));
        let first = kept.unwrap_or(first);
        let arrived = |control: &sim::Control| control.raw_smtp().last().is_some_and(|raw| raw.ends_with(first));
        setup.control().until(arrived).await;
        client.send(second).await;
        assert!(client.line().await.starts_with("250 2.0.0 "));
    }
    part(&setup, client).await;
    assert_eq!(setup.control().raw_smtp(), vec![data.to_vec(); 6]);
}

#[tokio::test]
async fn dots_count_from_the_first_octet() {
    let setup = Setup::new().await;
    let mut client = setup.logged_in(Protocol::Smtp).await;
    for (data, message) in [
        (".\r\n", ""),
        ("..\r\n.\r\n", ".\r\n"),
        ("..first\r\n...second\r\n.\r\n", ".first\r\n..second\r\n"),
        ("\r\n.\r\n", "\r\n"),
        (".unstuffed by mistake\r\n.\r\n", "unstuffed by mistake\r\n"),
    ] {
        begin(&mut client).await;
        client.send(data.as_bytes()).await;
        assert!(client.line().await.starts_with("250 2.0.0 "), "{data:?}");
        assert_eq!(setup.control().raw_smtp().last().unwrap(), data.as_bytes());
        assert_eq!(taken(setup.control()).last().unwrap(), message);
    }
    part(&setup, client).await;
}

#[tokio::test]
async fn any_octets_and_any_length_of_line_pass() {
    for personality in BOTH {
        let setup = Setup::with(Wanted::of(personality)).await;
        let mut client = setup.logged_in(Protocol::Smtp).await;
        let every_octet: Vec<u8> = (0..=255).collect();
        let long_line = [vec![b'x'; 100_000], b"\r\n".to_vec()].concat();
        let megabytes = b"The quick brown fox jumps over the lazy dog.\r\n".repeat(100_000);
        for body in [every_octet, long_line, megabytes] {
            begin(&mut client).await;
            let data = [b"Subject: long\r\n\r\n".as_slice(), &body, b"\r\n"].concat();
            client.send(&data).await;
            client.send(b".\r\n").await;
            assert!(client.line().await.starts_with("250 2.0.0 "));
            // Not `assert_eq!`: nobody reads megabytes.
            let arrives = as_sent(&[&data, b".\r\n".as_slice()].concat());
            assert!(setup.control().submissions().last().unwrap().octets == arrives[..arrives.len() - 3]);
        }
        part(&setup, client).await;
    }
}

#[tokio::test]
async fn chunks_pass_with_whatever_they_hold() {
    for personality in BOTH {
        let setup = Setup::with(Wanted::of(personality)).await;
        let mut client = setup.logged_in(Protocol::Smtp).await;
        // One by one, the last one empty.
        expect(&mut client, MAIL, "250 ").await;
        expect(&mut client, RCPT, "250 ").await;
        expect(&mut client, "BDAT 12\r\nSubject: 1", "250 ").await;
        expect(&mut client, "bdat 0", "250 ").await;
        expect(&mut client, "BDAT 0 LAST", "250 2.0.0 O").await;
        part(&setup, client).await;
        assert_eq!(taken(setup.control()), ["Subject: 1\r\n"]);
    }
}

#[tokio::test]
async fn pipelined_chunks_hold_no_commands_and_no_end() {
    for personality in BOTH {
        let setup = Setup::with(Wanted::of(personality)).await;
        let mut client = setup.logged_in(Protocol::Smtp).await;
        let first = format!("Subject: chunks\r\n\r\n.\r\n.\r\nQUIT\r\n{SMUGGLED}");
        let second = "\0binary\n.\n\rno line end";
        let body = if personality == Personality::Microsoft { " BODY=BINARYMIME" } else { "" };
        for _ in 0..2 {
            let (first_length, second_length) = (first.len(), second.len());
            client
                .send(
                    format!(
                        "{MAIL}{body}\r\n{RCPT}\r\nBDAT {first_length}\r\n{first}BDAT {second_length} last\r\n{second}"
                    )
                    .as_bytes(),
                )
                .await;
            for start in ["250 2.1.0 ", "250 2.1.5 ", "250 2.0.0 ", "250 2.0.0 O"] {
                let reply = client.line().await;
                assert!(reply.starts_with(start), "{reply}");
            }
        }
        part(&setup, client).await;
        assert_eq!(taken(setup.control()), vec![first.clone() + second; 2]);
    }
}
