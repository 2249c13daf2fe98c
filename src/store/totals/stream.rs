//! One kind of row that is added up: what is kept of it, what came since, and how the one becomes the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{OTHER, VALUES_MOST};
use crate::{
    db::{Db, DbError, Row, Sql, Value},
    params,
};

/// Readings that may fall between two statements of a fold before one is given up.
const AGAIN_MOST: u32 = 5;

/// Figures by labels.
pub(super) type Totals<const L: usize, const F: usize> = BTreeMap<[String; L], [u64; F]>;

/// How a kind of row is added up: `L` labels and `F` figures.
pub(super) struct Stream<const L: usize, const F: usize> {
    pub(super) name: &'static str,
    /// Rows that are older do not become more.
    pub(super) settled: Duration,
    /// A row that is still open is not added up, and nothing after it.
    pub(super) counts_open: bool,
    /// Labels whose values are counted together beyond the bound.
    pub(super) bounded: [bool; L],
    /// What is kept and what came after `$1`, which is `until_at` unless somebody folded in the meantime. One statement: both are
    /// of one moment.
    pub(super) total: Sql,
    /// What came after `$1` and until `$2`.
    pub(super) between: Sql,
    /// Adds figures to a row of what is kept: labels, then figures.
    pub(super) add: &'static str,
}

const LABELS: [&str; 4] = ["label_1", "label_2", "label_3", "label_4"];
const FIGURES: [&str; 4] = ["figure_1", "figure_2", "figure_3", "figure_4"];

impl<const L: usize, const F: usize> Stream<L, F> {
    /// Everything ever.
    pub(super) async fn total(&self, db: &Db) -> Result<Totals<L, F>, DbError> {
        for _ in 0..AGAIN_MOST {
            let until = self.until(db).await?;
            let rows = db.fetch_all(self.total, &params![until]).await?;
            if rows
                .iter()
                .any(|row| row.get::<DateTime<Utc>>("until_at").ok() != Some(until))
            {
                continue;
            }
            let mut kept = Vec::new();
            let mut since = Vec::new();
            for row in &rows {
                match row.get::<Option<u32>>("since")? {
                    None => {}
                    Some(0) => kept.push(read(row)?),
                    Some(_) => since.push(read(row)?),
                }
            }
            let mut known = Known::of(kept.iter().map(|(labels, _)| labels));
            let mut totals = Totals::new();
            for line in kept {
                add(&mut totals, line);
            }
            for (labels, figures) in since {
                add(&mut totals, (known.bounded(labels, self.bounded), figures));
            }
            return Ok(totals);
        }
        Err(DbError::other(format!(
            "the totals of {} change with every look at them",
            self.name
        )))
    }

    /// Adds up what is settled. Whoever does it at the same time does it once: the other finds the mark moved.
    pub(super) async fn fold(&self, db: &Db) -> Result<(), DbError> {
        let from = self.until(db).await?;
        let now = db.now().await?;
        let mut to = now - TimeDelta::from_std(self.settled).unwrap_or(TimeDelta::MAX);
        if self.counts_open
            && let Some(open) = oldest_open_call(db).await?
        {
            to = to.min(open - TimeDelta::microseconds(1));
        }
        if to <= from {
            return Ok(());
        }
        // Outside of the transaction: these rows do not change any more, and nobody waits while they are counted.
        let rows = db.fetch_all(self.between, &params![from, to]).await?;
        let kept = db.fetch_all(self.total, &params![now]).await?;
        let kept = kept
            .iter()
            .filter(|row| row.get::<Option<u32>>("since").ok() == Some(Some(0)));
        let kept: Vec<[String; L]> = kept
            .map(|row| Ok(read::<L, F>(row)?.0))
            .collect::<Result<_, DbError>>()?;
        let mut known = Known::of(kept.iter());
        let mut more = Totals::<L, F>::new();
        for row in &rows {
            let (labels, figures) = read(row)?;
            add(&mut more, (known.bounded(labels, self.bounded), figures));
        }
        let mut tx = db.begin().await?;
        let moved = tx
            .execute(
                "-- move_totals_until\nUPDATE totals_until SET until_at = $3 WHERE stream = $1 AND until_at = $2",
                &params![self.name, from, to],
            )
            .await?;
        if moved == 0 {
            return Ok(());
        }
        for (labels, figures) in more {
            let labels = labels.into_iter().map(Value::from);
            let params: Vec<Value> = labels.chain(figures.into_iter().map(Value::from)).collect();
            tx.execute(self.add, &params).await?;
        }
        tx.commit().await
    }

    /// Until when it is added up.
    async fn until(&self, db: &Db) -> Result<DateTime<Utc>, DbError> {
        db.fetch_optional(
            "-- totals_until\nSELECT until_at FROM totals_until WHERE stream = $1",
            &params![self.name],
        )
        .await?
        .ok_or_else(|| DbError::other(format!("totals_until has no row for {}", self.name)))?
        .get("until_at")
    }
}

/// When the oldest paid call began that is still under way.
async fn oldest_open_call(db: &Db) -> Result<Option<DateTime<Utc>>, DbError> {
    let row = db
        .fetch_optional(
            "-- oldest_open_llm_call\nSELECT min(started_at) AS since FROM llm_calls WHERE state = 'started'",
            &[],
        )
        .await?;
    row.map_or(Ok(None), |row| row.get("since"))
}

fn read<const L: usize, const F: usize>(row: &Row) -> Result<([String; L], [u64; F]), DbError> {
    let mut labels = std::array::from_fn(|_| String::new());
    for (label, column) in labels.iter_mut().zip(LABELS) {
        *label = row.get(column)?;
    }
    let mut figures = [0; F];
    for (figure, column) in figures.iter_mut().zip(FIGURES) {
        *figure = row.get(column)?;
    }
    Ok((labels, figures))
}

fn add<const L: usize, const F: usize>(totals: &mut Totals<L, F>, (labels, figures): ([String; L], [u64; F])) {
    let sums = totals.entry(labels).or_insert([0; F]);
    for (sum, figure) in sums.iter_mut().zip(figures) {
        *sum = sum.saturating_add(figure);
    }
}

/// The values of each label that are told apart. First come: one that is told apart once stays so, or its total would fall.
pub(super) struct Known<const L: usize>([BTreeSet<String>; L]);

impl<const L: usize> Known<L> {
    pub(super) fn of<'a>(labels: impl Iterator<Item = &'a [String; L]>) -> Self {
        let mut known = std::array::from_fn(|_| BTreeSet::new());
        for labels in labels {
            for (values, value) in known.iter_mut().zip(labels) {
                values.insert(value.clone());
            }
        }
        Self(known)
    }

    pub(super) fn bounded(&mut self, mut labels: [String; L], bounded: [bool; L]) -> [String; L] {
        for ((value, known), is_bounded) in labels.iter_mut().zip(&mut self.0).zip(bounded) {
            if !is_bounded || known.contains(value) {
                continue;
            }
            if known.len() < VALUES_MOST {
                known.insert(value.clone());
            } else {
                OTHER.clone_into(value);
            }
        }
        labels
    }
}
