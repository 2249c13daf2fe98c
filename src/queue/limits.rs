//! How many at once and how many in a window: rows that hold for the whole fleet.
//!
//! A queue that is limited per partition has one row per partition, and one under its plain name which no job counts under:
//! the pattern that new partitions are made from.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::policy::{Policy, Rate};
use crate::{
    db::{DbError, Tx},
    params,
};

/// What the configuration says instead of a job's policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitSetting {
    /// How many run at once; in each partition where the policy's limit is per partition.
    pub max_running: Option<u32>,
    /// `Some(None)`: no rate. `Some(Some((max, window)))`: at most `max` starts in any `window`.
    pub rate: Option<Option<(u32, std::time::Duration)>>,
}

/// Makes these queues known, and writes their limits where this process configures them. Rows that an operator has set stay as
/// they are.
pub(super) async fn apply(
    tx: &mut Tx,
    policies: &BTreeMap<&'static str, Policy>,
    settings: &BTreeMap<String, LimitSetting>,
    configures: bool,
) -> Result<(), DbError> {
    let now = tx.now().await?;
    for (queue, policy) in policies {
        let setting = settings.get(*queue).copied().unwrap_or_default();
        let max_running = setting.max_running.or(policy.limit.max);
        let rate = match setting.rate {
            None => policy.rate,
            Some(rate) => rate.map(|(max, window)| Rate { max, window }),
        };
        let (rate_max, rate_window) = columns(rate);
        // What is right already is not written: that would wait for every claim under way, in each process that starts.
        let columns = params![
            *queue,
            max_running,
            rate_max,
            rate_window,
            now,
            policy.limit.per_partition,
            policy.attempts,
            policy.priority,
            false
        ];
        tx.execute(
            "-- upsert_limit
             INSERT INTO limits (key, queue, partition, max_running, rate_max, rate_window_us, updated_at, per_partition,
                                 max_attempts, priority, pinned)
             VALUES ($1, $1, '', $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (key) DO NOTHING",
            &columns,
        )
        .await?;
        if !configures {
            continue;
        }
        tx.execute(
            "-- configure_policy
             UPDATE limits SET per_partition = $6, max_attempts = $7, priority = $8, updated_at = $5
             WHERE queue = $1 AND (per_partition <> $6 OR max_attempts <> $7 OR priority <> $8)",
            &columns[..8],
        )
        .await?;
        tx.execute(
            "-- configure_limits
             UPDATE limits SET max_running = $2, rate_max = $3, rate_window_us = $4, updated_at = $5
             WHERE queue = $1 AND pinned = $6
                AND (max_running IS DISTINCT FROM $2 OR rate_max IS DISTINCT FROM $3 OR rate_window_us IS DISTINCT FROM $4)",
            &params![*queue, max_running, rate_max, rate_window, now, false],
        )
        .await?;
    }
    Ok(())
}

/// The limit of a partition that had none yet.
pub(super) async fn ensure_partition(
    tx: &mut Tx,
    queue: &str,
    partition: &str,
    policy: &Policy,
) -> Result<(), DbError> {
    let now: DateTime<Utc> = tx.now().await?;
    let key = policy.limit_key(queue, partition);
    let known = tx
        .fetch_optional(
            "-- known_limit\nSELECT 1 AS known FROM limits WHERE key = $1",
            &params![&key],
        )
        .await?;
    if known.is_some() {
        return Ok(());
    }
    let from_pattern = tx
        .execute(
            "-- limit_from_pattern
             INSERT INTO limits (key, queue, partition, max_running, rate_max, rate_window_us, pinned, updated_at,
                                 per_partition, max_attempts, priority)
             SELECT $1, queue, $3, max_running, rate_max, rate_window_us, pinned, $4, per_partition, max_attempts, priority
             FROM limits WHERE key = $2
             ON CONFLICT (key) DO NOTHING",
            &params![&key, queue, partition, now],
        )
        .await?;
    if from_pattern == 0 {
        let (rate_max, rate_window) = columns(policy.rate);
        tx.execute(
            "-- limit_from_policy
             INSERT INTO limits (key, queue, partition, max_running, rate_max, rate_window_us, updated_at, per_partition,
                                 max_attempts, priority)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (key) DO NOTHING",
            &params![
                &key,
                queue,
                partition,
                policy.limit.max,
                rate_max,
                rate_window,
                now,
                true,
                policy.attempts,
                policy.priority
            ],
        )
        .await?;
    }
    Ok(())
}

fn columns(rate: Option<Rate>) -> (Option<u32>, Option<i64>) {
    match rate {
        None => (None, None),
        Some(rate) => (
            Some(rate.max),
            Some(i64::try_from(rate.window.as_micros()).unwrap_or(i64::MAX)),
        ),
    }
}
