use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;
use crate::proto::smtp::extensions::Extensions;
use crate::proto::smtp::reply::ReplyLine;
use crate::proto::smtp::transaction::{Flow, Options, Pipes, Stamp, Transaction};
use crate::proto::{Access, Input, LoginAnswer, Machine, Overhears, Step, imap, pop3, smtp};

const PASSWORD: &str = "hunter2-of-the-scanner";

/// Plays a dialogue: `<` before what the device is told, and before what it says `>` for commands, `?` for a line of a login
/// and `!` for octets that are no lines. What is shown, and the clues.
fn play(protocol: Protocol, steps: &[&str]) -> (String, Vec<Clue>) {
    let mut dialogue = Dialogue::new(protocol);
    let (mut shown, mut clues) = (Vec::new(), Vec::new());
    for step in steps {
        let (kind, octets) = step.split_at(1);
        let (lines, found) = match kind {
            "<" => dialogue.said(octets.as_bytes()),
            _ => dialogue.heard(octets.as_bytes()),
        };
        shown.extend(lines);
        clues.extend(found);
        let used: Vec<_> = match kind {
            ">" => octets.lines().map(|line| Used::Command(line.as_bytes())).collect(),
            "?" => vec![Used::OtherLine],
            "!" => vec![Used::Octets(octets.as_bytes())],
            _ => Vec::new(),
        };
        used.into_iter()
            .for_each(|used| shown.extend(dialogue.used(used, &|name| name == "scanner")));
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
            &format!("?{user}\r\n"),
            "<334 UGFzc3dvcmQ6\r\n",
            &format!("?{password}\r\n"),
            "<235 2.7.0 Welcome\r\n",
            ">MAIL FROM:<scanner@contoso.com> SIZE=100 AUTH=<somebody>\r\nRCPT TO:<a@b>\r\nDATA\r\n",
            "<250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n",
            "!Subject: the secret plan\r\n\r\nQUIT\r\nNOOP\r\n",
            "!.\r\n",
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
device -> (43 octets of a message)
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
            &format!("!{PASSWORD}"),
            "?",
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
device -> (22 octets of a literal)
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
device -> EHLO (not shown)
device -> (605 octets that are no known command)";
    assert_eq!(shown, expected);
}

#[test]
fn clues_are_found_in_what_passes() {
    let clues = |protocol, steps: &[&str]| play(protocol, steps).1;
    assert_eq!(clues(Protocol::Smtp, &["<220 hi\r\n", "?\x16\x03\x01rubbish\nNOOP\n"]), [Clue::TlsHello]);
    let hello = ["<220 hi\r\n", ">EHLO x\r\n", "<250 hi\r\n"];
    let then = |more: &[&'static str]| [&hello[..], more].concat();
    let smtp = |more: &[&'static str]| clues(Protocol::Smtp, &then(more));
    assert_eq!(smtp(&[">AUTH LOGIN\r\n", "<538 5.7.11 no\r\n"]), [Clue::PlaintextForbidden]);
    assert_eq!(smtp(&[">AUTH CRAM-MD5\r\n", "<504 5.5.4 no\r\n"]), [Clue::Mechanism]);
    assert_eq!(smtp(&[">MAIL FROM:<a@b>\r\n", "<530 5.7.0 no\r\n"]), [Clue::NoLogin]);
    assert_eq!(smtp(&[">DATA\r\n", "<354 go\r\n", "!a\n", "!.\n", "<421 too late\r\n"]), [Clue::LoneLfEnd]);
    assert_eq!(smtp(&[">DATA\r\n", "<354 go\r\n", "!a\r\n.\r\n"]), []);
    assert_eq!(clues(Protocol::Imap, &["<a NO [PRIVACYREQUIRED] no\r\n"]), [Clue::PlaintextForbidden]);
    let forbidden = "<-ERR [AUTH] Passwords are not taken on this connection\r\n";
    assert_eq!(clues(Protocol::Pop3, &[">USER scanner\r\n", forbidden]), [Clue::PlaintextForbidden]);
}

#[test]
fn starttls_that_is_not_offered_is_a_clue_in_every_protocol() {
    for (protocol, asked, answer) in [
        (Protocol::Smtp, ">STARTTLS\r\n", "<502 5.5.1 STARTTLS is not offered here\r\n"),
        (Protocol::Imap, ">a STARTTLS\r\n", "<a BAD STARTTLS is not offered here\r\n"),
        (Protocol::Pop3, ">STLS\r\n", "<-ERR Not offered\r\n"),
    ] {
        assert_eq!(play(protocol, &[asked, answer]).1, [Clue::StartTlsMissing], "{protocol}");
    }
    assert_eq!(play(Protocol::Smtp, &[">VRFY a\r\n", "<502 5.5.2 The command is unknown\r\n"]).1, []);
    assert_eq!(play(Protocol::Pop3, &[">APOP a b\r\n", "<-ERR Not offered\r\n"]).1, []);
}

#[test]
fn what_begins_in_another_language_is_a_clue() {
    for (octets, expected) in [
        ("PROXY TCP4 192.0.2.7 198.51.100.1 50000 587\r\n", [Clue::StrayProxyHeader]),
        ("\r\n\r\n\0\r\nQUIT\n\u{21}\u{11}", [Clue::StrayProxyHeader]),
        ("GET / HTTP/1.1\r\n", [Clue::Http]),
    ] {
        for protocol in Protocol::ALL {
            assert_eq!(play(protocol, &["<hi\r\n", &format!("?{octets}")]).1, expected, "{octets}");
        }
        assert_eq!(play(Protocol::Smtp, &[">EHLO x\r\n", &format!(">{octets}")]).1, [], "only first: {octets}");
    }
    assert_eq!(play(Protocol::Smtp, &[">EHLO x\r\n GET / HTTP/1.1\r\n"]).1, []);
}

#[test]
fn it_is_known_who_only_asked_what_is_offered() {
    let rows = [
        (Protocol::Smtp, "EHLO x\nQUIT", true),
        (Protocol::Smtp, "HELO x\nNOOP\nRSET", true),
        (Protocol::Smtp, "QUIT", false),
        (Protocol::Smtp, "EHLO x\nSTARTTLS", false),
        (Protocol::Smtp, "EHLO x\nMAIL FROM:<a@b>", false),
        (Protocol::Smtp, "EHLO x\nXYZ", false),
        (Protocol::Imap, "a CAPABILITY\nb ID\nc LOGOUT", true),
        (Protocol::Imap, "a CAPABILITY\nb LOGIN x y", false),
        (Protocol::Pop3, "CAPA\nQUIT", true),
        (Protocol::Pop3, "CAPA\nUSER x", false),
    ];
    for (protocol, commands, only_asked) in rows {
        let mut dialogue = Dialogue::new(protocol);
        for command in commands.lines() {
            dialogue.used(Used::Command(command.as_bytes()), &|_| false);
        }
        assert_eq!(dialogue.has_only_asked(), only_asked, "{commands}");
    }
}

#[test]
fn arguments_are_shown_where_they_are_what_they_should_be() {
    let rows = [
        ("EHLO XC-B8C463", "EHLO XC-B8C463"),
        ("helo [192.168.7.20]", "HELO [192.168.7.20]"),
        ("HELO", "HELO"),
        ("Helo my password is hunter2", "HELO (not shown)"),
        ("Mail the PIN 4711 to Bob", "MAIL (not shown)"),
        ("MAIL FROM: a@b.example SIZE=10 auth=<c>", "MAIL FROM: a@b.example SIZE=10 AUTH=(not shown)"),
        ("Rcpt for the PIN: 4711", "RCPT (not shown)"),
        ("RCPT TO:<a@c.example> NOTIFY=NEVER", "RCPT TO:<a@c.example> NOTIFY=NEVER"),
        ("DATA 4711", "DATA (not shown)"),
        ("noop hunter2", "NOOP (not shown)"),
        ("RSET 4711", "RSET (not shown)"),
        ("QUIT smoking", "QUIT (not shown)"),
        ("BDAT 6 last", "BDAT 6 LAST"),
        ("BDAT 6 hunter2", "BDAT (not shown)"),
        ("BDAT hunter2", "BDAT (not shown)"),
    ];
    for (line, expected) in rows {
        let (shown, _) = play(Protocol::Smtp, &[&format!(">{line}")]);
        assert_eq!(shown, format!("device -> {expected}"), "{line}");
    }
}

#[test]
fn a_tag_is_shown_where_it_looks_like_one_and_its_command_was_shown() {
    let (shown, _) = play(
        Protocol::Imap,
        &[
            "<* OK hi\r\n",
            ">A1 LOGIN \"forced\" \"correct\r\nhorse77 battery\"\r\nabc12 secret\r\nlongword5 NOOP\r\n1.2 NOOP\r\nTAG noop\r\n",
            "<A1 BAD no\r\nhorse77 BAD Unknown command\r\nabc12 BAD Unknown command\r\nlongword5 OK\r\n1.2 OK\r\n",
            "<TAG OK\r\nTAG OK\r\n+ go on\r\nhunter2\r\n",
        ],
    );
    let expected = "device <- * OK hi
device -> A1 LOGIN (not shown)
device -> (2 lines not shown)
device -> (tag) NOOP
device -> (tag) NOOP
device -> TAG NOOP
device <- A1 BAD no
device <- (tag) BAD Unknown command
device <- (tag) BAD Unknown command
device <- (tag) OK
device <- (tag) OK
device <- TAG OK
device <- (tag) OK
device <- + go on
device <- (tag)";
    assert_eq!(shown, expected);
}

#[test]
fn what_a_talkative_device_says_is_counted() {
    let count = |shown: &str, part: &str| shown.lines().filter(|line| line.contains(part)).count();
    let (noops, answers) = (format!(">{}", "NOOP\r\n".repeat(682)), format!("<{}", "250 ok\r\n".repeat(682)));
    let (shown, _) = play(Protocol::Smtp, &[&noops, &answers, &noops, &answers]);
    assert_eq!((count(&shown, "NOOP"), count(&shown, "250 ok"), shown.lines().count()), (64, 64, 132));
    assert_eq!(count(&shown, "device -> (650 lines not shown)"), 2, "{shown}");
    assert_eq!(count(&shown, "device <- (650 lines not shown)"), 2, "{shown}");
    let (shown, _) = play(Protocol::Smtp, &[&format!(">{}", "\n".repeat(4096)), "<421 no\r\n"]);
    assert_eq!(shown, "device -> (4096 lines not shown)\ndevice <- 421 no");
    let (shown, _) = play(Protocol::Smtp, &[">NOOP\r\n", "<250 ok\r\n"].repeat(1000));
    assert_eq!(shown.lines().count(), 384);
    assert!(shown.ends_with("\n-- (more not shown: this session has said very much)"), "{shown}");
    let mut dialogue = Dialogue::new(Protocol::Smtp);
    let mut said = || {
        (0..500).for_each(|_| drop((dialogue.heard(b"x"), dialogue.said(b"250 ok\r\n"))));
        let before = dialogue.said(b"250 ok\r\n").0;
        dialogue.is_trusted();
        (before, dialogue.said(b"250 ok\r\n").0)
    };
    assert_eq!(said(), (vec![], vec!["device <- 250 ok".to_owned()]));
}

/// Shows what a machine uses.
struct Ears(Mutex<(Dialogue, Vec<String>)>);

impl Overhears for Ears {
    fn used(&self, used: Used<'_>) {
        let (dialogue, shown) = &mut *self.0.lock().unwrap();
        shown.extend(dialogue.used(used, &|_| false));
    }
}

impl Ears {
    fn of(protocol: Protocol) -> Arc<Self> {
        Arc::new(Self(Mutex::new((Dialogue::new(protocol), Vec::new()))))
    }

    fn said(&self, out: &mut Vec<u8>) {
        let (dialogue, shown) = &mut *self.0.lock().unwrap();
        shown.extend(dialogue.said(out).0);
        out.clear();
    }

    fn shown(&self) -> String {
        let (dialogue, shown) = &mut *self.0.lock().unwrap();
        shown.extend(dialogue.ended().0);
        shown.join("\n")
    }
}

/// What is shown of a login that comes in `pieces`; every one fails.
fn of_login<M: Machine<Answer = LoginAnswer<A, R>>, A, R: Clone>(
    protocol: Protocol,
    mut machine: M,
    refusal: &R,
    pieces: &[&[u8]],
) -> String {
    let (ears, mut input, mut out) = (Ears::of(protocol), Input::new(), Vec::new());
    input.overheard_by(Some(Arc::clone(&ears) as Arc<dyn Overhears>));
    let mut pieces = pieces.iter();
    loop {
        let step = machine.advance(&mut input, &mut out).unwrap();
        ears.said(&mut out);
        match step {
            Step::NeedInput => match pieces.next() {
                Some(piece) => input.extend(piece),
                None => return ears.shown(),
            },
            Step::Event(_) => {
                machine.answer(LoginAnswer::Refused { reply: refusal.clone(), last: false }, &mut out);
            }
            Step::Close(_) => return ears.shown(),
            _ => {}
        }
    }
}

fn pieces<'a>(octets: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let (mut pieces, mut rest) = (Vec::new(), octets);
    for cut in cuts {
        let (piece, later) = rest.split_at((*cut).min(rest.len()));
        pieces.push(piece);
        rest = later;
    }
    pieces.push(rest);
    pieces
}

/// Says yes to everything.
#[derive(Default)]
struct Server {
    line: Vec<u8>,
    in_message: bool,
}

impl Server {
    fn hear(&mut self, octets: &[u8], answers: &mut Input) {
        for octet in octets {
            self.line.push(*octet);
            if *octet != b'\n' {
                continue;
            }
            let line = std::mem::take(&mut self.line);
            match &line[..] {
                b".\r\n" => self.in_message = false,
                _ if self.in_message => continue,
                b"DATA\r\n" => {
                    self.in_message = true;
                    answers.extend(b"354 go\r\n");
                    continue;
                }
                _ if [b"MAIL", b"RCPT", b"BDAT", b"NOOP"].iter().all(|verb| !line.starts_with(*verb)) => continue,
                _ => {}
            }
            answers.extend(b"250 ok\r\n");
        }
    }
}

proptest! {
    /// However the octets are cut, no secret is shown, and each login is.
    #[test]
    fn no_split_shows_a_secret(cuts in prop::collection::vec(1_usize..40, 0..60)) {
        let secret = base64(PASSWORD);
        let plain = base64(&format!("\0scanner\0{PASSWORD}"));
        let access = Access::PASSWORD;
        let hostname = || "gateway".to_owned();
        let smtp = format!(
            "EHLO me\r\nAUTH PLAIN {plain}\r\nAUTH PLAIN\r\n{plain}\r\nAUTH LOGIN\r\n{secret}\r\n{secret}\r\nQUIT\r\n"
        );
        let offer = smtp::downstream::Offer { hostname: hostname(), access, after_starttls: None, extensions: Vec::new() };
        let refusal = smtp::reply::Reply::new(535, "5.7.8", "no");
        let of_smtp = of_login(Protocol::Smtp, smtp::downstream::Downstream::new(offer), &refusal, &pieces(smtp.as_bytes(), &cuts));
        let imap = format!(
            "a1 LOGIN x \"{PASSWORD}\"\r\na2 LOGIN x {{{}}}\r\n{PASSWORD}\r\na3 LOGIN x {{1+}}\r\nx{PASSWORD}\r\n\
             a4 AUTHENTICATE LOGIN\r\n{secret}\r\n{secret}\r\na5 LOGIN {{9999}}\r\n{PASSWORD} x\r\n",
            PASSWORD.len()
        );
        let offer = imap::downstream::Offer { hostname: hostname(), access, after_starttls: None, capabilities: Vec::new() };
        let refusal = imap::downstream::Refusal { code: "", text: "no".into() };
        let of_imap = of_login(Protocol::Imap, imap::downstream::Downstream::new(offer), &refusal, &pieces(imap.as_bytes(), &cuts));
        let pop3 = format!("USER scanner\r\nPASS {PASSWORD}\r\nAUTH LOGIN\r\n{secret}\r\n{secret}\r\n{PASSWORD}\r\nAUTH PLAIN {plain}\r\n");
        let offer = pop3::downstream::Offer { hostname: hostname(), access, after_starttls: None, capabilities: Vec::new() };
        let refusal = pop3::response::Refusal::new("AUTH", "no");
        let of_pop3 = of_login(Protocol::Pop3, pop3::downstream::Downstream::new(offer), &refusal, &pieces(pop3.as_bytes(), &cuts));
        for shown in [&of_smtp, &of_imap, &of_pop3] {
            for piece in [PASSWORD, "hunter2", &secret[..12], &plain[8..20]] {
                prop_assert!(!shown.contains(piece), "{}", shown);
            }
        }
        prop_assert_eq!(of_smtp.matches("AUTH PLAIN").count(), 3, "{}", of_smtp);
        prop_assert!(of_imap.contains("a5 LOGIN (not shown)") && of_imap.contains("(tag) BAD "), "{}", of_imap);
        prop_assert!(of_pop3.contains("AUTH PLAIN (not shown)"), "{}", of_pop3);
    }

    /// After the login a message is one, whatever came before it and however it is cut.
    #[test]
    fn no_split_shows_a_message(cuts in prop::collection::vec(1_usize..40, 0..60)) {
        let ears = Ears::of(Protocol::Smtp);
        let mut transaction = Transaction::new(Options {
            extensions: Extensions::parse(&["me", "PIPELINING", "CHUNKING"].map(|text| ReplyLine { code: 250, last: false, text: text.into() })),
            ..Options::default()
        });
        let (mut input, mut upstream, mut pipes) = (Input::new(), Input::new(), Pipes::default());
        input.overheard_by(Some(Arc::clone(&ears) as Arc<dyn Overhears>));
        let mut server = Server::default();
        let octets = b"\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@c>\r\nDATA\r\nMail the PIN 4711 to Bob\r\nHelo x4711\r\n.\r\n\
                       BDAT 14 LAST\r\nEHLO x4711\r\n\r\nNOOP\r\n";
        for piece in pieces(octets, &cuts) {
            input.extend(piece);
            loop {
                let flow = transaction.from_downstream(&mut input, &mut pipes).unwrap();
                server.hear(&std::mem::take(&mut pipes.to_upstream), &mut upstream);
                let is_done = flow == Flow::NeedInput && upstream.is_empty();
                match flow {
                    Flow::Forward { octets } => {
                        server.hear(&input.unused()[..octets], &mut upstream);
                        input.skip(octets);
                    }
                    Flow::MailWanted => {
                        transaction.admit(Ok(Stamp { number: 1, now: SystemTime::UNIX_EPOCH, unguessable: 1 }));
                    }
                    _ => {}
                }
                while transaction.from_upstream(&mut upstream, &mut pipes).unwrap() != Flow::NeedInput {}
                ears.said(&mut pipes.to_downstream);
                if is_done {
                    break;
                }
            }
        }
        let shown = ears.shown();
        prop_assert!(!shown.contains("4711") && !shown.contains("EHLO") && !shown.contains("HELO"), "{}", shown);
        prop_assert!(shown.contains("device -> BDAT 14 LAST") && shown.contains("device -> NOOP"), "{}", shown);
        prop_assert!(shown.contains("of a message)"), "{}", shown);
    }
}
