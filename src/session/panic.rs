//! A panic in one session is that session's misfortune: caught, so that it can still be answered and counted.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// The work panicked; the panic hook has said where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Awaits `work`; a panic in it ends it and nothing else. What it borrowed mutably may be half-changed afterwards and
/// must be good for nothing but being dropped or closed.
///
/// Boxed, because a future that an async function takes and pins is in that function's own future twice.
pub(crate) async fn caught<F: Future + ?Sized>(mut work: Pin<Box<F>>) -> Result<F::Output, Panicked> {
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(Err(Panicked)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_comes_out_as_a_value() {
        let panicking = async {
            tokio::task::yield_now().await;
            panic!("on purpose")
        };
        assert_eq!(caught(Box::pin(panicking)).await, Err(Panicked));
        assert_eq!(caught(Box::pin(async { 7 })).await, Ok(7));
    }
}
