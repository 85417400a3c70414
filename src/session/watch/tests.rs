use std::path::Path;

use tokio::sync::watch;

use super::advice::Clue;
use super::*;
use crate::config::{Config, Environment, Listener};
use crate::login::directory::Directory;
use crate::proto::Used;

const DEVICE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 7, 20));

fn listener() -> Arc<Listener> {
    let text = "hostname = \"g.example\"\n[[listener]]\nname = \"office\"\nprotocol = \"smtp\"\nbind = \"127.0.0.1:0\"\n\
                [[account]]\naddress = \"a@b.example\"\nprovider = \"microsoft\"\ngrant = \"client-credentials\"\n\
                tenant = \"b.example\"\nclient_id = \"id\"\nclient_secret = \"secret\"\n[[account.login]]\nusername = \"a\"\n";
    let hash = include_str!("../../../tests/common/cheap-hash.txt").trim();
    let text = format!("{text}password_hash = \"{hash}\"\n");
    let config = Config::parse(&text, Path::new("m.toml"), &Environment::of_variables([])).unwrap();
    Arc::clone(&config.listeners[0])
}

fn tap(watchers: &Watchers) -> Tap {
    tap_of(watchers, 7)
}

fn tap_of(watchers: &Watchers, session: u64) -> Tap {
    let (_, directory) = watch::channel(Arc::new(Directory::default()));
    watchers.tap(&Watched { listener: &listener(), directory: &directory, session, peer: DEVICE })
}

fn waiting(watch: &mut Watch) -> Vec<String> {
    std::iter::from_fn(|| watch.waiting()).map(|told| told.to_string()).collect()
}

#[test]
fn nobody_is_told_where_nobody_watches() {
    let watchers = Watchers::default();
    assert!(!watchers.are_there() && !tap(&watchers).is_open());
    let watch = watchers.watch(None).unwrap();
    let tap = tap(&watchers);
    assert!(tap.is_open());
    drop(watch);
    assert!(!watchers.are_there(), "who has left watches no more");
    tap.tell(|| "to nobody".into());
}

#[test]
fn a_watcher_sees_whom_it_asked_for_and_in_the_end_what_to_do() {
    let watchers = Watchers::default();
    let mut own = watchers.watch(Some("192.168.7.0/24".parse().unwrap())).unwrap();
    let mut others = watchers.watch(Some("10.0.0.0/8".parse().unwrap())).unwrap();
    let tap = tap(&watchers);
    tap.said(b"220 hi\r\n");
    tap.heard(b"MAIL FROM:<a@b>\r\n");
    tap.ears().unwrap().used(Used::Command(b"MAIL FROM:<a@b>"));
    tap.said(b"530 5.7.0 Log in first\r\n");
    tap.ended(&"closed by the client");
    let lines = waiting(&mut own);
    assert_eq!(lines[0], "#7 -- 192.168.7.20 has connected to the listener office (smtp, tls = \"none\")");
    assert_eq!(
        lines[1..4],
        ["#7 device <- 220 hi", "#7 device -> MAIL FROM:<a@b>", "#7 device <- 530 5.7.0 Log in first"]
    );
    assert_eq!(lines[4], "#7 -- the session has ended: closed by the client");
    assert!(lines[5].starts_with("#7 ** the device sends without logging in: "), "{lines:?}");
    assert_eq!((lines.len(), waiting(&mut others).len()), (6, 0));
    watchers.turned_away(&listener(), DEVICE, &Clue::NotAllowed);
    let lines = waiting(&mut own);
    assert_eq!(lines[0], "#- 192.168.7.20 was turned away at the listener office");
    assert!(lines[1].contains("allow = [\"127.0.0.0/8\", \"::1/128\", \"192.168.7.20/32\"]"), "{lines:?}");
}

#[test]
fn what_stands_behind_a_proxy_is_seen_by_its_own_address() {
    let watchers = Watchers::default();
    let mut behind = watchers.watch(Some("10.9.8.7/32".parse().unwrap())).unwrap();
    let tap = tap(&watchers);
    tap.is_for(DEVICE, false);
    tap.is_for("10.9.8.7".parse().unwrap(), false);
    tap.said(b"220 hi\r\n");
    let lines = waiting(&mut behind);
    assert_eq!(lines, ["#7 -- the PROXY header of 192.168.7.20 says that this is 10.9.8.7", "#7 device <- 220 hi"]);
}

#[test]
fn a_slow_watcher_loses_lines_and_holds_nobody_up() {
    let watchers = Watchers::default();
    let mut slow = watchers.watch(None).unwrap();
    let tap = tap(&watchers);
    for _ in 0..WAITING {
        tap.tell(|| "one of many".into());
    }
    // The first line told of the connection; that much is the share of the room that is left then.
    let shown = waiting(&mut slow).len();
    let of_it = format!("-- {} lines of #7 are missing about here", WAITING + 1 - 125);
    assert!(shown == 125 && slow.lost().unwrap().to_string().starts_with(&of_it));
    tap.tell(|| "and one more, since there is room again".into());
    assert_eq!((waiting(&mut slow).len(), slow.lost()), (1, None));
}

#[test]
fn sessions_that_say_very_much_leave_room_for_others() {
    let watchers = Watchers::default();
    let mut watch = watchers.watch(None).unwrap();
    for session in 100..150 {
        let loud = tap_of(&watchers, session);
        for _ in 0..1000 {
            loud.tell(|| "one of many".into());
        }
        watchers.turned_away(&listener(), DEVICE, &Clue::NotAllowed);
    }
    let quiet = tap(&watchers);
    quiet.tell(|| "what matters".into());
    quiet.ended(&"over");
    let lines = waiting(&mut watch);
    let own: Vec<_> = lines.iter().filter(|line| line.starts_with("#7 ")).collect();
    assert!(own.len() == 4 && own[1] == "#7 -- what matters", "{own:?}");
    let lost = watch.lost().unwrap();
    assert!(lost.lines > 40_000, "{lost}");
    assert!(
        lost.to_string()
            .contains(" lines of #100, #101, #102, #103 and others are missing "),
        "{lost}"
    );
}

#[test]
fn a_few_may_watch() {
    let watchers = Watchers::default();
    let first: Vec<_> = (0..MOST).map(|_| watchers.watch(None).unwrap()).collect();
    assert!(watchers.watch(None).is_none());
    drop(first);
    assert!(watchers.watch(None).is_some());
}

#[test]
fn what_a_success_has_shown_to_be_no_matter_is_not_advised_on() {
    let watchers = Watchers::default();
    let mut watch = watchers.watch(None).unwrap();
    let tap = tap(&watchers);
    tap.learn(Clue::UnknownName);
    tap.learn(Clue::LoggedIn);
    tap.learn(Clue::Refused(None));
    tap.learn(Clue::MessageAccepted);
    tap.ended(&"over");
    let lines = waiting(&mut watch);
    assert_eq!(lines.last().unwrap(), "#7 ** a message was accepted: nothing is to be changed");
    assert_eq!(lines.len(), 3, "{lines:?}");
}

#[test]
fn whoever_has_tried_a_password_is_not_told_to_do_without_one() {
    let watchers = Watchers::default();
    let mut watch = watchers.watch(None).unwrap();
    let tap = tap(&watchers);
    tap.learn(Clue::NotChecked("too many failed logins".into()));
    tap.learn(Clue::NoLogin);
    tap.ended(&"over");
    let advice: Vec<_> = waiting(&mut watch).into_iter().filter(|line| line.contains(" ** ")).collect();
    assert!(advice.len() == 1 && advice[0].contains("the password was not looked at"), "{advice:?}");
}
