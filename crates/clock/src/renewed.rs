//! A value that is replaced when it is old enough.

use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A value with a maximum age. Clones in use are not changed; the next [`Renewed::get`] returns a new value.
pub struct Renewed<T> {
    life: Duration,
    make: Box<dyn Fn() -> Option<T> + Send + Sync>,
    current: Mutex<(T, Instant)>,
}

impl<T: Clone> Renewed<T> {
    /// Starts with `first`; a value older than `life` is replaced by `make`. If that returns `None`, the old value is kept
    /// for another `life`.
    pub fn new(
        life: Duration,
        first: T,
        make: impl Fn() -> Option<T> + Send + Sync + 'static,
    ) -> Self {
        Self {
            life,
            make: Box::new(make),
            current: Mutex::new((first, Instant::now())),
        }
    }

    /// The current value; makes a new one if it is too old.
    pub fn get(&self) -> T {
        let mut current = self.current.lock();
        let (value, made) = &mut *current;
        if made.elapsed() >= self.life {
            *made = Instant::now();
            if let Some(new) = (self.make)() {
                *value = new;
            }
        }
        value.clone()
    }
}

impl<T: fmt::Debug> fmt::Debug for Renewed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.current.lock();
        current.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_replaced_when_its_life_is_over_and_kept_if_that_fails() {
        let minute = Duration::from_secs(60);
        let made = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&made);
        let renewed = Renewed::new(minute, 0, move || {
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            (number != 2).then_some(number)
        });
        assert_eq!([renewed.get(), renewed.get()], [0, 0]);
        tokio::time::advance(minute).await;
        assert_eq!([renewed.get(), renewed.get()], [1, 1]);
        tokio::time::advance(minute).await;
        assert_eq!([renewed.get(), renewed.get()], [1, 1]);
        assert_eq!(made.load(Ordering::SeqCst), 2);
        tokio::time::advance(minute * 9).await;
        assert_eq!([renewed.get(), renewed.get()], [3, 3]);
    }
}
