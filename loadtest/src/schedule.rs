//! When requests are due: at once (closed loop), or on a fixed schedule (open loop).
//!
//! ```text
//!   pacer ──permit for each arrival that is due──▶ turn() ──the instant at which it was due──▶ shopper
//! ```
//!
//! In the open loop the n-th request is due at start + n / rate whether or not anyone is free to send it, and its latency
//! counts from then: a stalled server is charged for all who had to wait. Arrivals that are due and not yet taken are a
//! number, not a queue, so falling behind costs no memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// The pacer does not wake more often than this: at high rates several arrivals share a wake-up, and each is late by
/// at most this much.
const TICK: Duration = Duration::from_micros(200);

/// The schedule of one thread.
pub(crate) enum Schedule {
    Closed,
    Open(Arrivals),
}

/// Arrivals at a fixed rate.
pub(crate) struct Arrivals {
    start: Instant,
    interval_ns: f64,
    due: Semaphore,
    taken: AtomicU64,
}

impl Schedule {
    /// Waits for the next turn; the instant from which its latency counts.
    pub(crate) async fn turn(&self) -> Instant {
        match self {
            Self::Closed => Instant::now(),
            Self::Open(arrivals) => arrivals.next().await,
        }
    }

    /// Releases arrivals as they become due, for as long as it is polled.
    pub(crate) async fn drive(&self) -> std::io::Result<()> {
        match self {
            Self::Closed => std::future::pending().await,
            Self::Open(arrivals) => arrivals.drive().await,
        }
    }
}

impl Arrivals {
    /// `rate` arrivals a second, the first at `start`.
    pub(crate) fn new(start: Instant, rate: f64) -> Self {
        Self { start, interval_ns: 1e9 / rate, due: Semaphore::new(0), taken: AtomicU64::new(0) }
    }

    async fn next(&self) -> Instant {
        // The semaphore is closed by nobody; were it, everything would be due.
        if let Ok(permit) = self.due.acquire().await {
            permit.forget();
        }
        self.due_at(self.taken.fetch_add(1, Ordering::Relaxed))
    }

    #[expect(clippy::cast_precision_loss, reason = "exact to the nanosecond for a hundred days of run")]
    fn due_at(&self, n: u64) -> Instant {
        self.start + Duration::from_secs_f64(n as f64 * self.interval_ns / 1e9)
    }

    /// How many arrivals are due at `now`.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a count")]
    fn due_by(&self, now: Instant) -> u64 {
        match now.checked_duration_since(self.start) {
            Some(since) => (since.as_nanos() as f64 / self.interval_ns) as u64 + 1,
            None => 0,
        }
    }

    async fn drive(&self) -> std::io::Result<()> {
        let mut alarm = Alarm::new()?;
        let mut released = 0;
        loop {
            let now = Instant::now();
            let due = self.due_by(now);
            self.due.add_permits(usize::try_from(due - released).unwrap_or(usize::MAX >> 4));
            released = due;
            alarm.sleep_until(self.due_at(released).max(now + TICK)).await?;
        }
    }
}

/// A sleep that is exact to some 50 microseconds. Tokio's own is exact to a millisecond, which would be added to every
/// latency that a shopper measures.
#[cfg(target_os = "linux")]
struct Alarm(tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>);

#[cfg(target_os = "linux")]
impl Alarm {
    fn new() -> std::io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(deprecated, reason = "sound for a descriptor that is owned; what replaces it needs an unsafe block")]
        Ok(Self(tokio::io::unix::AsyncFd::new(timer)?))
    }

    async fn sleep_until(&mut self, at: Instant) -> std::io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            tokio::task::yield_now().await;
            return Ok(());
        }
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec::try_from(left).map_err(std::io::Error::other)?,
        };
        // Setting it again also clears an expiry that was not read, so there is no need to read it.
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.0.readable().await?;
            // Readiness may be left over from the last sleep.
            if Instant::now() >= at {
                ready.clear_ready();
                return Ok(());
            }
            ready.clear_ready();
        }
    }
}

#[cfg(not(target_os = "linux"))]
struct Alarm;

#[cfg(not(target_os = "linux"))]
impl Alarm {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn sleep_until(&mut self, at: Instant) -> std::io::Result<()> {
        tokio::time::sleep_until(at.into()).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A generator that starts 100 ms late finds a hundred arrivals due, and counts each from when it was due.
    #[tokio::test]
    async fn latency_counts_from_the_instant_at_which_a_request_was_due() {
        let start = Instant::now().checked_sub(Duration::from_millis(100)).expect("the clock is older than that");
        let schedule = Schedule::Open(Arrivals::new(start, 1000.0));
        let taking = async {
            for n in 0..100 {
                assert_eq!(schedule.turn().await, start + Duration::from_millis(n));
            }
        };
        tokio::select! {
            biased;
            fault = schedule.drive() => panic!("the pacer stopped: {fault:?}"),
            () = taking => {}
        }
    }

    #[tokio::test]
    async fn nothing_is_sent_before_it_is_due() {
        let schedule = Schedule::Open(Arrivals::new(Instant::now(), 2000.0));
        let taking = async {
            for _ in 0..20 {
                let due = schedule.turn().await;
                assert!(Instant::now() >= due);
            }
        };
        tokio::select! {
            fault = schedule.drive() => panic!("the pacer stopped: {fault:?}"),
            () = taking => {}
        }
    }
}
