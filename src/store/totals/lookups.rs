//! How long systems of record took to answer, added up with the evidence.

use std::collections::BTreeMap;

use crate::{
    db::{Db, DbError, Tx},
    domain::lookup::Evidence,
    params,
};

/// Bounds of the classes, in milliseconds. Stored with the totals: the migration knows them, too.
const BOUNDS: [u64; 9] = [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000];

/// Latencies of a system of record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latency {
    /// The system.
    pub system: String,
    /// How many lookups took at most so many milliseconds: an upper bound, and all up to it. The shortest bound first.
    pub within: Vec<(u64, u64)>,
    /// All lookups.
    pub lookups: u64,
    /// How long they took, all together, in milliseconds.
    pub sum_ms: u64,
}

/// The class of a latency; 0: longer than the longest.
fn class_of(latency_ms: u64) -> u64 {
    BOUNDS.into_iter().find(|bound| latency_ms <= *bound).unwrap_or(0)
}

/// Adds the latencies of evidence, in the transaction that writes it.
pub(in crate::store) async fn add(tx: &mut Tx, evidence: &[Evidence]) -> Result<(), DbError> {
    // In an order: two transactions never wait for each other in a circle.
    let mut classes: BTreeMap<(&str, u64), (u64, u64)> = BTreeMap::new();
    for item in evidence {
        let class = classes
            .entry((&item.lookup.system, class_of(item.latency_ms)))
            .or_default();
        class.0 += 1;
        class.1 = class.1.saturating_add(item.latency_ms);
    }
    for ((system, up_to_ms), (lookups, latency_ms)) in classes {
        tx.execute(
            "-- add_lookups
             INSERT INTO lookup_totals (system, up_to_ms, lookups, latency_ms) VALUES ($1, $2, $3, $4)
             ON CONFLICT (system, up_to_ms) DO UPDATE SET
                lookups = lookup_totals.lookups + excluded.lookups, latency_ms = lookup_totals.latency_ms + excluded.latency_ms",
            &params![system, up_to_ms, lookups, latency_ms],
        )
        .await?;
    }
    Ok(())
}

/// The latencies of each system, ever.
///
/// # Errors
/// When the database cannot answer.
pub async fn latencies(db: &Db) -> Result<Vec<Latency>, DbError> {
    let rows = db
        .fetch_all(
            "-- lookups_in_total\nSELECT system, up_to_ms, lookups, latency_ms FROM lookup_totals",
            &[],
        )
        .await?;
    let mut systems: BTreeMap<String, BTreeMap<u64, u64>> = BTreeMap::new();
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for row in rows {
        let system: String = row.get("system")?;
        *sums.entry(system.clone()).or_default() += row.get::<u64>("latency_ms")?;
        systems
            .entry(system)
            .or_default()
            .insert(row.get("up_to_ms")?, row.get("lookups")?);
    }
    Ok(systems
        .into_iter()
        .map(|(system, classes)| {
            let mut so_far = 0;
            let within = BOUNDS.map(|bound| {
                so_far += classes.get(&bound).copied().unwrap_or_default();
                (bound, so_far)
            });
            Latency {
                within: within.to_vec(),
                lookups: classes.values().sum(),
                sum_ms: sums.get(&system).copied().unwrap_or_default(),
                system,
            }
        })
        .collect())
}
