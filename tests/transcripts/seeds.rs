//! The transcripts as the fuzz targets of the login machines begin with them, in the form that `fuzz/src/dialogue.rs` reads:
//! what is kept in `fuzz/seeds` is compared with them, or written anew where `WRITE_SEEDS` is set.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::{env, fs};

use mailferry::proto::sasl::encode_base64;

use super::script::{Item, Script};

/// Between two parts; stands in no transcript, as little as the octet above it, which has a meaning of its own.
const NEXT_PART: u8 = 0xfe;

/// Beside whole and octet by octet, a seed is played in pieces of one octet more than this.
const PIECE: u8 = 6;

/// A file's place in the folder of the seeds, and what it holds.
type Seed = (PathBuf, Vec<u8>);

#[test]
fn the_seeds_are_those_of_the_transcripts() {
    let folder = folder();
    // The package has none.
    if !folder.exists() {
        return;
    }
    let seeds = [of_transcripts(), of_logins(), of_mail()].concat();
    assert!(!seeds.is_empty());
    if env::var_os("WRITE_SEEDS").is_some() {
        for (path, octets) in seeds {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, octets).unwrap();
        }
        return;
    }
    let is_other = |(path, octets): &&Seed| fs::read(folder.join(path)).ok().as_ref() != Some(octets);
    let others: Vec<_> = seeds.iter().filter(is_other).map(|(path, _)| path).collect();
    assert!(others.is_empty(), "not as the transcripts have them (CONTRIBUTING.md says how to write them): {others:?}");
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds")
}

fn of_transcripts() -> Vec<Seed> {
    let of_one = |path: &PathBuf| {
        let script = Script::parse(&fs::read_to_string(path).unwrap());
        (Path::new(&script.machine.replace('-', "_")).join(path.file_stem().unwrap()), seed(&script))
    };
    super::transcripts().unwrap().iter().map(of_one).collect()
}

/// Option 0 is the machine's own; options 1 and 2 count the logins that are refused; option 3: a client is offered TLS.
fn seed(script: &Script) -> Vec<u8> {
    let starttls = script.flag("starttls", "no");
    let (option, offered) = if script.machine.ends_with("-downstream") {
        (script.flag("auth", "yes"), starttls)
    } else {
        (starttls, false)
    };
    let refusals = script.answers().filter(|answer| answer.starts_with("refuse")).count();
    let options = u8::from(option) | ((refusals.min(3) as u8) << 1) | (u8::from(offered) << 3);
    let octets = script.phases().join(&NEXT_PART);
    assert!(
        script
            .items
            .iter()
            .all(|item| !matches!(item, Item::Peer(octets) if octets.iter().any(|&octet| octet >= NEXT_PART)))
    );
    [&[options, PIECE], octets.as_slice()].concat()
}

/// What is said in the session in which a login is put: by the client that logs in, and then by the client and the upstream
/// in turns.
struct Work {
    protocol: &'static str,
    /// As `fuzz/src/session.rs` numbers them.
    flavour: u8,
    /// Ways to log in, with the password that the fuzzer's gateway takes.
    logins: &'static [&'static str],
    upstream: &'static str,
    then: &'static [&'static str],
}

const WORKS: [Work; 3] = [
    Work {
        protocol: "smtp",
        flavour: 0,
        logins: &["EHLO scanner\r\nAUTH PLAIN {plain}\r\n", "EHLO scanner\r\nAUTH LOGIN\r\n{user}\r\n{password}\r\n"],
        upstream: "smtp-upstream-dovecot",
        then: &[
            "EHLO scanner\r\nMAIL FROM:<scanner@contoso.example>\r\nRCPT TO:<ann@example.com>\r\nDATA\r\n",
            "250-mail.example\r\n250-CHUNKING\r\n250 PIPELINING\r\n250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n",
            "From: scanner@contoso.example\r\nSubject: scan\r\n\r\n..one\r\n.\r\nQUIT\r\n",
            "250 2.0.0 queued\r\n221 bye\r\n",
        ],
    },
    Work {
        protocol: "imap",
        flavour: 1,
        logins: &[
            "a LOGIN scanner \"a plain password\"\r\n",
            "a LOGIN {7}\r\nscanner {16+}\r\na plain password\r\nb SELECT INBOX\r\n",
            "a AUTHENTICATE PLAIN {plain}\r\n",
            "a AUTHENTICATE LOGIN\r\n{user}\r\n{password}\r\n",
        ],
        upstream: "imap-upstream-dovecot",
        then: &["b SELECT INBOX\r\n", "* 1 EXISTS\r\nb OK\r\n", "c LOGOUT\r\n", "* BYE\r\nc OK\r\n"],
    },
    Work {
        protocol: "pop3",
        flavour: 2,
        logins: &[
            "USER scanner\r\nPASS a plain password\r\n",
            "AUTH PLAIN {plain}\r\nSTAT\r\n",
            "AUTH LOGIN\r\n{user}\r\n{password}\r\n",
        ],
        upstream: "pop3-upstream-dovecot",
        then: &["STAT\r\n", "+OK 1 20\r\n", "QUIT\r\n", "+OK bye\r\n"],
    },
];

/// Beside a token that is refused there is another.
const SECOND_TOKEN: u8 = 1 << 5;

/// The tag of the gateway's commands upstream while it is fuzzed.
const TAG: &str = "f0000000000000000";

/// Each way to log in, and each transcript, in a whole session.
fn of_logins() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let transcript = |path: &Path| Script::parse(&fs::read_to_string(path).unwrap());
    let all = super::transcripts().unwrap();
    for work in WORKS {
        let named = |name: &str| all.iter().find(|path| path.file_stem().unwrap() == name).unwrap();
        let usual = upstream_of(&transcript(named(work.upstream)));
        let mut add = |name: &str, options: u8, flavour: u8, client: &[u8], upstream: &[u8]| {
            let then = work.then.iter().map(|said| said.as_bytes());
            let parts: Vec<_> = [client, upstream].into_iter().chain(then).collect();
            let octets = [&[flavour, options, PIECE], &*parts.join(&NEXT_PART)].concat();
            seeds.push((Path::new("session").join(name), octets));
        };
        for (number, login) in work.logins.iter().enumerate() {
            add(&format!("{}-login-{number}", work.protocol), 0, work.flavour, &filled(login), &usual);
        }
        for path in &all {
            let (script, name) = (transcript(path), path.file_stem().unwrap().to_str().unwrap());
            let other = script.machine.strip_prefix(work.protocol);
            let client = filled(work.logins[0]);
            match other {
                // Each way that a server takes a login, and for each that it refuses, one that then takes it.
                Some("-upstream") => {
                    let upstream = [upstream_of(&script), usual.clone()].concat();
                    add(name, SECOND_TOKEN, work.flavour, &client, &upstream);
                }
                Some("-downstream") => {
                    add(name, 0, work.flavour, &[script.phases().concat(), client].concat(), &usual);
                }
                _ => {}
            }
        }
    }
    seeds
}

/// The mail that the transaction is fuzzed with, behind a login.
fn of_mail() -> Vec<Seed> {
    let [Work { flavour, logins, upstream, .. }, ..] = WORKS;
    let paths = super::transcripts().unwrap();
    let path = paths.iter().find(|path| path.file_stem().unwrap() == upstream).unwrap();
    let upstream = upstream_of(&Script::parse(&fs::read_to_string(path).unwrap()));
    let of_one = |entry: fs::DirEntry| {
        let seed = fs::read(entry.path()).unwrap();
        let [options, piece, mail @ ..] = seed.as_slice() else { panic!("{entry:?} is no seed") };
        // What the transaction is told there, the session learns from its configuration.
        let flavour = [(4, 6), (5, 4), (6, 5)]
            .iter()
            .fold(flavour, |flavour, (option, bit)| flavour | ((options >> option & 1) << bit));
        let parts = [filled(logins[0]), upstream.clone(), mail.to_vec()].join(&NEXT_PART);
        let name = format!("mail-{}", entry.file_name().to_str().unwrap());
        (Path::new("session").join(name), [&[flavour, 0, *piece], &*parts].concat())
    };
    let mails = fs::read_dir(folder().join("smtp_transaction")).unwrap();
    mails.map(|entry| of_one(entry.unwrap())).collect()
}

/// What an upstream says, with the tag that it will have heard.
fn upstream_of(script: &Script) -> Vec<u8> {
    let tag = script.value("tag", "A");
    let said = String::from_utf8_lossy(&script.phases().concat()).into_owned();
    let said = said.split_inclusive('\n').map(|line| match line.strip_prefix(tag) {
        Some(rest) if rest.starts_with(|first: char| first.is_ascii_digit()) => format!("{TAG}{rest}"),
        _ => line.to_owned(),
    });
    said.collect::<String>().into_bytes()
}

fn filled(login: &str) -> Vec<u8> {
    let (user, password) = ("scanner", "a plain password");
    let plain = format!("\0{user}\0{password}");
    let fields = [("{plain}", plain.as_str()), ("{user}", user), ("{password}", password)];
    let filled = fields
        .iter()
        .fold(login.to_owned(), |text, (field, value)| text.replace(field, &encode_base64(value.as_bytes())));
    filled.into_bytes()
}
