//! Who answers.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::db::{Db, DbError};

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Who answers, and what time it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct About {
    /// The version of aftercall.
    pub version: String,
    /// The database's clock: what ages and times to come are counted by.
    pub now: DateTime<Utc>,
}

/// This process, by the database's clock.
///
/// # Errors
/// When the database cannot answer.
pub async fn about(db: &Db) -> Result<About, DbError> {
    Ok(About {
        version: VERSION.to_owned(),
        now: db.now().await?,
    })
}
