//! The orderly end: everyone is told to finish, and the last one out is waited for.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Told to whoever has to finish; counts who has not.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    /// "Finish what you are doing."
    finish: CancellationToken,
    /// "Stop now."
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Drain {
    /// Completes when the drain begins.
    pub async fn began(&self) {
        self.finish.cancelled().await;
    }

    /// Whether the drain has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.finish.is_cancelled()
    }

    /// Runs `task` as one that the drain waits for. When the drain's time is up it is dropped where it stands.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = task => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// How many tasks are running.
    #[must_use]
    pub fn running(&self) -> usize {
        self.tasks.len()
    }

    /// Stops everyone now, without waiting for it.
    pub fn stop(&self) {
        self.finish.cancel();
        self.stop.cancel();
    }

    /// Tells everyone to finish, waits at most `patience`, then stops those that have not. Says how many were stopped.
    pub async fn run(&self, patience: Duration) -> usize {
        self.finish.cancel();
        self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_ok() {
            return 0;
        }
        let stopped = self.tasks.len();
        self.stop.cancel();
        self.tasks.wait().await;
        stopped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_who_finish_are_waited_for_and_the_others_stopped() {
        let drain = Drain::default();
        let told = drain.clone();
        drain.spawn(async move { told.began().await });
        assert_eq!(drain.run(Duration::from_secs(5)).await, 0);

        let drain = Drain::default();
        drain.spawn(std::future::pending());
        assert_eq!(drain.running(), 1);
        assert_eq!(drain.run(Duration::from_secs(5)).await, 1);
        assert_eq!(drain.running(), 0);
    }
}
