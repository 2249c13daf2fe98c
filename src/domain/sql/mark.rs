//! What databases read in different ways, where it stands outside of quotes and comments.

use super::Dialect;

/// Something in a statement that one database reads as we do, and another does not. The first that does not fit is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// `[` with more than a plain name up to the next `]`: SQLite reads a name, whatever it holds.
    Bracket,
    /// `?`: an operator of jsonb, or a placeholder.
    Question,
    /// `@`: in many operators of PostgreSQL, before a variable of MySQL, a placeholder of SQLite.
    At,
    /// `$` before a name.
    Dollar,
    /// `$$text$$`: letters of names to MySQL, a placeholder to SQLite.
    DollarQuote,
    /// `#`: an operator, a comment to MySQL, a placeholder of SQLite.
    Hash,
    /// `:1`: a part of an array or a time, and a placeholder of SQLite.
    ColonNumber,
    /// `E'text'`: to others a name, and a text in which a backslash means something else.
    EscapeString,
    /// `` `name` ``: an operator of PostgreSQL.
    Backtick,
}

impl Mark {
    /// Why a database of this dialect is not sent it, and what to write instead.
    pub(super) fn refused_by(self, dialect: Dialect) -> Option<String> {
        let name = dialect.name();
        let placeholder = |sign: &str| format!("`{sign}` is a placeholder of {name}: write parameters as `:name`");
        let reason = match (self, dialect) {
            (Self::Question, Dialect::MySql | Dialect::Sqlite) => placeholder("?"),
            (Self::At, Dialect::Sqlite) => placeholder("@"),
            (Self::Dollar, Dialect::Sqlite) => placeholder("$"),
            (Self::Hash, Dialect::Sqlite) => placeholder("#"),
            (Self::ColonNumber, Dialect::Sqlite) => {
                "`:` and a number is a placeholder of SQLite: write a text in quotes, and parameters as `:name`"
                    .to_owned()
            }
            (Self::Hash, Dialect::MySql) => {
                "`#` begins a comment in MySQL, and in no other database: write comments as `-- `".to_owned()
            }
            (Self::DollarQuote, Dialect::MySql | Dialect::Sqlite) => {
                format!("`$` quotes a text in PostgreSQL, and not in {name}: write '…'")
            }
            (Self::EscapeString, Dialect::MySql | Dialect::Sqlite) => {
                format!("E'…' is a text of PostgreSQL, and not of {name}: write '…'")
            }
            (Self::Bracket, Dialect::Sqlite) => {
                "`[` quotes a name in SQLite, up to the next `]`: write the name as \"…\"".to_owned()
            }
            (Self::Backtick, Dialect::Postgres) => "` quotes no name in PostgreSQL: write the name as \"…\"".to_owned(),
            _ => return None,
        };
        Some(reason)
    }
}
