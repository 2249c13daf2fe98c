//! What is wanted of the figures. They are printed, not asserted: a machine that others use as well misses some now and then.

use serde::Serialize;

use super::{Database, Peer, Report, What};

/// One of them.
#[derive(Debug, Clone, Serialize)]
pub struct Goal {
    /// What is compared.
    pub what: String,
    /// What it was; `None`: not measured.
    pub figure: Option<f64>,
    /// What it should be at least, or at most.
    pub goal: f64,
    /// Which of these.
    pub at_least: bool,
    /// For people.
    #[serde(skip)]
    unit: &'static str,
    /// Where another queue is ahead: what it does for that.
    pub ahead: Option<String>,
}

impl Goal {
    fn at_least(what: impl Into<String>, figure: Option<f64>, goal: f64, unit: &'static str) -> Self {
        Self {
            what: what.into(),
            figure,
            goal,
            at_least: true,
            unit,
            ahead: None,
        }
    }

    fn at_most(what: impl Into<String>, figure: Option<f64>, goal: f64, unit: &'static str) -> Self {
        Self {
            at_least: false,
            ..Self::at_least(what, figure, goal, unit)
        }
    }

    /// Whether it is met; `None`: not measured.
    pub fn is_met(&self) -> Option<bool> {
        let figure = self.figure?;
        Some(if self.at_least {
            figure >= self.goal
        } else {
            figure <= self.goal
        })
    }

    pub(super) fn line(&self) -> String {
        let sign = if self.at_least { '≥' } else { '≤' };
        let shown = |value: f64| match self.unit {
            "%" => format!("{:.0} %", value * 100.0),
            "×" => format!("{value:.2}×"),
            unit => format!("{value:.1}{}{unit}", if unit.is_empty() { "" } else { " " }),
        };
        let figure = self.figure.map_or("not measured".to_owned(), shown);
        let mark = match self.is_met() {
            Some(true) => ": met",
            Some(false) => ": MISSED",
            None => "",
        };
        let ahead = self.ahead.as_ref().map(|who| format!("; ahead: {who}"));
        format!(
            "{:<63}{figure:>13}   goal {sign} {}{mark}{}",
            self.what,
            shown(self.goal),
            ahead.unwrap_or_default()
        )
    }
}

pub(super) fn of(report: &Report) -> Vec<Goal> {
    let mut goals = Vec::new();
    for database in [Database::Postgres, Database::Sqlite] {
        goals.extend(by_hand(report, database));
    }
    goals.extend(pick_up(report));
    goals.extend(conditions(report));
    for database in [Database::Postgres, Database::Sqlite] {
        goals.extend(against_peers(report, database));
    }
    goals
}

fn by_hand(report: &Report, database: Database) -> Vec<Goal> {
    let ratio = |what, limit| Some(report.per_second(database, what)? / report.per_second(database, limit)?);
    let name = database.name();
    vec![
        Goal::at_least(
            format!("{name}: one commit per job, of by hand"),
            ratio(What::Alone, What::ByHand),
            0.6,
            "%",
        ),
        Goal::at_least(
            format!("{name}: ends together, of by hand"),
            ratio(What::Together, What::ByHandTogether),
            0.4,
            "%",
        ),
        Goal::at_most(
            format!("{name}: a limit that does not bind, one commit per job"),
            ratio(What::Alone, What::AloneLimited),
            1.1,
            "×",
        ),
        Goal::at_most(
            format!("{name}: a limit that does not bind, ends together"),
            ratio(What::Together, What::TogetherLimited),
            1.1,
            "×",
        ),
    ]
}

fn pick_up(report: &Report) -> Vec<Goal> {
    // A file tells nobody that it changed: another process looks every 100 ms.
    let wanted = |database, across: bool| database == Database::Postgres || !across;
    let mut goals = Vec::new();
    for line in report.pickup.iter().filter(|line| wanted(line.database, line.across)) {
        let from = if line.across {
            "another process"
        } else {
            "the same process"
        };
        let what = format!("{}: pick-up, pushed by {from}", line.database.name());
        goals.push(Goal::at_most(format!("{what}, p50"), Some(line.wait_ms.p50), 5.0, "ms"));
        goals.push(Goal::at_most(
            format!("{what}, p99"),
            Some(line.wait_ms.p99),
            25.0,
            "ms",
        ));
    }
    goals
}

fn conditions(report: &Report) -> Vec<Goal> {
    let mut goals = Vec::new();
    for idle in &report.idle {
        let what = format!("{}: statements/s of an idle process", idle.database.name());
        goals.push(Goal::at_most(what, Some(idle.statements_per_second), 2.0, ""));
    }
    if let [few, many] = &report.bounded[..] {
        let what = format!(
            "PostgreSQL: a claim beside {} rows, of one beside {}",
            many.rows * 2,
            few.rows * 2
        );
        let times = |of: fn(&super::Bounded) -> f64| Some(of(many) / of(few));
        goals.push(Goal::at_most(
            format!("{what}, p50"),
            times(|of| of.cycle_ms.p50),
            2.0,
            "×",
        ));
        goals.push(Goal::at_most(
            format!("{what}, p95"),
            times(|of| of.cycle_ms.p95),
            2.0,
            "×",
        ));
        let read = many.rows_read.zip(few.rows_read).map(|(many, few)| many / few);
        goals.push(Goal::at_most(format!("{what}, rows read"), read, 2.0, "×"));
    }
    if let Some(pinned) = &report.pinned {
        let what = format!("PostgreSQL: a transaction open for {:.0} s", pinned.seconds);
        let times = pinned.pinned_ms.p99 / pinned.before_ms.p99;
        goals.push(Goal::at_most(format!("{what}, p99 of before"), Some(times), 3.0, "×"));
        let named = f64::from(u8::from(pinned.named));
        goals.push(Goal::at_least(
            format!("{what}: its session is named"),
            Some(named),
            1.0,
            "",
        ));
    }
    goals
}

fn against_peers(report: &Report, database: Database) -> Vec<Goal> {
    let name = database.name();
    let apalis = match database {
        Database::Postgres => "apalis-postgres",
        Database::Sqlite => "apalis-sqlite",
    };
    let here: Vec<&Peer> = report
        .peers
        .measured
        .iter()
        .filter(|peer| peer.is_on_file() == (database == Database::Sqlite))
        .collect();
    let fastest = |of: &dyn Fn(&Peer) -> bool| {
        let of = here
            .iter()
            .filter(|peer| of(peer))
            .filter_map(|peer| peer.jobs_per_second);
        of.max_by(f64::total_cmp)
    };
    let ratio = |what, than: Option<f64>| Some(report.per_second(database, what)? / than?);
    // Whoever is ahead of us is named, whether or not the goal is met.
    let ahead = |what, one_by_one: bool| {
        let ours = report.per_second(database, what)?;
        let first = here
            .iter()
            .filter(|peer| peer.is_one_by_one() == one_by_one && peer.jobs_per_second > Some(ours))
            .max_by(|one, other| {
                one.jobs_per_second
                    .partial_cmp(&other.jobs_per_second)
                    .unwrap_or(std::cmp::Ordering::Equal)
            })?;
        Some(format!("{} ({}): {}", first.peer, first.settings, first.guarantees))
    };
    let alone = ratio(
        What::Alone,
        fastest(&|peer| peer.peer == apalis && peer.is_one_by_one()),
    );
    let together = ratio(What::Together, fastest(&|peer| peer.peer == apalis));
    let mut goals = vec![
        Goal {
            ahead: ahead(What::Alone, true),
            ..Goal::at_least(
                format!("{name}: one commit per job, of {apalis} at batch 1"),
                alone,
                4.0,
                "×",
            )
        },
        Goal {
            ahead: ahead(What::Together, false),
            ..Goal::at_least(
                format!("{name}: ends together, of {apalis} at its best"),
                together,
                0.8,
                "×",
            )
        },
    ];
    for line in report.pickup.iter().filter(|line| line.database == database) {
        // On a file the hook hears one process, and a poll hears all: each is compared with its like.
        let like = |peer: &&&Peer| database == Database::Postgres || peer.settings.contains("hook") != line.across;
        let theirs = here
            .iter()
            .filter(like)
            .filter_map(|peer| Some((peer.latency_ms?.p50, peer)))
            .min_by(|one, other| one.0.total_cmp(&other.0));
        // Pushed by another process, as theirs are.
        if database == Database::Postgres && !line.across {
            continue;
        }
        let from = if line.across {
            "another process"
        } else {
            "the same process"
        };
        let what = format!("{name}: pick-up p50, pushed by {from}, of the best other queue");
        goals.push(Goal {
            ahead: theirs
                .filter(|(p50, _)| *p50 < line.wait_ms.p50)
                .map(|(p50, peer)| format!("{} ({}), p50 {p50:.1} ms", peer.peer, peer.settings)),
            ..Goal::at_most(what, theirs.map(|(p50, _)| line.wait_ms.p50 / p50), 1.0, "×")
        });
    }
    goals
}
