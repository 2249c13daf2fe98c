//! What a reader has to know of a playbook: names and descriptions, nothing of how it is verified.

/// The playbook, as far as a reader needs it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReaderBrief {
    /// What a session can be about.
    pub intents: Vec<IntentBrief>,
    /// What can be asked for.
    pub records: Vec<RecordBrief>,
    /// Anything else the playbook tells a reader; names of `details` to give, too.
    pub hints: String,
}

/// One intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntentBrief {
    /// Its name.
    pub name: String,
    /// When it applies.
    pub description: String,
}

/// One kind of record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordBrief {
    /// Its kind.
    pub kind: String,
    /// What it is.
    pub description: String,
    /// Its fields that matter.
    pub fields: Vec<FieldBrief>,
}

/// One field of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldBrief {
    /// Its name.
    pub name: String,
    /// What it holds, in which form.
    pub description: String,
}
