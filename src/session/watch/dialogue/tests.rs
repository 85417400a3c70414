use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

const PASSWORD: &str = "hunter2-of-the-scanner";

/// Plays a dialogue: `>` before what the device says, `<` before what it is told. What is shown, and the clues.
fn play(protocol: Protocol, steps: &[&str]) -> (String, Vec<Clue>) {
    let mut dialogue = Dialogue::new(protocol);
    let (mut shown, mut clues) = (Vec::new(), Vec::new());
    for step in steps {
        let (lines, found) = match step.split_at(1) {
            (">", octets) => dialogue.heard(octets.as_bytes(), &|name| name == "scanner"),
            (_, octets) => dialogue.said(octets.as_bytes()),
        };
        shown.extend(lines);
        clues.extend(found);
    }
    let (lines, found) = dialogue.ended();
    shown.extend(lines);
    clues.extend(found);
    (shown.join("\n"), clues)
}

fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

#[test]
fn a_scan_is_shown_step_by_step_and_without_its_secrets() {
    let (user, password) = (base64("scanner"), base64(PASSWORD));
    let (shown, clues) = play(
        Protocol::Smtp,
        &[
            "<220 gateway ESMTP\r\n",
            ">EHLO XC-B8C463\r\n",
            "<250-gateway\r\n250 AUTH PLAIN LOGIN\r\n",
            ">auth Login\r\n",
            "<334 VXNlcm5hbWU6\r\n",
            &format!(">{user}\r\n"),
            "<334 UGFzc3dvcmQ6\r\n",
            &format!(">{password}\r\n"),
            "<235 2.7.0 Welcome\r\n",
            ">MAIL FROM:<scanner@contoso.com> SIZE=100 AUTH=<somebody>\r\nRCPT TO:<a@b>\r\nDATA\r\n",
            "<250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n",
            ">Subject: the secret plan\r\n\r\nQUIT\r\nNOOP\r\n.\r\n",
            "<250 2.0.0 queued\r\n",
            ">QUIT\r\n",
            "<221 2.0.0 Bye\r\n",
        ],
    );
    let expected = "device <- 220 gateway ESMTP
device -> EHLO XC-B8C463
device <- 250-gateway
device <- 250 AUTH PLAIN LOGIN
device -> AUTH LOGIN
device <- 334 VXNlcm5hbWU6
device -> (not shown)
device <- 334 UGFzc3dvcmQ6
device -> (not shown)
device <- 235 2.7.0 Welcome
device -> MAIL FROM:<scanner@contoso.com> SIZE=100 AUTH=(not shown)
device -> RCPT TO:<a@b>
device -> DATA
device <- 250 2.1.0 ok
device <- 250 2.1.5 ok
device <- 354 go
device -> (a message of 43 octets, with what came behind it)
device <- 250 2.0.0 queued
device -> QUIT
device <- 221 2.0.0 Bye";
    assert_eq!(shown, expected);
    assert_eq!(clues, []);
}

#[test]
fn imap_and_pop3_logins_show_their_verbs() {
    let password = base64(PASSWORD);
    let (shown, _) = play(
        Protocol::Imap,
        &[
            "<* OK [CAPABILITY IMAP4rev1] hi\r\n",
            ">a1 CAPABILITY\r\na2 login scanner {22}\r\n",
            "<* CAPABILITY IMAP4rev1\r\na1 OK\r\n+ go on\r\n",
            &format!(">{PASSWORD}\r\n"),
            "<a2 NO [AUTHENTICATIONFAILED] no\r\n",
            &format!(">a3 AUTHENTICATE PLAIN {password}\r\n"),
            "<a3 NO no\r\n",
            ">a4 LOGOUT\r\n",
        ],
    );
    let expected = "device <- * OK [CAPABILITY IMAP4rev1] hi
device -> a1 CAPABILITY
device -> a2 LOGIN (not shown)
device <- * CAPABILITY IMAP4rev1
device <- a1 OK
device <- + go on
device -> (not shown)
device <- a2 NO [AUTHENTICATIONFAILED] no
device -> a3 AUTHENTICATE PLAIN (not shown)
device <- a3 NO no
device -> a4 LOGOUT";
    assert_eq!(shown, expected);
    let (shown, _) = play(
        Protocol::Pop3,
        &[
            "<+OK hi\r\n",
            ">USER scanner\r\n",
            "<+OK\r\n",
            &format!(">PASS {PASSWORD}\r\n"),
            "<-ERR [AUTH] no\r\n",
            &format!(">USER {PASSWORD}\r\n"),
            "<+OK\r\n",
        ],
    );
    let expected = "device <- +OK hi
device -> USER scanner
device <- +OK
device -> PASS (not shown)
device <- -ERR [AUTH] no
device -> USER (not shown)
device <- +OK";
    assert_eq!(shown, expected);
}

#[test]
fn what_is_no_known_command_is_counted() {
    let (shown, _) = play(
        Protocol::Smtp,
        &[
            "<220 hi\r\n",
            // Base64 after a login that had failed, as one device does; a password as a mechanism; an escape.
            ">ZTQ5ZjM5\r\nAUTH ZTQ5ZjM5\r\n",
            "<500 no\r\n504 no\r\n",
            ">EHLO \u{1b}[31mred\r\n",
            &format!(">EHLO {}\r\n", "x".repeat(600)),
        ],
    );
    let expected = "device <- 220 hi
device -> (8 octets that are no known command)
device -> AUTH (not shown)
device <- 500 no
device <- 504 no
device -> EHLO \\x1b[31mred
device -> (606 octets that are no known command)";
    assert_eq!(shown, expected);
}

#[test]
fn clues_are_found_in_what_passes() {
    let clues = |protocol, steps: &[&str]| play(protocol, steps).1;
    assert_eq!(clues(Protocol::Smtp, &["<220 hi\r\n", ">\x16\x03\x01rubbish\nNOOP\n"]), [Clue::TlsHello]);
    let hello = ["<220 hi\r\n", ">EHLO x\r\n", "<250 hi\r\n"];
    let then = |more: &[&'static str]| [&hello[..], more].concat();
    let smtp = |more: &[&'static str]| clues(Protocol::Smtp, &then(more));
    assert_eq!(smtp(&[">AUTH LOGIN\r\n", "<538 5.7.11 no\r\n"]), [Clue::PlaintextForbidden]);
    assert_eq!(smtp(&[">AUTH CRAM-MD5\r\n", "<504 5.5.4 no\r\n"]), [Clue::Mechanism]);
    assert_eq!(smtp(&[">MAIL FROM:<a@b>\r\n", "<530 5.7.0 no\r\n"]), [Clue::NoLogin]);
    assert_eq!(smtp(&[">DATA\r\n", "<354 go\r\n", ">a\n.\n"]), [Clue::LoneLfEnd]);
    assert_eq!(smtp(&[">DATA\r\n", "<354 go\r\n", ">a\r\n.\r\n"]), []);
    assert_eq!(clues(Protocol::Imap, &["<a NO [PRIVACYREQUIRED] no\r\n"]), [Clue::PlaintextForbidden]);
}

#[test]
fn chunks_are_passed_over() {
    let (shown, _) = play(
        Protocol::Smtp,
        &["<220 hi\r\n", ">BDAT 6\r\nQUIT\r\nBDAT 0 LAST\r\n", "<250 ok\r\n250 ok\r\n", ">NOOP\r\n"],
    );
    assert!(!shown.contains("QUIT") && shown.ends_with("device -> NOOP"), "{shown}");
}

proptest! {
    /// However the octets are cut, the same is shown; and no secret of a well-behaved device in whatever order is.
    #[test]
    fn any_split_shows_the_same_and_no_secret(cuts in prop::collection::vec(1_usize..40, 0..60), pipelined: bool) {
        let secret = base64(PASSWORD);
        let plain = base64(&format!("\0scanner\0{PASSWORD}"));
        let commands = ["EHLO me".to_owned(), format!("AUTH PLAIN {plain}"), "AUTH LOGIN".into(), secret.clone(), secret.clone()];
        let answers = ["250 hi", "535 no", "334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "535 no"];
        let mut steps = vec![(false, "220 hi\r\n".to_owned())];
        if pipelined {
            steps.push((true, commands.map(|line| line + "\r\n").concat()));
            steps.push((false, answers.map(|line| format!("{line}\r\n")).concat()));
        } else {
            for (command, answer) in commands.into_iter().zip(answers) {
                steps.extend([(true, command + "\r\n"), (false, format!("{answer}\r\n"))]);
            }
        }
        let run = |cuts: &[usize]| {
            let mut dialogue = Dialogue::new(Protocol::Smtp);
            let mut shown = Vec::new();
            let mut cuts = cuts.iter().copied().chain(std::iter::repeat(usize::MAX));
            for (from_device, octets) in &steps {
                let mut rest = octets.as_bytes();
                while !rest.is_empty() {
                    let (now, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                    let (lines, _) = if *from_device { dialogue.heard(now, &|_| false) } else { dialogue.said(now) };
                    shown.extend(lines);
                    rest = later;
                }
            }
            shown.join("\n")
        };
        let shown = run(&cuts);
        prop_assert_eq!(&shown, &run(&[]));
        for piece in [PASSWORD, &secret[..12], &plain[8..20]] {
            prop_assert!(!shown.contains(piece), "{}", shown);
        }
        prop_assert!(shown.contains("AUTH PLAIN (not shown)"));
    }
}
