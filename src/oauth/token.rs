//! What is known of one grant's token, and what follows from it: hand it out, fetch another, or say no. Pure: the
//! caller brings the time and the luck, and does the fetching.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::credentials::{Generation, TokenError};
use super::grant::Issued;
use super::hints;
use crate::config::Protocol;
use crate::secret::AccessToken;

/// The life a token should have left when it is handed out.
const ENOUGH: Duration = Duration::from_secs(15 * 60);

/// The life that will do while no other token can be had: a login takes 25 s at most.
const LAST_RESORT: Duration = Duration::from_secs(30);

/// A token younger than this is as fresh as one can be: fetching another would not help.
const FRESH: Duration = Duration::from_secs(60);

/// After a fresh token was refused, refusals fetch nothing for so long.
const NO_FORCING: Duration = Duration::from_secs(5 * 60);

/// A grant used within so long is refreshed ahead.
pub(crate) const IN_USE: Duration = Duration::from_secs(2 * 3600);

/// How long a fault that needs a person is remembered: long enough for a crowd of devices, short enough that nobody
/// waits for a mended secret to be noticed.
const PERSON_PAUSE: Duration = Duration::from_secs(30);

/// How often a refresh ahead is tried while a person is needed.
const PERSON_PAUSE_AHEAD: Duration = Duration::from_secs(5 * 60);

/// The first pause after a fault that passes, doubled by each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The longest `Retry-After` that is obeyed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(10 * 60);

/// Tokens that live shorter are not refreshed ahead: it would be a fetch every few seconds.
const SHORTEST_AHEAD: Duration = Duration::from_secs(60);

/// Now, on both clocks. The monotonic one stands still while a laptop sleeps, the wall clock can be set: whichever
/// says that more time has passed is believed, for a token thrown away early costs one fetch, and one kept too long
/// a failed login.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) monotonic: Instant,
    pub(crate) wall: SystemTime,
}

impl Moment {
    fn since(&self, earlier: &Self) -> Duration {
        let wall = self.wall.duration_since(earlier.wall).unwrap_or_default();
        wall.max(self.monotonic.saturating_duration_since(earlier.monotonic))
    }
}

/// A token with its dates.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) value: AccessToken,
    pub(crate) generation: Generation,
    obtained: Moment,
    lives: Duration,
    refresh_at: Option<Instant>,
}

impl Token {
    fn age(&self, now: &Moment) -> Duration {
        now.since(&self.obtained)
    }

    fn is_good_for(&self, protocol: Protocol, now: &Moment) -> bool {
        let left = self.lives.saturating_sub(self.age(now));
        // A token that never has enough gives what it has, else every login would fetch one.
        let enough = if self.lives > ENOUGH { ENOUGH } else { Duration::ZERO };
        // An IMAP session ends with its token, so it gets the better half.
        let needed = if protocol == Protocol::Imap { enough.max(self.lives / 2) } else { enough };
        !left.is_zero() && left >= needed
    }
}

/// What to do for a login.
#[derive(Debug)]
pub(crate) enum Decision {
    /// This token will do.
    HandOut(Token),
    /// Another has to be fetched, or the fetch under way be waited for.
    Fetch,
    /// Neither would help.
    Fail(TokenError),
}

/// One grant's token, and the memory of what went wrong with it.
#[derive(Debug, Default)]
pub(crate) struct GrantState {
    token: Option<Token>,
    generations: u64,
    used: Option<Moment>,
    failure: Option<Failure>,
    /// Faults that pass, since the last success.
    faults: u32,
    no_forcing_until: Option<Instant>,
}

#[derive(Debug)]
struct Failure {
    error: TokenError,
    /// Until then logins hear of it at once.
    until: Instant,
    /// Then a refresh ahead is tried again.
    ahead_at: Instant,
}

impl GrantState {
    /// Decides for one login. `refused` is what the upstream has just refused for the token's sake.
    pub(crate) fn decide(&mut self, now: &Moment, protocol: Protocol, refused: Option<Generation>) -> Decision {
        self.used = Some(*now);
        let Some(token) = &self.token else { return Decision::Fetch };
        if refused == Some(token.generation) {
            if token.age(now) < FRESH {
                self.no_forcing_until = now.monotonic.checked_add(NO_FORCING);
                return Decision::Fail(hints::refused(protocol));
            }
            if self.no_forcing_until.is_some_and(|until| now.monotonic < until) {
                return Decision::Fail(hints::refused(protocol));
            }
            return Decision::Fetch;
        }
        if token.is_good_for(protocol, now) { Decision::HandOut(token.clone()) } else { Decision::Fetch }
    }

    /// The token there is, where no other can be had: it need only live long enough to log in with, and not be the one
    /// that was refused.
    pub(crate) fn last_resort(&self, now: &Moment, refused: Option<Generation>) -> Option<Token> {
        let token = self.token.as_ref()?;
        let left = token.lives.saturating_sub(token.age(now));
        (refused != Some(token.generation) && left >= LAST_RESORT).then(|| token.clone())
    }

    /// Why nothing may be fetched for a login right now, if so.
    pub(crate) fn pausing(&self, now: &Moment) -> Option<TokenError> {
        let failure = self.failure.as_ref()?;
        let left = failure
            .until
            .checked_duration_since(now.monotonic)
            .filter(|left| !left.is_zero())?;
        let mut error = failure.error.clone();
        if let TokenError::Transient(fault) = &mut error
            && fault.retry_after.is_some()
        {
            fault.retry_after = Some(left);
        }
        Some(error)
    }

    /// Takes a new token in. `luck`, from 0 to 1, spreads the refreshes of many grants.
    pub(crate) fn issued(&mut self, now: &Moment, issued: Issued, luck: f64) -> Token {
        self.generations += 1;
        self.failure = None;
        self.faults = 0;
        // Before half its life is over, so that IMAP finds one good enough at any time.
        let ahead = issued.lives.mul_f64(0.40 + 0.08 * luck);
        let token = Token {
            value: issued.token,
            generation: Generation(self.generations),
            obtained: *now,
            lives: issued.lives,
            refresh_at: now.monotonic.checked_add(ahead).filter(|_| issued.lives >= SHORTEST_AHEAD),
        };
        self.token = Some(token.clone());
        token
    }

    /// Remembers that a fetch failed.
    pub(crate) fn failed(&mut self, now: &Moment, error: TokenError, luck: f64) {
        let (pause, ahead) = match &error {
            TokenError::Transient(fault) => {
                self.faults = self.faults.saturating_add(1);
                let asked = fault.retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
                let pause = backoff(self.faults, luck).max(asked);
                (pause, pause)
            }
            TokenError::NeedsPerson(_) | TokenError::Refused(_) => (PERSON_PAUSE, PERSON_PAUSE_AHEAD),
        };
        self.failure = Some(Failure { error, until: now.monotonic + pause, ahead_at: now.monotonic + ahead });
    }

    /// The token there is, whatever its age.
    pub(crate) fn latest(&self) -> Option<Token> {
        self.token.clone()
    }

    /// Forgets the token and its faults. Generations go on, so that an old one is never taken for a new one.
    pub(crate) fn begin_again(&mut self) {
        *self = Self { generations: self.generations, used: self.used, ..Self::default() };
    }

    /// When the token there is ends, and what the last fetch failed of.
    pub(crate) fn status(&self, now: &Moment) -> (Option<SystemTime>, Option<TokenError>) {
        let left = self.token.as_ref().map(|token| token.lives.saturating_sub(token.age(now)));
        let ends = left.filter(|left| !left.is_zero()).and_then(|left| now.wall.checked_add(left));
        (ends, self.failure.as_ref().map(|failure| failure.error.clone()))
    }

    /// When the token should be refreshed ahead; `None` where there is none or nobody has used it lately.
    pub(crate) fn refresh_at(&self, now: &Moment) -> Option<Instant> {
        let token = self.token.as_ref()?;
        if self.is_idle(now) {
            return None;
        }
        let at = token.refresh_at?;
        Some(self.failure.as_ref().map_or(at, |failure| at.max(failure.ahead_at)))
    }

    /// Whether nobody has used the grant lately.
    pub(crate) fn is_idle(&self, now: &Moment) -> bool {
        self.used.is_none_or(|used| now.since(&used) >= IN_USE)
    }
}

/// The pause after the `faults`-th fault in a row: doubled each time, and somewhere in its upper half.
fn backoff(faults: u32, luck: f64) -> Duration {
    let doublings = faults.saturating_sub(1).min(16);
    FIRST_PAUSE
        .saturating_mul(1 << doublings)
        .min(LONGEST_PAUSE)
        .mul_f64(0.5 + 0.5 * luck)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::hints::{needs_person, transient};

    const HOUR: u64 = 3600;

    struct Clock(Moment);

    impl Clock {
        fn new() -> Self {
            Self(Moment { monotonic: Instant::now(), wall: SystemTime::UNIX_EPOCH + Duration::from_secs(HOUR) })
        }

        fn pass(&mut self, seconds: u64) {
            self.0.monotonic += Duration::from_secs(seconds);
            self.0.wall += Duration::from_secs(seconds);
        }
    }

    fn token(lives: u64) -> Issued {
        let token = AccessToken::parse("t".into()).unwrap();
        Issued { token, lives: Duration::from_secs(lives), refresh_token: None, refresh_lives: None, id_token: None }
    }

    fn holding(lives: u64) -> (GrantState, Clock, Generation) {
        let (mut state, clock) = (GrantState::default(), Clock::new());
        let generation = state.issued(&clock.0, token(lives), 0.5).generation;
        (state, clock, generation)
    }

    fn hands_out(state: &mut GrantState, clock: &Clock, protocol: Protocol) -> bool {
        matches!(state.decide(&clock.0, protocol, None), Decision::HandOut(_))
    }

    fn with_retry_after(seconds: u64) -> TokenError {
        let TokenError::Transient(mut fault) = transient("slow") else { unreachable!() };
        fault.retry_after = Some(Duration::from_secs(seconds));
        TokenError::Transient(fault)
    }

    #[test]
    fn a_token_is_handed_out_while_it_has_a_quarter_of_an_hour() {
        let (mut state, mut clock, _) = holding(HOUR);
        clock.pass(45 * 60);
        assert!(hands_out(&mut state, &clock, Protocol::Smtp) && hands_out(&mut state, &clock, Protocol::Pop3));
        clock.pass(1);
        assert!(!hands_out(&mut state, &clock, Protocol::Smtp));
    }

    #[test]
    fn imap_gets_the_better_half() {
        let (mut state, mut clock, _) = holding(HOUR);
        clock.pass(30 * 60);
        assert!(hands_out(&mut state, &clock, Protocol::Imap));
        clock.pass(1);
        assert!(!hands_out(&mut state, &clock, Protocol::Imap));
        assert!(hands_out(&mut state, &clock, Protocol::Smtp));

        let (mut state, mut clock, _) = holding(20 * 60);
        clock.pass(6 * 60);
        assert!(!hands_out(&mut state, &clock, Protocol::Imap), "half would do, a quarter of an hour is not left");
    }

    #[test]
    fn an_old_token_serves_on_where_no_other_can_be_had() {
        let (state, mut clock, generation) = holding(HOUR);
        clock.pass(HOUR - 30);
        assert!(state.last_resort(&clock.0, None).is_some());
        assert!(state.last_resort(&clock.0, Some(generation)).is_none(), "the upstream does not want it");
        clock.pass(1);
        assert!(state.last_resort(&clock.0, None).is_none());
    }

    #[test]
    fn a_short_lived_token_gives_what_it_has() {
        let (mut state, mut clock, _) = holding(300);
        clock.pass(299);
        assert!(hands_out(&mut state, &clock, Protocol::Smtp));
        clock.pass(1);
        assert!(!hands_out(&mut state, &clock, Protocol::Smtp));
    }

    #[test]
    fn sleep_and_a_clock_set_back_do_not_lengthen_a_life() {
        let (mut slept, mut clock, _) = holding(HOUR);
        clock.0.wall += Duration::from_secs(2 * HOUR);
        assert!(!hands_out(&mut slept, &clock, Protocol::Smtp), "the machine slept two hours");

        let (mut set_back, mut clock, _) = holding(HOUR);
        clock.0.monotonic += Duration::from_secs(2 * HOUR);
        clock.0.wall -= Duration::from_secs(HOUR / 2);
        assert!(!hands_out(&mut set_back, &clock, Protocol::Smtp), "two hours passed, whatever the wall clock says");
    }

    #[test]
    fn a_refused_token_is_replaced_once() {
        let (mut state, mut clock, first) = holding(HOUR);
        clock.pass(60);
        assert!(matches!(state.decide(&clock.0, Protocol::Smtp, Some(first)), Decision::Fetch));
        let second = state.issued(&clock.0, token(HOUR), 0.5).generation;
        assert!(second > first);
        clock.pass(10);
        let handed = state.decide(&clock.0, Protocol::Smtp, Some(first));
        assert!(matches!(handed, Decision::HandOut(token) if token.generation == second), "no fetch for an old one");
        let refused = state.decide(&clock.0, Protocol::Smtp, Some(second));
        assert!(matches!(refused, Decision::Fail(TokenError::Refused(_))), "it is as fresh as can be");

        clock.pass(4 * 60 + 59);
        let refused = state.decide(&clock.0, Protocol::Smtp, Some(second));
        assert!(matches!(refused, Decision::Fail(TokenError::Refused(_))), "five minutes are not over");
        assert!(hands_out(&mut state, &clock, Protocol::Smtp), "others go on with it");
        clock.pass(1);
        assert!(matches!(state.decide(&clock.0, Protocol::Smtp, Some(second)), Decision::Fetch));
    }

    #[test]
    fn faults_pause_ever_longer_up_to_a_minute() {
        let (mut state, mut clock) = (GrantState::default(), Clock::new());
        let mut pauses = Vec::new();
        for _ in 0..40 {
            state.failed(&clock.0, transient("no answer"), 1.0);
            let mut pause = 0;
            while state.pausing(&clock.0).is_some() {
                clock.pass(1);
                pause += 1;
            }
            pauses.push(pause);
        }
        assert_eq!(pauses[..7], [1, 2, 4, 8, 16, 32, 60]);
        assert_eq!(pauses.last(), Some(&60));
        assert_eq!(backoff(3, 0.0), Duration::from_secs(2));
    }

    #[test]
    fn retry_after_is_obeyed_up_to_ten_minutes() {
        for (asked, obeyed) in [(30, 30), (86_400, 600), (u64::MAX, 600)] {
            let (mut state, mut clock) = (GrantState::default(), Clock::new());
            state.failed(&clock.0, with_retry_after(asked), 0.5);
            clock.pass(obeyed - 1);
            let Some(TokenError::Transient(fault)) = state.pausing(&clock.0) else { panic!("{asked}") };
            assert_eq!(fault.retry_after, Some(Duration::from_secs(1)), "what is left of it");
            clock.pass(1);
            assert_eq!(state.pausing(&clock.0), None);
        }
    }

    #[test]
    fn a_good_token_outlives_a_failed_refresh() {
        let (mut state, mut clock, _) = holding(HOUR);
        clock.pass(30 * 60);
        state.failed(&clock.0, with_retry_after(600), 0.5);
        assert!(hands_out(&mut state, &clock, Protocol::Smtp));
    }

    #[test]
    fn a_fault_for_a_person_is_remembered_half_a_minute() {
        let (mut state, mut clock) = (GrantState::default(), Clock::new());
        state.failed(&clock.0, needs_person("wrong secret", "mend it"), 0.5);
        clock.pass(29);
        assert_eq!(state.pausing(&clock.0), Some(needs_person("wrong secret", "mend it")));
        clock.pass(1);
        assert_eq!(state.pausing(&clock.0), None);
    }

    #[test]
    fn refreshed_ahead_before_half_its_life_and_only_while_used() {
        for luck in [0.0, 1.0] {
            let (mut state, clock) = (GrantState::default(), Clock::new());
            state.decide(&clock.0, Protocol::Imap, None);
            state.issued(&clock.0, token(HOUR), luck);
            let ahead = state.refresh_at(&clock.0).unwrap() - clock.0.monotonic;
            assert!((24 * 60..30 * 60).contains(&ahead.as_secs()), "{ahead:?}");
        }
        let (mut state, mut clock, _) = holding(HOUR);
        assert_eq!(state.refresh_at(&clock.0), None, "never used");
        state.decide(&clock.0, Protocol::Imap, None);
        clock.pass(IN_USE.as_secs());
        assert_eq!(state.refresh_at(&clock.0), None, "not used lately");
    }

    #[test]
    fn a_failed_refresh_ahead_waits_out_its_pause() {
        let (mut state, mut clock, _) = holding(HOUR);
        state.decide(&clock.0, Protocol::Imap, None);
        clock.pass(40 * 60);
        state.failed(&clock.0, with_retry_after(120), 0.5);
        let again = state.refresh_at(&clock.0).unwrap();
        assert_eq!(again - clock.0.monotonic, Duration::from_secs(120));
        state.failed(&clock.0, needs_person("x", "y"), 0.5);
        assert_eq!(state.refresh_at(&clock.0).unwrap() - clock.0.monotonic, PERSON_PAUSE_AHEAD);
    }
}
