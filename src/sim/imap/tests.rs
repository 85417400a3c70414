//! IMAP dialogues, octet by octet.

use crate::sim::testing::{ANN, Client, in_clear, logged_in, simulator, token, xoauth2};
use crate::sim::{Act, Fault, Moment, Options, Personality, Protocol, Simulator};

const FIRST: &str = "From: a@b.example\r\nSubject: first\r\n\r\none\r\n";
const SECOND: &str = "Subject: second\r\n\r\n";

/// A simulator with two messages for ANN, and a session that has selected them.
async fn selected() -> (Simulator, Client) {
    let simulator = simulator(Personality::Microsoft).await;
    assert!(simulator.control().deliver(ANN, FIRST.as_bytes()) && simulator.control().deliver(ANN, SECOND.as_bytes()));
    let mut imap = logged_in(&simulator, Protocol::Imap).await;
    imap.ask("s SELECT INBOX\r\n", "s OK").await;
    (simulator, imap)
}

#[tokio::test]
async fn exchange_tells_no_capability_unasked_and_dovecot_does() {
    let exchange = simulator(Personality::Microsoft).await;
    let mut imap = Client::open(&exchange, Protocol::Imap).await;
    assert_eq!(imap.until("*").await, "* OK The Microsoft Exchange IMAP4 service is ready. [UwBJAE0A]\r\n");
    let capabilities = imap.ask("a CAPABILITY\r\n", "a OK").await;
    assert!(capabilities.contains(" AUTH=XOAUTH2 LOGINDISABLED SASL-IR "), "{capabilities}");
    let response = xoauth2(ANN, &token(&exchange).await);
    let done = imap.ask(format!("b AUTHENTICATE XOAUTH2 {response}\r\n"), "b ").await;
    assert_eq!(done, "b OK AUTHENTICATE completed.\r\n");

    let dovecot = simulator(Personality::Dovecot).await;
    let mut imap = Client::open(&dovecot, Protocol::Imap).await;
    assert!(imap.until("*").await.starts_with("* OK [CAPABILITY IMAP4rev1 SASL-IR "));
    let response = xoauth2(ANN, &token(&dovecot).await);
    // Two steps, as RFC 3501 has it.
    assert_eq!(imap.ask("b AUTHENTICATE XOAUTH2\r\n", "+").await, "+ \r\n");
    let done = imap.ask(format!("{response}\r\n"), "b ").await;
    assert!(done.starts_with("b OK [CAPABILITY IMAP4rev1 ") && done.ends_with("] Logged in\r\n"), "{done}");
}

#[tokio::test]
async fn starttls_comes_before_any_login() {
    let dovecot = in_clear(Personality::Dovecot).await;
    let mut imap = Client::connect(dovecot.imap()).await;
    let greeting = imap.until("*").await;
    assert!(greeting.contains(" STARTTLS LOGINDISABLED]") && !greeting.contains("AUTH="), "{greeting}");
    imap.ask("a STARTTLS\r\n", "a OK").await;
    let mut imap = imap.tls(&dovecot).await.unwrap();
    let capabilities = imap.ask("b CAPABILITY\r\n", "b OK").await;
    assert!(!capabilities.contains("STARTTLS") && capabilities.contains("AUTH=XOAUTH2"), "{capabilities}");
    let response = xoauth2(ANN, &token(&dovecot).await);
    assert_eq!(dovecot.control().violations(), Vec::<String>::new());
    imap.ask("c STARTTLS\r\n", "c BAD").await;
    imap.ask(format!("d AUTHENTICATE XOAUTH2 {response}\r\n"), "d OK").await;

    let exchange = in_clear(Personality::Microsoft).await;
    let mut imap = Client::connect(exchange.imap()).await;
    imap.until("* OK The Microsoft").await;
    let capabilities = imap.ask("a CAPABILITY\r\n", "a OK").await;
    assert!(capabilities.contains(" LOGINDISABLED STARTTLS ") && !capabilities.contains("AUTH="), "{capabilities}");
    imap.ask("b STARTTLS now\r\n", "b BAD").await;
    imap.ask("c AUTHENTICATE XOAUTH2\r\n", "c NO [PRIVACYREQUIRED]").await;
    assert!(
        exchange
            .control()
            .violations()
            .contains(&"Imap: a login was tried in the clear".into())
    );
    exchange.control().fail(Protocol::Imap, Fault::Withhold("STARTTLS"));
    assert!(!imap.ask("d CAPABILITY\r\n", "d OK").await.contains("STARTTLS"));
    imap.ask("e STARTTLS\r\n", "e BAD").await;
}

#[tokio::test]
async fn sasl_ir_can_be_withheld() {
    let simulator = simulator(Personality::Microsoft).await;
    simulator.control().fail(Protocol::Imap, Fault::Withhold("SASL-IR"));
    let mut imap = Client::open(&simulator, Protocol::Imap).await;
    imap.until("* OK").await;
    assert!(!imap.ask("a CAPABILITY\r\n", "a OK").await.contains("SASL-IR"));
    let response = xoauth2(ANN, &token(&simulator).await);
    imap.ask(format!("b AUTHENTICATE XOAUTH2 {response}\r\n"), "b BAD").await;
    imap.ask("c AUTHENTICATE XOAUTH2\r\n", "+ ").await;
    imap.ask(format!("{response}\r\n"), "c OK").await;
}

#[tokio::test]
async fn a_token_too_long_for_the_line_goes_in_two_steps() {
    let options = Options { token_length: 16_384, mailboxes: vec![ANN.into()], ..Options::default() };
    let simulator = Simulator::start(options).await.unwrap();
    let response = xoauth2(ANN, &token(&simulator).await);
    let mut imap = Client::open(&simulator, Protocol::Imap).await;
    imap.until("* OK").await;
    imap.ask(format!("a AUTHENTICATE XOAUTH2 {response}\r\n"), "a BAD Command Error. 12")
        .await;
    imap.ask("b AUTHENTICATE XOAUTH2\r\n", "+ ").await;
    imap.ask(format!("{response}\r\n"), "b OK").await;
}

#[tokio::test]
async fn strangers_are_kept_at_the_door() {
    let simulator = simulator(Personality::Microsoft).await;
    let mut imap = Client::open(&simulator, Protocol::Imap).await;
    imap.until("* OK").await;
    imap.ask("a LOGIN {3}\r\n", "+ ").await;
    imap.ask("ann {3+}\r\nsec\r\n", "a NO LOGIN failed.").await;
    imap.ask("b SELECT INBOX\r\n", "b BAD").await;
    imap.ask("c LOGIN {4294967296}\r\n", "c NO [TOOBIG]").await;
    imap.ask("d ID (\"name\" \"x\")\r\n", "d OK").await;
    imap.ask("e ID NIL\r\n", "e OK").await;
    imap.ask("f NOOP x\r\n", "f BAD").await;
    imap.ask("+ NOOP\r\n", "* BAD").await;
    imap.ask("g AUTHENTICATE PLAIN\r\n", "g NO").await;
    imap.ask("h AUTHENTICATE XOAUTH2 !!!\r\n", "h BAD").await;
    imap.ask("i AUTHENTICATE XOAUTH2 dXNlcj1h\r\n", "i NO AUTHENTICATE failed.")
        .await;
    imap.ask("j NOOP\n", "* BAD").await;
    imap.send("k LOGIN {99999999999999999999+}\r\n").await;
    assert_eq!(imap.rest().await, "* BYE Connection is closed. 13\r\n");
}

#[tokio::test]
async fn a_folder_is_opened_listed_and_counted() {
    let (_simulator, mut imap) = selected().await;
    let opened = imap.ask("a SELECT inbox\r\n", "a ").await;
    for line in [
        "* 2 EXISTS",
        "* 0 RECENT",
        "* OK [UNSEEN 1]",
        "* OK [UIDVALIDITY 14]",
        "* OK [UIDNEXT 3]",
        "a OK [READ-WRITE]",
    ] {
        assert!(opened.lines().any(|said| said.starts_with(line)), "{line}: {opened}");
    }
    let listed = imap.ask("b LIST \"\" *\r\n", "b ").await;
    let folders = "* LIST (\\HasNoChildren) \"/\" INBOX\r\n* LIST (\\HasNoChildren) \"/\" \"Sent Items\"\r\n";
    assert_eq!(listed, format!("{folders}b OK LIST completed.\r\n"));
    imap.ask("c LIST \"\" \"\"\r\n", "* LIST (\\Noselect) \"/\" \"\"").await;
    let status = imap.ask("d STATUS INBOX (MESSAGES UNSEEN UIDNEXT)\r\n", "* ").await;
    assert_eq!(status.lines().last(), Some("* STATUS \"INBOX\" (MESSAGES 2 UNSEEN 2 UIDNEXT 3)"));
    imap.ask("e NAMESPACE\r\n", "* NAMESPACE ((\"\" \"/\")) NIL NIL").await;
    imap.ask("f EXAMINE Nowhere\r\n", "f NO").await;
    imap.ask("g FETCH 1 FLAGS\r\n", "g BAD").await;
}

#[tokio::test]
async fn messages_are_fetched_whole_and_in_part() {
    let (_simulator, mut imap) = selected().await;
    let seen = imap.ask("a FETCH 1:* (UID RFC822.SIZE FLAGS)\r\n", "a OK").await;
    let lines = format!(
        "* 1 FETCH (UID 1 RFC822.SIZE {} FLAGS ())\r\n* 2 FETCH (UID 2 RFC822.SIZE {} FLAGS ())\r\n",
        FIRST.len(),
        SECOND.len()
    );
    assert_eq!(seen, format!("{lines}a OK FETCH completed.\r\n"));
    let peeked = imap
        .ask("b UID FETCH 1 (BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[]<6.5>)\r\n", "b ")
        .await;
    let parts =
        "* 1 FETCH (UID 1 BODY[HEADER.FIELDS (SUBJECT)] {18}\r\nSubject: first\r\n\r\n BODY[]<6> {5}\r\na@b.e)\r\n";
    assert_eq!(peeked, format!("{parts}b OK FETCH completed.\r\n"));
    let read = imap.ask("c FETCH 2 RFC822\r\n", "c ").await;
    assert!(read.starts_with(&format!("* 2 FETCH (RFC822 {{19}}\r\n{SECOND} FLAGS (\\Seen))\r\n")), "{read}");
    assert_eq!(imap.ask("d SEARCH UNSEEN\r\n", "d OK").await, "* SEARCH 1\r\nd OK SEARCH completed.\r\n");
    let dated = imap.ask("e FETCH 1 INTERNALDATE\r\n", "e OK").await;
    assert!(dated.contains("INTERNALDATE \"") && dated.contains(" +0000\")\r\n"), "{dated}");
    imap.ask("f FETCH 1 BODY[1]\r\n", "f BAD").await;
}

#[tokio::test]
async fn flags_are_stored_and_what_is_deleted_goes() {
    let (simulator, mut imap) = selected().await;
    let stored = imap.ask("a STORE 1 +FLAGS (\\Deleted \\Flagged)\r\n", "a OK").await;
    assert!(stored.starts_with("* 1 FETCH (FLAGS (\\Flagged \\Deleted))\r\n"), "{stored}");
    assert_eq!(imap.ask("b UID STORE 2 FLAGS.SILENT (\\Seen)\r\n", "b OK").await, "b OK STORE completed.\r\n");
    let found = imap.ask("c UID SEARCH (SEEN UNDELETED) SMALLER 20 2:*\r\n", "c OK").await;
    assert_eq!(found, "* SEARCH 2\r\nc OK SEARCH completed.\r\n");
    for bad in ["", " ", " (SEEN", " ()", " 2:SEEN", " SINCE 1-Jan-2026", " CHARSET KOI8-R ALL"] {
        imap.ask(format!("x SEARCH{bad}\r\n"), "x BAD").await;
    }
    assert_eq!(imap.ask("d UID EXPUNGE 2\r\n", "d ").await, "d OK EXPUNGE completed.\r\n");
    assert_eq!(imap.ask("e EXPUNGE\r\n", "e ").await, "* 1 EXPUNGE\r\ne OK EXPUNGE completed.\r\n");
    assert_eq!(simulator.control().messages(ANN), [SECOND.as_bytes()]);
    imap.ask("f COPY 1 \"Sent Items\"\r\n", "f OK").await;
    imap.ask("g STORE 1 +FLAGS (\\Deleted)\r\n", "g OK").await;
    assert_eq!(imap.ask("h CLOSE\r\n", "h ").await, "h OK CLOSE completed.\r\n");
    assert!(simulator.control().messages(ANN).is_empty());
    imap.ask("i EXAMINE \"Sent Items\"\r\n", "* 1 EXISTS").await;
    imap.ask("j STORE 1 FLAGS ()\r\n", "j NO").await;
}

#[tokio::test]
async fn append_takes_both_kinds_of_literal() {
    let (simulator, mut imap) = selected().await;
    imap.ask("a APPEND INBOX (\\Seen) \" 1-Jan-2026 00:00:00 +0000\" {4}\r\n", "+ ")
        .await;
    assert!(
        imap.ask("a\r\nb\r\n", "a ")
            .await
            .ends_with("* 3 EXISTS\r\na OK [APPENDUID 14 3] APPEND completed.\r\n")
    );
    imap.ask("b APPEND INBOX {6+}\r\nb OK\r\n\r\n", "b OK [APPENDUID 14 4]").await;
    imap.ask("c APPEND Nowhere {1+}\r\nx\r\n", "c NO [TRYCREATE]").await;
    assert_eq!(simulator.control().messages(ANN)[2..], [b"a\r\nb".to_vec(), b"b OK\r\n".to_vec()]);
}

#[tokio::test]
async fn idle_tells_of_a_delivery_as_it_happens() {
    let (simulator, mut imap) = selected().await;
    imap.ask("a IDLE\r\n", "+ IDLE accepted, awaiting DONE command.").await;
    simulator.control().deliver(ANN, b"x\r\n");
    imap.until("* 3 EXISTS").await;
    simulator.control().deliver(ANN, b"y\r\n");
    imap.until("* 4 EXISTS").await;
    assert_eq!(imap.ask("DONE\r\n", "").await, "a OK IDLE completed.\r\n");
    assert_eq!(imap.ask("b NOOP\r\n", "").await, "b OK NOOP completed.\r\n");
}

#[tokio::test]
async fn a_mailbox_without_rights_fails_after_the_login() {
    let (simulator, mut imap) = selected().await;
    let not_connected = Act::Say("BAD User is authenticated but not connected.".into());
    simulator
        .control()
        .fail_next(Protocol::Imap, 1, Fault::At(Moment::CommandDue, not_connected));
    simulator.control().fail_next(
        Protocol::Imap,
        1,
        Fault::At(Moment::CommandDue, Act::Say("* BYE Connection closed. 14".into())),
    );
    imap.send("a SELECT INBOX\r\n").await;
    assert_eq!(imap.rest().await, "a BAD User is authenticated but not connected.\r\n* BYE Connection closed. 14\r\n");
}
