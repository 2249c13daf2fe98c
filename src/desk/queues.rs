//! Queues, limits and gates.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;

use super::{Desk, Trouble, pages::whole};
use crate::{
    operate::{
        gates as known_gates,
        queues::{self, QueueLine},
    },
    queue::{
        control::{self, Opened},
        inspect::gates::{self, GateLine},
    },
};

/// What became of a gate, as the API says it.
#[derive(Deserialize)]
struct GateChanged {
    result: GateResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum GateResult {
    Open,
    Tried,
}

impl Desk {
    /// Every queue, by name.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn queues(&self) -> Result<Vec<QueueLine>, Trouble> {
        match self {
            Self::Database(here) => Ok(queues::all(&here.db).await?),
            Self::Api(api) => whole(api, &["queues"], &[]).await,
        }
    }

    /// Starts no more jobs of a queue.
    ///
    /// # Errors
    /// When there is no such queue, or nobody answers.
    pub async fn pause(&self, queue: &str, reason: &str) -> Result<(), Trouble> {
        match self {
            Self::Database(here) => {
                queues::check(&here.db, queue).await?.map_err(Trouble::Refused)?;
                let mut tx = here.db.begin().await?;
                control::pause(&mut tx, queue, &here.actor, reason).await?;
                tx.commit().await?;
            }
            Self::Api(api) => {
                let body = json!({ "reason": reason });
                api.post::<IgnoredAny>(&["queues", queue, "pause"], &body).await?;
            }
        }
        Ok(())
    }

    /// Starts jobs of a paused queue again.
    ///
    /// # Errors
    /// When there is no such queue, or nobody answers.
    pub async fn resume(&self, queue: &str) -> Result<(), Trouble> {
        match self {
            Self::Database(here) => {
                queues::check(&here.db, queue).await?.map_err(Trouble::Refused)?;
                let mut tx = here.db.begin().await?;
                control::resume(&mut tx, queue, &here.actor).await?;
                tx.commit().await?;
            }
            Self::Api(api) => {
                api.post::<IgnoredAny>(&["queues", queue, "resume"], &json!({})).await?;
            }
        }
        Ok(())
    }

    /// Sets how many jobs of a limit key run at once. Answers whether there is such a limit.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn set_limit(&self, key: &str, max_running: u32) -> Result<bool, Trouble> {
        match self {
            Self::Database(here) => {
                let mut tx = here.db.begin().await?;
                let known = control::set_limit(&mut tx, key, max_running, &here.actor).await?;
                tx.commit().await?;
                Ok(known)
            }
            Self::Api(api) => {
                let body = json!({ "max_running": max_running });
                let set = api.put::<IgnoredAny>(&["limits", key], &body).await;
                Ok(super::known(set, "unknown_limit")?.is_some())
            }
        }
    }

    /// Every gate that was ever shut.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn gates(&self) -> Result<Vec<GateLine>, Trouble> {
        match self {
            Self::Database(here) => Ok(gates::all(&here.db).await?),
            Self::Api(api) => whole(api, &["gates"], &[]).await,
        }
    }

    /// Tries an upstream that is down now; opens a gate that was closed by hand.
    ///
    /// # Errors
    /// When nobody answers, or the API knows no such gate.
    pub async fn open_gate(&self, key: &str) -> Result<Opened, Trouble> {
        match self {
            Self::Database(here) => {
                let mut tx = here.db.begin().await?;
                let opened = control::open_gate(&mut tx, key, &here.actor).await?;
                tx.commit().await?;
                Ok(opened)
            }
            Self::Api(api) => {
                let changed = api.post(&["gates", key, "open"], &json!({})).await;
                let changed: Option<GateChanged> = super::known(changed, "gate_not_shut")?;
                Ok(match changed.map(|changed| changed.result) {
                    Some(GateResult::Open) => Opened::Open,
                    Some(GateResult::Tried) => Opened::Tried,
                    None => Opened::NotShut,
                })
            }
        }
    }

    /// Holds all jobs that need an upstream.
    ///
    /// # Errors
    /// When no job goes through such a gate, or nobody answers.
    pub async fn close_gate(&self, key: &str, reason: &str) -> Result<(), Trouble> {
        match self {
            Self::Database(here) => {
                let known = known_gates::check(&here.db, &here.config, key).await?;
                known.map_err(Trouble::Refused)?;
                let mut tx = here.db.begin().await?;
                control::close_gate(&mut tx, key, &here.actor, reason).await?;
                tx.commit().await?;
            }
            Self::Api(api) => {
                let body = json!({ "reason": reason });
                api.post::<IgnoredAny>(&["gates", key, "close"], &body).await?;
            }
        }
        Ok(())
    }
}
