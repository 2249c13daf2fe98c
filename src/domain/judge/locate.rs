//! Finds what a check looks for in the facts, or says what to ask next: a record by its id, an element of a list by its id
//! or by the fields that tell it from others, a subject's record by a search.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Case, carried::same_id, checks::Check};
use crate::domain::{
    claim::{Claim, ClaimState},
    compare::{Match, compare, same_name},
    lookup::{Fact, Facts, Lookup, MOST_ELEMENTS, RecordLookup},
    playbook::{KeySource, Path, Playbook, Record, Search, is_blank},
};

/// What is known of what a check looks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    /// It is there.
    Found(Value),
    /// The system says that it is not there.
    Absent(String),
    /// The system could not say.
    Unknown(String),
    /// There is nothing to ask: no id and no other way to it.
    Nowhere(String),
    /// The answers so far lead to further questions.
    Ask,
}

/// A place and the lookups that lead to it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Located {
    pub(super) place: Place,
    /// Lookups to ask.
    pub(super) ask: Vec<Lookup>,
    /// Lookups whose answers were used.
    pub(super) used: Vec<Lookup>,
}

/// Looks for one record.
pub(super) struct Locator<'a> {
    pub(super) playbook: &'a Playbook,
    pub(super) case: &'a Case,
    pub(super) facts: &'a Facts,
    /// Kind and id, in lower case, of every record that a call named.
    known: BTreeSet<(&'a str, String)>,
}

impl<'a> Locator<'a> {
    pub(super) fn new(playbook: &'a Playbook, case: &'a Case, facts: &'a Facts) -> Self {
        let known = case
            .claims
            .iter()
            .filter_map(|claim| Some((claim.record.as_str(), claim.id.as_ref()?.trim().to_lowercase())))
            .collect();
        Self {
            playbook,
            case,
            facts,
            known,
        }
    }

    /// Where the check's record is, by `id` (which may be another than the check's own).
    pub(super) fn find(&self, check: &Check<'_>, id: Option<&str>) -> Located {
        let record = check.record;
        let mut located = Located {
            place: Place::Ask,
            ask: Vec::new(),
            used: Vec::new(),
        };
        if record.needs_id && id.is_none() {
            located.place = Place::Nowhere(format!(
                "no call gave an id of the {}, so there is nothing to look up",
                record.kind
            ));
            return located;
        }
        let mut keys = BTreeMap::new();
        for name in &record.needs {
            match self.key(check, name, &mut located) {
                Ok(value) => {
                    keys.insert(name.clone(), value);
                }
                Err(place) => {
                    located.place = place;
                    return located;
                }
            }
        }
        if record.names_session {
            keys.insert("session".into(), self.case.session.session_id.clone());
        }
        let lookup = Lookup {
            system: record.system.clone(),
            record: record.kind.clone(),
            id: if record.needs_id { id.map(str::to_owned) } else { None },
            keys,
        };
        let Some(fact) = self.facts.get(&lookup) else {
            located.ask.push(lookup);
            return located;
        };
        located.used.push(lookup);
        located.place = match fact {
            Fact::Unknown { reason } => Place::Unknown(reason.clone()),
            Fact::Absent => Place::Absent(format!("the system has no such {}", record.kind)),
            Fact::Found { record: answer } => self.in_answer(check, id, answer),
        };
        located
    }

    fn in_answer(&self, check: &Check<'_>, id: Option<&str>, answer: &Value) -> Place {
        let record = check.record;
        if record.each.is_empty() {
            // Databases find 12 for "1.2e1", and some of them "Zoë" for "zoe".
            let other = record
                .id
                .get_id(answer)
                .zip(id)
                .filter(|(found, id)| !same_id(found, id));
            if matches!(record.lookup, Some(RecordLookup::Sql(_))) && other.is_some() {
                return Place::Unknown(format!("the system answered with a {} of another id", record.kind));
            }
            return self.unless_absent(record, answer);
        }
        let elements = elements(&record.each, answer);
        if let Some(id) = id {
            let found = elements
                .iter()
                .find(|element| record.id.get_id(element).is_some_and(|other| same_id(&other, id)));
            return match found {
                Some(element) => self.unless_absent(record, element),
                None => Place::Absent(format!("it is not among the {} that the system lists", elements.len())),
            };
        }
        let identifying = record.fields.iter().filter(|field| field.identifies);
        let telling: Vec<_> = identifying
            .filter_map(|field| Some((field, check.expected.get(&field.name).filter(|value| !is_blank(value))?)))
            .collect();
        let context = self.playbook.context().said_at(check.said_at);
        let found = elements.iter().find(|element| {
            if record.is_absent(element) || record.is_cancelled(element) || self.is_known(record, element) {
                return false;
            }
            let matches: Vec<Match> = telling
                .iter()
                .map(|(field, wanted)| {
                    let actual = super::outcome::actual(field, element);
                    compare(&field.compare, context, wanted, &actual).outcome
                })
                .collect();
            // Any record will do only where a tool promised one without saying which: a record that nothing ties to the
            // request must not confirm it.
            let tied = matches.contains(&Match::Same) || matches.is_empty() && check.is_promised();
            tied && !matches.contains(&Match::Different)
        });
        match found {
            Some(element) => Place::Found((*element).clone()),
            None => Place::Absent(format!("none of the {} that the system lists is it", elements.len())),
        }
    }

    /// It was there before, or belongs to another call: it cannot be what an unnamed request brought about.
    fn is_known(&self, record: &Record, element: &Value) -> bool {
        let Some(id) = record.id.get_id(element) else {
            return false;
        };
        self.known.contains(&(record.kind.as_str(), id.trim().to_lowercase()))
    }

    #[expect(
        clippy::unused_self,
        reason = "reads as a question to the locator, beside the others"
    )]
    fn unless_absent(&self, record: &Record, found: &Value) -> Place {
        if record.is_absent(found) {
            return Place::Absent(format!("the system holds the {} as gone", record.kind));
        }
        Place::Found(found.clone())
    }

    fn key(&self, check: &Check<'_>, name: &str, located: &mut Located) -> Result<String, Place> {
        if let Some(value) = check.keys.get(name) {
            return Ok(value.clone());
        }
        match check.record.keys.get(name) {
            Some(KeySource::Record(kind)) => self.id_of_kind(check, kind, located),
            Some(KeySource::Value(expression)) => {
                let value = expression
                    .value(&variables(check))
                    .and_then(|value| crate::domain::playbook::as_id(&value));
                value.ok_or_else(|| Place::Nowhere(format!("no {name} is known to look it up by")))
            }
            None => check
                .expected
                .get(name)
                .and_then(crate::domain::playbook::as_id)
                .ok_or_else(|| Place::Nowhere(format!("no {name} is known to look it up by"))),
        }
    }

    /// The id of the record of another kind that belongs to the check's subject.
    fn id_of_kind(&self, check: &Check<'_>, kind: &str, located: &mut Located) -> Result<String, Place> {
        let of_kind = |claim: &&Claim| claim.record == kind && claim.id.is_some() && claim.state == ClaimState::Done;
        let mut ids: Vec<&str> = Vec::new();
        for claim in self.case.claims.iter().filter(of_kind) {
            let fits = match (&check.subject, &claim.subject) {
                (Some(left), Some(right)) => same_name(&self.playbook.head.nicknames, left, right),
                (Some(_), None) => false,
                (None, _) => true,
            };
            if let (true, Some(id)) = (fits, claim.id.as_deref())
                && !ids.iter().any(|known| same_id(known, id))
            {
                ids.push(id);
            }
        }
        if check.subject.is_some() || ids.len() == 1 {
            // Several files of one subject: what was written last is the one that the session worked with.
            if let Some(id) = ids.last() {
                return Ok((*id).to_owned());
            }
        }
        let Some(search) = self.playbook.searches.iter().find(|search| search.record == kind) else {
            return Err(Place::Nowhere(format!("no {kind} is known to look it up by")));
        };
        self.search(check, search, located)
    }

    fn search(&self, check: &Check<'_>, search: &Search, located: &mut Located) -> Result<String, Place> {
        let variables = variables(check);
        let mut keys = BTreeMap::new();
        for (name, expression) in &search.keys {
            let value = expression
                .value(&variables)
                .as_ref()
                .and_then(crate::domain::playbook::as_id);
            let Some(value) = value else {
                if search.optional.contains(name) {
                    continue;
                }
                return Err(Place::Nowhere(format!(
                    "no {name} is known to search a {} by",
                    search.record
                )));
            };
            keys.insert(name.clone(), value);
        }
        if search.names_session {
            keys.insert("session".into(), self.case.session.session_id.clone());
        }
        let lookup = Lookup {
            system: search.system.clone(),
            record: search.name.clone(),
            id: None,
            keys,
        };
        let Some(fact) = self.facts.get(&lookup) else {
            located.ask.push(lookup);
            return Err(Place::Ask);
        };
        located.used.push(lookup);
        let answer = match fact {
            Fact::Unknown { reason } => return Err(Place::Unknown(reason.clone())),
            Fact::Absent => return Err(Place::Absent(format!("the system knows no such {}", search.record))),
            Fact::Found { record } => record,
        };
        let Some(record) = self.playbook.record(&search.record) else {
            return Err(Place::Nowhere(format!("no {} is known", search.record)));
        };
        let hits = if search.each.is_empty() {
            vec![answer]
        } else {
            elements(&search.each, answer)
        };
        let field = search.subject_field.as_ref().and_then(|name| record.field(name));
        let mut ids: Vec<String> = Vec::new();
        for hit in hits {
            let fits = match (field, &check.subject) {
                (Some(field), Some(subject)) => {
                    let actual = super::outcome::actual(field, hit);
                    let wanted = Value::from(subject.as_str());
                    compare(&field.compare, self.playbook.context(), &wanted, &actual).outcome == Match::Same
                }
                _ => true,
            };
            if let (true, Some(id)) = (fits, record.id.get_id(hit))
                && !ids.iter().any(|known| same_id(known, &id))
            {
                ids.push(id);
            }
        }
        match ids.as_slice() {
            [] => Err(Place::Absent(format!("the system knows no such {}", search.record))),
            [id] => Ok(id.clone()),
            several => Err(Place::Unknown(format!(
                "the system knows {} such {}s",
                several.len(),
                search.record
            ))),
        }
    }
}

fn variables(check: &Check<'_>) -> Value {
    json!({"subject": check.subject, "fields": check.expected, "keys": check.keys})
}

/// The records in an answer: objects only, by the first path that selects any.
fn elements<'v>(paths: &[Path], answer: &'v Value) -> Vec<&'v Value> {
    for path in paths {
        let found: Vec<&Value> = path
            .all(answer)
            .into_iter()
            .filter(|element| element.is_object())
            .take(MOST_ELEMENTS)
            .collect();
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}
