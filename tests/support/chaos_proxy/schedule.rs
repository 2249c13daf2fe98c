//! A made-up afternoon of a bad network, the same for the same seed.

use std::{fmt, time::Duration};

use super::{ChaosProxy, Old};

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Cut,
    BlackHole,
    HalfOpenOneWay,
    Delay(Duration),
    Heal(Old),
}

/// What happens, each after a wait since the one before. A fault is followed by its end, and the end of all is healed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule {
    pub(crate) seed: u64,
    pub(crate) steps: Vec<(Duration, Fault)>,
}

impl Schedule {
    /// The schedule of this seed: so many faults, none longer than `longest`, nor further apart. Prints itself, so that a
    /// test that fails has said what to replay.
    pub(crate) fn from_seed(seed: u64, faults: usize, longest: Duration) -> Self {
        let mut random = Random(seed);
        let mut steps = Vec::new();
        for _ in 0..faults {
            let fault = match random.below(4) {
                0 => Fault::Cut,
                1 => Fault::BlackHole,
                2 => Fault::HalfOpenOneWay,
                _ => Fault::Delay(random.part_of(longest / 10)),
            };
            steps.push((random.part_of(longest), fault));
            let old = if random.below(2) == 0 { Old::Resume } else { Old::Dead };
            steps.push((random.part_of(longest), Fault::Heal(old)));
        }
        let schedule = Self { seed, steps };
        println!("{schedule}");
        schedule
    }

    /// Lets all of it happen.
    pub(crate) async fn run(&self, proxy: &ChaosProxy) {
        for (after, fault) in &self.steps {
            tokio::time::sleep(*after).await;
            proxy.apply(*fault).await;
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "schedule of seed {}:", self.seed)?;
        for (after, fault) in &self.steps {
            write!(f, " +{}ms {fault:?}", after.as_millis())?;
        }
        Ok(())
    }
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From a millisecond to all of it.
    fn part_of(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_millis()).unwrap().max(1);
        Duration::from_millis(1 + self.below(most))
    }
}
