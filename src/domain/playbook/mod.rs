//! A playbook teaches aftercall a domain without code: which tools there are, what their calls claim, where the records
//! are kept, how they are compared, what callers want and whom to ask when it went wrong.
//!
//! The grammar is TOML with CEL conditions, `JSONPath` and templates; `docs/playbooks.md` is its reference. Everything is
//! compiled and checked once, in [`Playbook::parse`], which reports every fault it finds.

mod expression;
mod fault;
mod parse;
pub mod presets;
mod reader;
mod references;
mod sections;
mod template;

use std::collections::{BTreeMap, BTreeSet};

pub use expression::{Expression, Path, Source};
pub(crate) use expression::{as_id, is_blank};
pub use fault::PlaybookFault;
pub(crate) use fault::suggestion;
pub use sections::{
    CLAIM_VARIABLES, CallsFor, ClaimEffect, ClaimRule, EXPERT_VARIABLES, EffectRule, Expert, Field, Head, Intent,
    KeySource, Phrases, Record, RollUp, Search, Step, Tool, ToolAction,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use toml::de::DeTable;

use self::reader::{Faults, Table};
use super::{
    compare::Context,
    lookup::{HttpLookup, RecordLookup, SqlLookup},
    verdict::PlaybookRef,
};

/// A domain, taught.
#[derive(Debug, Clone)]
pub struct Playbook {
    /// `[playbook]`, `[reader]` and `[nicknames]`.
    pub head: Head,
    /// `[phrases]`.
    pub phrases: Phrases,
    /// `[[tool]]`.
    pub tools: Vec<Tool>,
    /// `[[intent]]`.
    pub intents: Vec<Intent>,
    /// `[[claim]]`, in order: each rule that fits a call makes claims.
    pub claims: Vec<ClaimRule>,
    /// `[[record]]`.
    pub records: Vec<Record>,
    /// `[[search]]`.
    pub searches: Vec<Search>,
    /// `[[effect]]`.
    pub effects: Vec<EffectRule>,
    /// `[[expert]]`, in the order asked.
    pub experts: Vec<Expert>,
    hash: String,
}

impl Playbook {
    /// The playbooks that ship with aftercall: name and text.
    pub const BUILT_IN: [(&'static str, &'static str); 2] = [
        ("orthodontics", include_str!("../../../playbooks/orthodontics.toml")),
        ("airline", include_str!("../../../playbooks/airline.toml")),
    ];

    /// One of the playbooks that ship with aftercall.
    pub fn built_in(name: &str) -> Option<Self> {
        let (name, text) = Self::BUILT_IN.iter().find(|(known, _)| *known == name)?;
        // A test parses all of them, so this is `None` for an unknown name only.
        Self::parse(&format!("playbooks/{name}.toml"), text).ok()
    }

    /// What comparisons have to know of the domain.
    pub(crate) fn context(&self) -> Context<'_> {
        Context::new(&self.head.nicknames)
    }

    /// Reads a playbook.
    ///
    /// # Errors
    /// Every fault found, in the order of the file.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Vec<PlaybookFault>> {
        let faults = Faults::new(file_name, text);
        let (mut document, syntax) = DeTable::parse_recoverable(text);
        for error in &syntax {
            let at = error.span().unwrap_or(0..0);
            faults.add(&at, "TOML", error.message().trim().replace('\n', " "));
        }
        if document.get_ref().is_empty() && !syntax.is_empty() {
            return Err(faults.into_sorted()); // nothing in it is TOML: that a section is missing as well says nothing
        }
        let presets = presets::expand(&mut document, &faults);
        let mut hash = Sha256::new_with_prefix(text.as_bytes());
        for preset in presets.into_iter().filter_map(presets::text_of) {
            hash.update(preset.as_bytes());
        }
        let hash = super::hex::hex(&hash.finalize());
        let playbook = read(&document, hash, &faults);
        if syntax.is_empty() {
            references::check(&playbook, &document, &faults);
        }
        let found = faults.into_sorted();
        if found.is_empty() { Ok(playbook) } else { Err(found) }
    }

    /// What a verdict records of its playbook.
    pub fn reference(&self) -> PlaybookRef {
        PlaybookRef {
            name: self.head.name.clone(),
            version: self.head.version,
            hash: self.hash.clone(),
        }
    }

    /// A tool by our name of it.
    pub fn tool(&self, name: &str) -> Option<&Tool> {
        self.tools.iter().find(|tool| tool.name == name)
    }

    /// The tool whose calls bear this name.
    pub fn tool_of(&self, observation_name: &str) -> Option<&Tool> {
        self.tools
            .iter()
            .find(|tool| tool.matches.iter().any(|glob| glob.matches(observation_name)))
    }

    /// An intent by its name.
    pub fn intent(&self, name: &str) -> Option<&Intent> {
        self.intents.iter().find(|intent| intent.name == name)
    }

    /// A kind of record by its name.
    pub fn record(&self, kind: &str) -> Option<&Record> {
        self.records.iter().find(|record| record.kind == kind)
    }

    /// A claim rule by its id.
    pub fn claim_rule(&self, id: &str) -> Option<&ClaimRule> {
        self.claims.iter().find(|rule| rule.id == id)
    }

    /// How the records and searches of one system are asked for, by the `record` of their lookups.
    pub fn lookups(&self, system: &str) -> impl Iterator<Item = (&str, Option<&RecordLookup>)> {
        let records = self
            .records
            .iter()
            .filter(move |record| record.system == system)
            .map(|record| (record.kind.as_str(), record.lookup.as_ref()));
        let searches = self
            .searches
            .iter()
            .filter(move |search| search.system == system)
            .map(|search| (search.name.as_str(), search.lookup.as_ref()));
        records.chain(searches)
    }

    /// Those that are asked for over HTTP.
    pub fn http_lookups(&self, system: &str) -> BTreeMap<String, HttpLookup> {
        self.lookups(system)
            .filter_map(|(name, lookup)| match lookup {
                Some(RecordLookup::Http(lookup)) => Some((name.to_owned(), lookup.clone())),
                Some(RecordLookup::Sql(_)) | None => None,
            })
            .collect()
    }

    /// Those that are asked for in a database.
    pub fn sql_lookups(&self, system: &str) -> BTreeMap<String, SqlLookup> {
        self.lookups(system)
            .filter_map(|(name, lookup)| match lookup {
                Some(RecordLookup::Sql(lookup)) => Some((name.to_owned(), lookup.clone())),
                Some(RecordLookup::Http(_)) | None => None,
            })
            .collect()
    }

    /// Names of the systems of record that it speaks of.
    pub fn systems(&self) -> BTreeSet<String> {
        let records = self.records.iter().map(|record| record.system.clone());
        records
            .chain(self.searches.iter().map(|search| search.system.clone()))
            .collect()
    }

    /// The experts to ask, in order, for a case described by [`EXPERT_VARIABLES`] (`chosen` is filled in here).
    pub fn experts_for(&self, case: &Value) -> Vec<&Expert> {
        let mut variables = case.clone();
        let mut chosen: Vec<&Expert> = Vec::new();
        for expert in &self.experts {
            if let Value::Object(members) = &mut variables {
                let ids = chosen.iter().map(|expert| Value::from(expert.id.as_str())).collect();
                members.insert("chosen".into(), Value::Array(ids));
            }
            if expert.when.holds(&variables) {
                chosen.push(expert);
            }
        }
        chosen
    }
}

fn read<'a>(document: &'a toml::Spanned<DeTable<'a>>, hash: String, faults: &'a Faults<'a>) -> Playbook {
    let root = Table::new(document.get_ref(), document.span(), "", faults);
    let head = parse::head(&root);
    let phrases = parse::phrases(&root);
    let mut taken = BTreeSet::new();
    let tools = root
        .tables("tool")
        .iter()
        .map(|table| parse::tool(table, &mut taken))
        .collect();
    taken.clear();
    let intents = root
        .tables("intent")
        .iter()
        .map(|table| parse::intent(table, &mut taken))
        .collect();
    taken.clear();
    let claims = root
        .tables("claim")
        .iter()
        .filter_map(|table| parse::claim(table, &mut taken))
        .collect();
    taken.clear();
    // Searches share the records' names: both are what a lookup calls its `record`.
    let records = root
        .tables("record")
        .iter()
        .map(|table| parse::record(table, &mut taken, &head))
        .collect();
    let searches = root
        .tables("search")
        .iter()
        .map(|table| parse::search(table, &mut taken))
        .collect();
    taken.clear();
    let effects = root
        .tables("effect")
        .iter()
        .map(|table| parse::effect(table, &mut taken))
        .collect();
    taken.clear();
    let experts = root
        .tables("expert")
        .iter()
        .filter_map(|table| parse::expert(table, &mut taken))
        .collect();
    root.finish();
    Playbook {
        head,
        phrases,
        tools,
        intents,
        claims,
        records,
        searches,
        effects,
        experts,
        hash,
    }
}

#[cfg(test)]
mod tests;
