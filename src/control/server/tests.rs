//! The socket with a desk that does next to nothing: what reaches it, and what never does.

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;
use tokio::sync::Notify;

use super::super::{AskError, ask, listens};
use super::*;
use crate::control::{AnswerFuture, Progress};

/// A test that hangs fails after this long.
const STUCK: Duration = Duration::from_secs(60);

/// Counts what it is asked. A check waits to be let go, and then counts as done.
#[derive(Default)]
struct Echo {
    asked: AtomicUsize,
    done: AtomicUsize,
    go: Notify,
    begun: Notify,
}

impl Desk for Echo {
    fn handle(&self, request: Request, progress: Progress) -> AnswerFuture<'_> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            match request {
                Request::Accounts => Answer::Accounts(Vec::new()),
                Request::Check { .. } => {
                    self.begun.notify_one();
                    self.go.notified().await;
                    for step in 0..100 {
                        let _ = progress.send(format!("step {step}")).await;
                    }
                    self.done.fetch_add(1, Ordering::SeqCst);
                    Answer::Checked { wrong: 0, waiting_may_help: false }
                }
                Request::RevokeLogin { .. } => panic!("on purpose"),
                Request::Watch { .. } => {
                    let _ = progress.send("watching".into()).await;
                    progress.closed().await;
                    self.done.fetch_add(1, Ordering::SeqCst);
                    self.begun.notify_one();
                    Answer::Done("nobody watches".into())
                }
                _ => Answer::Done("x".repeat(line::MAX_ANSWER)),
            }
        })
    }
}

struct Stage {
    folder: TempDir,
    desk: Arc<Echo>,
    server: Server,
}

impl Stage {
    fn set() -> Self {
        let (folder, desk) = (tempfile::tempdir().unwrap(), Arc::new(Echo::default()));
        let server = claim(folder.path()).unwrap().serve(Arc::<Echo>::clone(&desk)).unwrap();
        Self { folder, desk, server }
    }

    async fn ask(&self, request: &Request) -> Result<Answer, AskError> {
        ask(self.folder.path(), request, |_| {}).await
    }

    async fn connect(&self) -> BufReader<UnixStream> {
        BufReader::new(UnixStream::connect(socket(self.folder.path())).await.unwrap())
    }

    async fn lives(&self) {
        assert_eq!(self.ask(&Request::Accounts).await.unwrap(), Answer::Accounts(Vec::new()));
    }
}

/// Everything there is to hear, as one answer.
async fn heard(stream: &mut BufReader<UnixStream>) -> Option<Answer> {
    let mut heard = Vec::new();
    // Who closes with something unread resets, behind what it said.
    let _ = stream.read_to_end(&mut heard).await;
    let lines: Vec<_> = heard.split_inclusive(|octet| *octet == b'\n').collect();
    match lines[..] {
        [] => None,
        [line] => match line::parse(line) {
            Some(Line::Answer(answer)) => Some(answer),
            other => panic!("{other:?}"),
        },
        _ => panic!("{} lines", lines.len()),
    }
}

fn check() -> Request {
    Request::Check { account: "a@b.example".into() }
}

fn is_refusal(answer: Option<Answer>, word: &str) -> bool {
    matches!(answer, Some(Answer::Failed { usage: false, what }) if what.contains(word))
}

#[tokio::test]
async fn a_request_is_answered_line_by_line() {
    let stage = Stage::set();
    assert!(listens(stage.folder.path()).await.unwrap());
    stage.desk.go.notify_one();
    let mut steps = Vec::new();
    let answer = ask(stage.folder.path(), &check(), |line| steps.push(line.to_owned())).await;
    assert_eq!(answer.unwrap(), Answer::Checked { wrong: 0, waiting_may_help: false });
    assert_eq!(steps, (0..100).map(|step| format!("step {step}")).collect::<Vec<_>>());
    let mode = std::fs::metadata(socket(stage.folder.path())).unwrap().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[tokio::test]
async fn what_has_no_end_ends_when_its_asker_leaves() {
    let stage = Stage::set();
    let mut stream = stage.connect().await;
    stream.write_all(b"{\"watch\":{\"from\":null}}\n").await.unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    assert_eq!(line, "{\"progress\":\"watching\"}\n");
    drop(stream);
    timeout(STUCK, stage.desk.begun.notified()).await.expect("it is told to nobody");
    assert_eq!(stage.desk.done.load(Ordering::SeqCst), 1);
    stage.lives().await;
}

#[tokio::test]
async fn rubbish_is_answered_once_and_harms_nobody() {
    let stage = Stage::set();
    let endless = vec![b'x'; MAX_REQUEST + 1];
    for rubbish in [
        &b"\n"[..],
        b"\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"{}\n",
        b"null\n",
        b"[1,2]\n",
        b"{\"check\":{}}\n",
        b"{\"revoke-login\":{\"id\":\"7\"}}\n",
        b"\"reboot\"\n",
        b"\xff\xfe\x00\n",
        &endless,
    ] {
        let mut stream = stage.connect().await;
        // The rest of what is endless is not read.
        let _ = stream.write_all(rubbish).await;
        assert!(is_refusal(heard(&mut stream).await, "does not understand"), "{:?}", &rubbish[..rubbish.len().min(20)]);
    }
    // Half of a request, as of one who was killed: whole, it would be understood.
    let mut stream = stage.connect().await;
    stream.write_all(b"\"accounts\"").await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(is_refusal(heard(&mut stream).await, "does not understand"));
    // Who only looks whether anybody listens is told nothing.
    let mut stream = stage.connect().await;
    stream.shutdown().await.unwrap();
    assert_eq!(heard(&mut stream).await, None);
    assert_eq!(stage.desk.asked.load(Ordering::SeqCst), 0, "none of it came further");
    stage.lives().await;
}

#[tokio::test]
async fn one_that_breaks_takes_nobody_along() {
    let stage = Stage::set();
    let broken = stage.ask(&Request::RevokeLogin { id: 1 }).await;
    assert!(matches!(broken, Err(AskError::Lost)), "{broken:?}");
    stage.lives().await;
    let long = stage.ask(&Request::Logins).await.unwrap();
    assert!(is_refusal(Some(long), "too long"));
    let too_long = stage.ask(&Request::Check { account: "x".repeat(MAX_REQUEST) }).await;
    assert!(matches!(too_long, Err(AskError::TooLong)), "{too_long:?}");
}

#[tokio::test]
async fn who_may_only_look_changes_nothing() {
    let desk = Echo::default();
    for (rights, request, word) in [
        (
            Rights::Reading,
            "{\"send-test\":{\"account\":\"a@b\",\"to\":\"c@d\"}}\n",
            "may list accounts and logins, and nothing else",
        ),
        (Rights::Reading, "{\"revoke-login\":{\"id\":1}}\n", "run this as root"),
        (Rights::None, "\"accounts\"\n", "only root"),
    ] {
        let (near, far) = UnixStream::pair().unwrap();
        let mut far = BufReader::new(far);
        far.write_all(request.as_bytes()).await.unwrap();
        converse(near, rights, &desk).await;
        assert!(is_refusal(heard(&mut far).await, word), "{request}");
    }
    assert_eq!(desk.asked.load(Ordering::SeqCst), 0);
    let (near, far) = UnixStream::pair().unwrap();
    let mut far = BufReader::new(far);
    far.write_all(b"\"accounts\"\n").await.unwrap();
    converse(near, Rights::Reading, &desk).await;
    assert_eq!(heard(&mut far).await, Some(Answer::Accounts(Vec::new())));
}

#[tokio::test(start_paused = true)]
async fn a_request_comes_within_five_seconds_or_not_at_all() {
    let stage = Stage::set();
    let mut stream = stage.connect().await;
    stream.write_all(b"\"acc").await.unwrap();
    let begun = tokio::time::Instant::now();
    assert!(is_refusal(heard(&mut stream).await, "in time"));
    assert_eq!(begun.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn a_crowd_is_turned_away_and_its_places_are_given_back() {
    let stage = Stage::set();
    let mut crowd = Vec::new();
    for _ in 0..MOST {
        let mut stream = stage.connect().await;
        stream.write_all(b"{\"check\":{\"account\":\"a@b.example\"}}\n").await.unwrap();
        stage.desk.begun.notified().await;
        crowd.push(stream);
    }
    assert!(is_refusal(heard(&mut stage.connect().await).await, "try again in a moment"));
    stage.desk.go.notify_waiters();
    for stream in &mut crowd {
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        assert!(heard.ends_with("}}}\n"), "{heard}");
    }
    stage.lives().await;
}

#[tokio::test]
async fn no_crowd_of_others_keeps_out_who_may_ask_everything() {
    let (folder, desk) = (tempfile::tempdir().unwrap(), Arc::new(Echo::default()));
    let [master, reader] = [(); 2].map(|()| Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let says = |flag: &Arc<std::sync::atomic::AtomicBool>| {
        let flag = Arc::clone(flag);
        Arc::new(move |_: UCred| flag.load(Ordering::SeqCst))
    };
    let doorman = Doorman { is_master: says(&master), is_reader: says(&reader) };
    let server = claim(folder.path()).unwrap().serve_behind(doorman, Arc::<Echo>::clone(&desk));
    let stage = Stage { folder, desk, server: server.unwrap() };
    // Who may nothing is refused though silent, and leaves no place taken.
    for _ in 0..=MOST {
        assert!(is_refusal(heard(&mut stage.connect().await).await, "only root"));
    }
    reader.store(true, Ordering::SeqCst);
    let mut crowd = Vec::new();
    for _ in 0..MOST_READERS {
        crowd.push(stage.connect().await);
    }
    for _ in 0..=MOST {
        assert!(is_refusal(heard(&mut stage.connect().await).await, "try again in a moment"));
    }
    master.store(true, Ordering::SeqCst);
    stage.lives().await;
    master.store(false, Ordering::SeqCst);
    drop(crowd.pop());
    // Those who look are heard when one of them has left, and may look only.
    loop {
        match stage.ask(&check()).await.unwrap() {
            Answer::Failed { what, .. } if what.contains("try again") => tokio::task::yield_now().await,
            answer => break assert!(is_refusal(Some(answer), "may list accounts and logins, and nothing else")),
        }
    }
}

#[tokio::test]
async fn what_was_begun_is_finished_though_nobody_listens() {
    let stage = Stage::set();
    let mut stream = stage.connect().await;
    stream.write_all(b"{\"check\":{\"account\":\"a@b.example\"}}\n").await.unwrap();
    stage.desk.begun.notified().await;
    drop(stream);
    stage.desk.go.notify_one();
    let finished = async {
        while stage.desk.done.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(STUCK, finished).await.unwrap();
    stage.lives().await;
}

#[tokio::test]
async fn a_place_belongs_to_one_gateway_and_is_left_clean() {
    let stage = Stage::set();
    let folder = stage.folder.path();
    assert!(matches!(claim(folder), Err(ControlError::Taken(_))));
    stage.lives().await;
    let Stage { folder, server, .. } = stage;
    let folder = folder.path();
    server.close().await;
    assert!(!socket(folder).exists());
    assert!(!listens(folder).await.unwrap());
    assert!(matches!(ask(folder, &Request::Accounts, |_| {}).await, Err(AskError::NobodyListens)));

    // Dropped, as when something else fails at start.
    drop(claim(folder).unwrap());
    assert!(!socket(folder).exists());
    // Left by one that was killed: there is nobody behind it.
    drop(StdListener::bind(socket(folder)).unwrap());
    assert!(socket(folder).exists() && !listens(folder).await.unwrap());
    drop(claim(folder).unwrap());
    // One that lives, but took no lock.
    let other = StdListener::bind(socket(folder)).unwrap();
    assert!(matches!(claim(folder), Err(ControlError::Taken(_))));
    assert!(socket(folder).exists(), "it is left alone");
    drop(other);
    std::fs::remove_file(socket(folder)).unwrap();
    // What is no socket of that kind is somebody's.
    std::fs::write(socket(folder), "notes").unwrap();
    let error = claim(folder).unwrap_err().to_string();
    assert!(error.contains("control.sock") && error.contains("move it away"), "{error}");
    assert_eq!(std::fs::read_to_string(socket(folder)).unwrap(), "notes");
    std::fs::remove_file(socket(folder)).unwrap();
    let _datagrams = UnixDatagram::bind(socket(folder)).unwrap();
    assert!(claim(folder).is_err() && socket(folder).exists());

    let deep = folder.join("x".repeat(120));
    let error = claim(&deep).unwrap_err().to_string();
    assert!(error.contains("a shorter path"), "{error}");
}

#[tokio::test]
async fn who_can_only_read_the_folder_cannot_keep_a_gateway_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let seen = std::fs::File::open(folder).unwrap();
    seen.lock().unwrap();
    let claimed = claim(folder).unwrap();
    let lock = folder.join("control.lock");
    let found = std::fs::symlink_metadata(&lock).unwrap();
    assert_eq!((found.mode() & 0o777, found.uid()), (0o600, std::fs::metadata(folder).unwrap().uid()));
    drop(claimed);

    // A command at work is told from a gateway.
    let held = hold(folder).unwrap();
    assert!(matches!(claim(folder), Err(ControlError::Busy(_))));
    drop(held);
    drop(claim(folder).unwrap());

    // Neither what a link leads to nor what others can open is locked.
    std::fs::set_permissions(&lock, PermissionsExt::from_mode(0o640)).unwrap();
    assert!(hold(folder).unwrap_err().to_string().contains("open to other users"));
    std::fs::remove_file(&lock).unwrap();
    std::fs::write(folder.join("elsewhere"), "").unwrap();
    std::fs::set_permissions(folder.join("elsewhere"), PermissionsExt::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink(folder.join("elsewhere"), &lock).unwrap();
    assert!(matches!(claim(folder), Err(ControlError::Unusable { .. })));
}

#[tokio::test]
async fn a_folder_that_others_can_write_in_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for mode in [0o720, 0o702, 0o1777] {
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(mode)).unwrap();
        let error = claim(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("(mode {mode:o}): close it with: chmod go-w /")), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    drop(claim(folder.path()).unwrap());
}

#[tokio::test]
async fn what_is_no_gateway_is_told_from_one() {
    let folder = tempfile::tempdir().unwrap();
    for (says, expected) in [
        (&b"220 ready\r\n"[..], "gives no answer"),
        (b"{\"answer\":{\"rebooted\":1}}\n", "gives no answer"),
        (b"", "ended before it answered"),
        (b"{\"progress\":\"half\"", "ended before it answered"),
        (b"{\"progress\":\"one\"}\n", "ended before it answered"),
        (&[b'x'; line::MAX_ANSWER + 10], "gives no answer"),
    ] {
        let listener = UnixListener::bind(socket(folder.path())).unwrap();
        let says = says.to_vec();
        let speaking = tokio::spawn(async move {
            let mut stream = BufReader::new(listener.accept().await.unwrap().0);
            let mut asked = String::new();
            stream.read_line(&mut asked).await.unwrap();
            // Who has heard enough hangs up.
            let _ = stream.write_all(&says).await;
        });
        let error = ask(folder.path(), &Request::Accounts, |_| {}).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        speaking.await.unwrap();
        std::fs::remove_file(socket(folder.path())).unwrap();
    }
}
