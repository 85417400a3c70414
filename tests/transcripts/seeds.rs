//! Writes the transcripts where the fuzz targets of the login machines begin, in the form that
//! `fuzz/src/dialogue.rs` reads.

use std::fs;
use std::path::Path;

use super::script::{Item, Script};

/// Between two parts; stands in no transcript, as little as the octet above it, which has a meaning of its own.
const NEXT_PART: u8 = 0xfe;

/// Beside whole and octet by octet, a seed is played in pieces of one octet more than this.
const PIECE: u8 = 6;

#[test]
#[ignore = "writes fuzz/seeds"]
fn transcripts_become_seeds() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    for path in super::transcripts().unwrap() {
        let script = Script::parse(&fs::read_to_string(&path).unwrap());
        let folder = seeds.join(script.machine.replace('-', "_"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(path.file_stem().unwrap()), seed(&script)).unwrap();
    }
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
