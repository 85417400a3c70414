//! `mailferry passwd`: the hash that a login's `password_hash` wants.

use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};

use anyhow::{Context, bail, ensure};
use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use aws_lc_rs::rand;
use password_hash::phc::PasswordHash;
use zeroize::Zeroizing;

use super::Failure;
use crate::proto::MAX_CREDENTIAL;
use crate::secret::Password;

/// Print the argon2id hash of a password, for a login's password_hash
///
/// The password is asked for twice on a terminal; else it is one line of standard input.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Make a password that a printer's panel can take (16 lower-case letters and digits without 0 o 1 l i) and print
    /// it before its hash
    #[arg(long)]
    generate: bool,
}

/// What a generated password is made of: letters and digits that cannot be mistaken for one another.
const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";

/// How long a generated password is: 31 to the power of 16 is more than 2 to the power of 79.
const GENERATED: usize = 16;

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let mut result = Zeroizing::new(String::new());
    let password = if args.generate {
        let password = generate()?;
        result.push_str(&password);
        result.push('\n');
        Password::new(password.as_bytes().to_vec())
    } else if io::stdin().is_terminal() {
        ask()?
    } else {
        read(io::stdin().lock())?
    };
    result.push_str(&hash(&password)?.to_string());
    result.push('\n');
    io::stdout()
        .write_all(result.as_bytes())
        .context("the result cannot be written to standard output")?;
    Ok(())
}

/// Asks at the terminal, twice, without showing what is typed.
fn ask() -> anyhow::Result<Password> {
    const NO_TERMINAL: &str = "the terminal cannot be used; write the password to standard input instead";
    let once = Zeroizing::new(rpassword::prompt_password("Password: ").context(NO_TERMINAL)?);
    let again = Zeroizing::new(rpassword::prompt_password("The same again: ").context(NO_TERMINAL)?);
    ensure!(once == again, "the two passwords differ; run it again");
    checked(once.as_bytes().to_vec())
}

/// Reads one line, without its end. What came along after it is refused: whoever gives more than a line means something
/// else. Nothing further is waited for: a script may keep the pipe open.
fn read(input: impl Read) -> anyhow::Result<Password> {
    let mut input = BufReader::new(input);
    // A line end and one octet more than a password may have: enough to see that there is too much.
    let most = MAX_CREDENTIAL as u64 + 3;
    let mut line = Zeroizing::new(Vec::new());
    input
        .by_ref()
        .take(most)
        .read_until(b'\n', &mut line)
        .context("standard input cannot be read")?;
    let line_end = line.ends_with(b"\n");
    let password = line.strip_suffix(b"\n").unwrap_or(&line);
    let password = if line_end { password.strip_suffix(b"\r").unwrap_or(password) } else { password };
    let password = checked(password.to_vec())?;
    ensure!(input.buffer().is_empty(), "there is more than one line; give the password alone, in one line");
    Ok(password)
}

/// A password that every protocol can carry.
fn checked(octets: Vec<u8>) -> anyhow::Result<Password> {
    let password = Password::new(octets);
    let octets = password.expose();
    ensure!(!octets.is_empty(), "the password is empty; give one line with a password");
    ensure!(
        octets.len() <= MAX_CREDENTIAL,
        "the password is longer than {MAX_CREDENTIAL} octets; choose a shorter one"
    );
    if octets.iter().any(|octet| matches!(octet, 0 | b'\r' | b'\n')) {
        bail!("the password holds a NUL or a line end, which no mail protocol can carry; choose another one");
    }
    Ok(password)
}

/// A password from [`ALPHABET`], each character as likely as any other.
pub(super) fn generate() -> anyhow::Result<Zeroizing<String>> {
    let mut password = Zeroizing::new(String::with_capacity(GENERATED));
    while password.len() < GENERATED {
        let mut octet = [0];
        rand::fill(&mut octet)
            .ok()
            .context("the system has no random numbers to give; try again")?;
        // Five bits name 32 characters. The one that is not there is thrown again, so that none is favoured.
        if let Some(character) = ALPHABET.get(usize::from(octet[0] & 0x1f)) {
            password.push(char::from(*character));
        }
    }
    Ok(password)
}

/// Hashes as OWASP advises: argon2id with 19 MiB, two passes and one lane, and a fresh salt.
pub(super) fn hash(password: &Password) -> anyhow::Result<PasswordHash> {
    let params = Params::new(19_456, 2, 1, None)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password(password.expose()).context("the password cannot be hashed")
}

#[cfg(test)]
mod tests {
    use argon2::PasswordVerifier;

    use super::*;

    fn read_from(input: &[u8]) -> Result<Vec<u8>, String> {
        read(input)
            .map(|password| password.expose().to_vec())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn one_line_end_is_taken_off_and_nothing_else() {
        for (input, password) in [
            (&b"hunter2\n"[..], &b"hunter2"[..]),
            (b"hunter2\r\n", b"hunter2"),
            (b"hunter2", b"hunter2"),
            (b" two words \n", b" two words "),
            (b"\xff\xfe\n", b"\xff\xfe"),
        ] {
            assert_eq!(read_from(input).as_deref(), Ok(password), "{input:?}");
        }
    }

    /// A pipe with a line in it, that nobody writes to or closes any more.
    struct KeptOpen(Option<&'static [u8]>);

    impl Read for KeptOpen {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let mut line = self.0.take().expect("nothing is read beyond the line");
            line.read(buffer)
        }
    }

    #[test]
    fn the_end_of_the_file_is_not_waited_for() {
        let password = read(KeptOpen(Some(b"hunter2\n"))).unwrap();
        assert_eq!(password.expose(), b"hunter2");
    }

    #[test]
    fn what_can_be_no_password_is_refused() {
        for input in [&b""[..], b"\n", b"\r\n", b"a\0b\n", b"a\rb\n", b"a\r", b"a\nb", b"a\n\n"] {
            assert!(read_from(input).is_err(), "{input:?}");
        }
        let longest = [b'x'; MAX_CREDENTIAL];
        assert_eq!(read_from(&[&longest[..], b"\r\n"].concat()).as_deref(), Ok(&longest[..]));
        assert!(read_from(&[b'x'; MAX_CREDENTIAL + 1]).is_err());
        assert!(read_from(&[b'x'; MAX_CREDENTIAL + 100]).is_err());
    }

    #[test]
    fn a_hash_fits_its_password_and_no_other() {
        let hash = hash(&Password::new(b"hunter2".to_vec())).unwrap();
        assert!(hash.to_string().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(Argon2::default().verify_password(b"hunter2", &hash).is_ok());
        assert!(Argon2::default().verify_password(b"hunter3", &hash).is_err());
    }

    #[test]
    fn generated_passwords_use_the_whole_alphabet_and_nothing_else() {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let password = generate().unwrap();
            assert_eq!(password.len(), GENERATED);
            seen.extend(password.bytes());
        }
        // 3,200 characters miss one of 31 once in 10^44 runs.
        assert_eq!(seen, ALPHABET.iter().copied().collect());
    }
}
