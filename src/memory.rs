//! Memory that is reserved, in bytes, before it is used: a reservation waits until enough of the others are dropped.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory is counted in KiB.
const UNIT: usize = 1 << 10;

/// The memory for one purpose. Clones share it.
#[derive(Debug, Clone)]
pub struct Memory {
    free: Arc<Semaphore>,
    total: u32,
}

/// Memory that is reserved, until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    memory: Memory,
    taken: OwnedSemaphorePermit,
}

impl Memory {
    /// This many bytes.
    #[must_use]
    pub fn of(bytes: usize) -> Self {
        let total = units(bytes);
        Self {
            free: Arc::new(Semaphore::new(total as usize)),
            total,
        }
    }

    /// Reserves this many bytes, or all if it is more, as soon as they are free, in the order of the calls. Dropping the
    /// future reserves nothing.
    pub async fn reserve(&self, bytes: usize) -> Reservation {
        let units = units(bytes).min(self.total);
        Reservation {
            memory: self.clone(),
            taken: self.take(units).await,
        }
    }

    /// How many bytes are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.available_permits() * UNIT
    }

    async fn take(&self, units: u32) -> OwnedSemaphorePermit {
        match Arc::clone(&self.free).acquire_many_owned(units).await {
            Ok(taken) => taken,
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Reservation {
    /// Changes it to this many bytes, or all: what is not needed is free at once, what is missing is waited for.
    pub async fn resize(&mut self, bytes: usize) {
        let needed = units(bytes).min(self.memory.total) as usize;
        let held = self.taken.num_permits();
        drop(self.taken.split(held.saturating_sub(needed)));
        if let Ok(missing @ 1..) = u32::try_from(needed.saturating_sub(held)) {
            self.taken.merge(self.memory.take(missing).await);
        }
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, timeout};

    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    #[tokio::test(start_paused = true)]
    async fn who_comes_first_goes_first_and_who_leaves_takes_nothing() {
        let memory = Memory::of(10 << 10);
        let first = memory.reserve(6 << 10).await;
        let mut second = Box::pin(memory.reserve(5 << 10));
        assert!(timeout(AT_ONCE, &mut second).await.is_err());
        let small = timeout(AT_ONCE, memory.reserve(1)).await;
        assert!(small.is_err(), "it stands behind the second");
        drop(second);
        assert_eq!(memory.free(), 4 << 10);
        let small = memory.reserve(1).await;
        assert_eq!(memory.free(), 3 << 10, "counted in KiB");
        drop((first, small));
        assert_eq!(memory.free(), 10 << 10);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_larger_than_all_takes_all_and_what_is_not_needed_is_given_back() {
        let memory = Memory::of(10 << 10);
        let mut all = memory.reserve(usize::MAX).await;
        assert_eq!(memory.free(), 0);
        all.resize(3 << 10).await;
        assert_eq!(memory.free(), 7 << 10);
        let other = memory.reserve(6 << 10).await;
        let began = Instant::now();
        let giving_back = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(other);
        };
        tokio::join!(all.resize(20 << 10), giving_back);
        assert_eq!((memory.free(), began.elapsed().as_secs()), (0, 1));
        all.resize(0).await;
        assert_eq!(memory.free(), 10 << 10);
    }
}
