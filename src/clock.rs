//! The only door to time. One clock serves the whole process, so that every shard, timer and reply agrees.
//!
//! It is the monotonic clock, anchored to wall time when the process starts and never below the last instant in the
//! journal. It then follows wall time by slewing, at most one part in two hundred: a jump of the wall clock therefore
//! expires nothing and opens no sale early. How far the two are apart is known, and `/readyz` says so when it is seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::ids::UnixMillis;

/// How often [`Clock::slew`] wants to be called.
pub const SLEW_EVERY: Duration = Duration::from_millis(200);
/// How far one call of [`Clock::slew`] moves the clock.
const SLEW_STEP_MS: i64 = 1;

/// The process clock. Cheap to clone; all clones are the same clock.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Source,
    /// The latest instant given out: the clock never goes back.
    latest_ms: AtomicU64,
}

#[derive(Debug)]
enum Source {
    Process { started: Instant, anchor_ms: u64, slewed_ms: AtomicI64 },
    Manual(AtomicU64),
}

impl Clock {
    /// Starts the clock at wall time, or at `floor_ms` where wall time is before it: the wall clock went back while
    /// the process was down, and journaled time must not.
    #[must_use]
    pub fn start(floor_ms: UnixMillis) -> Self {
        let anchor_ms = wall_ms().max(floor_ms.0);
        let source = Source::Process { started: Instant::now(), anchor_ms, slewed_ms: AtomicI64::new(0) };
        Self(Arc::new(Inner { source, latest_ms: AtomicU64::new(anchor_ms) }))
    }

    /// A clock that stands still until [`Clock::advance_ms`] moves it: for tests and simulation.
    #[must_use]
    pub fn manual(now_ms: UnixMillis) -> Self {
        let source = Source::Manual(AtomicU64::new(now_ms.0));
        Self(Arc::new(Inner { source, latest_ms: AtomicU64::new(now_ms.0) }))
    }

    /// Moves a manual clock forward.
    ///
    /// # Panics
    /// On the process clock, which nobody moves.
    pub fn advance_ms(&self, ms: u64) {
        match &self.0.source {
            Source::Manual(now_ms) => now_ms.fetch_add(ms, Ordering::SeqCst),
            Source::Process { .. } => panic!("only a manual clock can be moved"),
        };
    }

    /// The current instant; never before one that was given out already.
    #[must_use]
    pub fn now_ms(&self) -> UnixMillis {
        let now_ms = match &self.0.source {
            Source::Process { started, anchor_ms, slewed_ms } => process_ms(started, *anchor_ms, slewed_ms),
            Source::Manual(now_ms) => now_ms.load(Ordering::SeqCst),
        };
        let latest_ms = self.0.latest_ms.load(Ordering::Relaxed);
        if now_ms <= latest_ms {
            return UnixMillis(latest_ms);
        }
        UnixMillis(self.0.latest_ms.fetch_max(now_ms, Ordering::Relaxed).max(now_ms))
    }

    /// Wall time less this clock, in milliseconds: 0 when all is well, seconds when somebody set the wall clock.
    #[must_use]
    pub fn gap_ms(&self) -> i64 {
        match &self.0.source {
            Source::Process { started, anchor_ms, slewed_ms } => {
                signed(wall_ms()) - signed(process_ms(started, *anchor_ms, slewed_ms))
            }
            Source::Manual(_) => 0,
        }
    }

    /// Moves the clock one step towards wall time, if they differ by more than a step.
    pub fn slew(&self) {
        let gap_ms = self.gap_ms();
        if let Source::Process { slewed_ms, .. } = &self.0.source
            && gap_ms.abs() > SLEW_STEP_MS
        {
            slewed_ms.fetch_add(gap_ms.signum() * SLEW_STEP_MS, Ordering::Relaxed);
        }
    }
}

/// 256 bits of chance, from the operating system: the only door to it.
///
/// # Panics
/// Where the system has none to give, which no running system does.
#[must_use]
pub fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system has chance to give");
    bytes
}

/// How busy the process is beside the thread that asks.
#[derive(Debug, Default)]
pub struct CpuMeter {
    /// When it was last looked, and what the others had used by then.
    last: Option<(Instant, Duration)>,
    percent: u64,
}

impl CpuMeter {
    /// Too short a time says nothing.
    const LOOK_AFTER: Duration = Duration::from_millis(20);

    /// The part of the machine's cores, in hundredths, that the process's other threads used since the last call. Always
    /// to be called from the same thread.
    pub fn others_percent(&mut self) -> u64 {
        let now = Instant::now();
        let used = cpu_time(ClockId::ProcessCPUTime).saturating_sub(cpu_time(ClockId::ThreadCPUTime));
        let Some((at, before)) = self.last else {
            self.last = Some((now, used));
            return self.percent;
        };
        let passed = now - at;
        if passed >= Self::LOOK_AFTER {
            let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u128);
            let percent = used.saturating_sub(before).as_micros() * 100 / (passed.as_micros() * cores);
            self.percent = u64::try_from(percent).unwrap_or(100);
            self.last = Some((now, used));
        }
        self.percent
    }
}

fn cpu_time(of: ClockId) -> Duration {
    let time = clock_gettime(of);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn process_ms(started: &Instant, anchor_ms: u64, slewed_ms: &AtomicI64) -> u64 {
    let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    anchor_ms.saturating_add(elapsed_ms).saturating_add_signed(slewed_ms.load(Ordering::Relaxed))
}

fn wall_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_starts_no_earlier_than_the_journal_ended() {
        let tomorrow = UnixMillis(wall_ms() + 86_400_000);
        let clock = Clock::start(tomorrow);
        assert!(clock.now_ms() >= tomorrow, "time in the journal never decreases");
        assert!(clock.gap_ms() < -86_000_000, "and the gap to wall time is known: {}", clock.gap_ms());
    }

    #[test]
    fn a_gap_is_closed_in_small_steps_without_going_back() {
        let clock = Clock::start(UnixMillis(wall_ms() + 500));
        let mut before = clock.now_ms();
        let gap_ms = clock.gap_ms();
        for _ in 0..400 {
            clock.slew();
            let now = clock.now_ms();
            assert!(now >= before, "the clock never goes back");
            before = now;
        }
        let closed = clock.gap_ms() - gap_ms;
        assert!((390..=410).contains(&closed), "400 steps close 400 ms of the gap, not {closed}");
    }
}
