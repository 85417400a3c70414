//! One timer for a deadline that moves.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// Most deadlines are put off long before they come, so the timer is set anew only when it fires, or when the deadline
/// has come nearer.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    timer: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Ready once it is `due`. Until then the task is woken at that time, as long as no call names another.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        loop {
            // Asked of the clock: a task that is never out of work is not told by its timer.
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if timer.deadline() > due {
                timer.as_mut().reset(due);
            }
            ready!(timer.as_mut().poll(cx));
            timer.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_may_be_put_off_and_come_nearer() {
        for (first, then) in [(1, 100), (100, 1), (5, 5)] {
            let begun = Instant::now();
            let mut alarm = Alarm::default();
            let mut dues = [first, then].map(|seconds| begun + Duration::from_secs(seconds)).into_iter();
            let mut due = dues.next().unwrap();
            poll_fn(|cx| {
                let rings = alarm.poll(cx, due);
                // The second one is known before the first has come.
                if let Some(then) = dues.next() {
                    due = then;
                    return alarm.poll(cx, due);
                }
                rings
            })
            .await;
            assert_eq!(begun.elapsed().as_secs(), then, "{first} s, then {then} s");
        }
    }
}
