//! The practice's time zone: Cloud9 writes `3/17/2026 9:50:00 AM`, without one.
//!
//! Where the zone is known, from the configuration or from the practice's locations, it is written behind such a text as
//! `3/17/2026 9:50:00 AM [America/Chicago]`, which the comparison of instants reads. Where it is not, the text stays as it
//! is and the playbook's zone counts.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use serde_json::{Map, Value};

/// Names that Windows has for the zones of North America, beside the IANA names.
const OTHER_NAMES: [(&str, Tz); 18] = [
    ("eastern standard time", Tz::America__New_York),
    ("eastern time (us & canada)", Tz::America__New_York),
    ("eastern", Tz::America__New_York),
    ("us eastern standard time", Tz::America__Indiana__Indianapolis),
    ("central standard time", Tz::America__Chicago),
    ("central time (us & canada)", Tz::America__Chicago),
    ("central", Tz::America__Chicago),
    ("mountain standard time", Tz::America__Denver),
    ("mountain time (us & canada)", Tz::America__Denver),
    ("mountain", Tz::America__Denver),
    ("us mountain standard time", Tz::America__Phoenix),
    ("arizona", Tz::America__Phoenix),
    ("pacific standard time", Tz::America__Los_Angeles),
    ("pacific time (us & canada)", Tz::America__Los_Angeles),
    ("pacific", Tz::America__Los_Angeles),
    ("alaskan standard time", Tz::America__Anchorage),
    ("hawaiian standard time", Tz::Pacific__Honolulu),
    ("atlantic standard time", Tz::America__Halifax),
];

/// The zones of a practice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Zones {
    /// By the location's GUID in lower case.
    by_location: BTreeMap<String, Tz>,
    /// Of every location that is not named, where there is only one.
    common: Option<Tz>,
}

impl Zones {
    /// One for all.
    pub(super) fn everywhere(zone: Tz) -> Self {
        Self {
            by_location: BTreeMap::new(),
            common: Some(zone),
        }
    }

    /// Those of the locations.
    pub(super) fn of_locations(locations: &[Value]) -> Self {
        let mut by_location = BTreeMap::new();
        let mut all: Vec<Option<Tz>> = Vec::new();
        for location in locations.iter().filter_map(Value::as_object) {
            let zone = text(location, "TimeZone").and_then(named);
            if !all.contains(&zone) {
                all.push(zone);
            }
            if let (Some(id), Some(zone)) = (text(location, "LocationGUID"), zone) {
                by_location.insert(id.to_lowercase(), zone);
            }
        }
        let common = match all.as_slice() {
            [zone] => *zone,
            _ => None,
        };
        Self { by_location, common }
    }

    /// How many locations have a zone that is known by name; the practice's one zone counts as one.
    pub(super) fn known(&self) -> usize {
        self.by_location.len().max(usize::from(self.common.is_some()))
    }

    /// Writes the zone behind every local time of a record.
    pub(super) fn stamp(&self, record: &mut Value) {
        let Value::Object(fields) = record else { return };
        let location = text(fields, "LocationGUID").map(str::to_lowercase);
        let zone = location
            .and_then(|location| self.by_location.get(&location).copied())
            .or(self.common);
        let Some(zone) = zone else { return };
        for value in fields.values_mut() {
            if let Value::String(text) = value
                && is_local_time(text)
            {
                *text = format!("{text} [{zone}]");
            }
        }
    }
}

/// Whether any field of any record is a local time.
pub(super) fn have_local_times(records: &[Value]) -> bool {
    records
        .iter()
        .filter_map(Value::as_object)
        .flat_map(|fields| fields.values())
        .any(|value| value.as_str().is_some_and(is_local_time))
}

/// `3/17/2026 9:50:00 AM` and `2026-03-17T09:50:00`: a date and a time of day, and nothing else.
fn is_local_time(text: &str) -> bool {
    const SHAPES: [&str; 5] = [
        "%m/%d/%Y %I:%M:%S %p",
        "%m/%d/%Y %I:%M %p",
        "%m/%d/%Y %H:%M:%S",
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
    ];
    (10..=40).contains(&text.len())
        && SHAPES
            .iter()
            .any(|shape| chrono::NaiveDateTime::parse_from_str(text, shape).is_ok())
}

fn text<'v>(fields: &'v Map<String, Value>, name: &str) -> Option<&'v str> {
    let (_, value) = fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    value.as_str().map(str::trim).filter(|text| !text.is_empty())
}

fn named(name: &str) -> Option<Tz> {
    name.parse().ok().or_else(|| {
        let folded = name.to_lowercase();
        // "(UTC-05:00) Eastern Time (US & Canada)"
        let folded = folded
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(") "))
            .map_or(folded.as_str(), |(_, rest)| rest);
        OTHER_NAMES
            .iter()
            .find(|(other, _)| *other == folded)
            .map(|(_, zone)| *zone)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stamped(zones: &Zones, location: &str, at: &str) -> String {
        let mut record = json!({"LocationGUID": location, "AppointmentDateTime": at, "PatientBirthDate": "08/29/2018"});
        zones.stamp(&mut record);
        assert_eq!(record["PatientBirthDate"], "08/29/2018");
        record["AppointmentDateTime"].as_str().unwrap().to_owned()
    }

    #[test]
    fn each_location_has_its_zone() {
        let zones = Zones::of_locations(&[
            json!({"LocationGUID": "A", "TimeZone": "America/New_York"}),
            json!({"LocationGUID": "b", "TimeZone": "Central Standard Time"}),
            json!({"LocationGUID": "c", "TimeZone": "Middle-earth"}),
        ]);
        assert_eq!(
            stamped(&zones, "a", "3/17/2026 9:50:00 AM"),
            "3/17/2026 9:50:00 AM [America/New_York]"
        );
        assert_eq!(
            stamped(&zones, "B", "03/17/2026 09:50:00 AM"),
            "03/17/2026 09:50:00 AM [America/Chicago]"
        );
        assert_eq!(stamped(&zones, "c", "3/17/2026 9:50:00 AM"), "3/17/2026 9:50:00 AM");
        assert_eq!(stamped(&zones, "", "3/17/2026 9:50:00 AM"), "3/17/2026 9:50:00 AM");
    }

    #[test]
    fn one_zone_of_all_locations_is_everybodys() {
        let zones = Zones::of_locations(&[
            json!({"LocationGUID": "a", "TimeZone": "(UTC-07:00) Arizona"}),
            json!({"LocationGUID": "b", "TimeZone": "America/Phoenix"}),
        ]);
        for location in ["a", "other"] {
            assert_eq!(
                stamped(&zones, location, "2026-03-17T09:50:00"),
                "2026-03-17T09:50:00 [America/Phoenix]"
            );
        }
        assert_eq!(
            Zones::of_locations(&[json!({"LocationGUID": "a"})]),
            Zones::default(),
            "no zone is no zone"
        );
    }

    #[test]
    fn only_texts_that_are_a_local_time_are_touched() {
        let zones = Zones::everywhere(Tz::America__Denver);
        for text in [
            "2026-03-17T09:50:00-04:00",
            "2026-03-17T09:50:00Z",
            "3/17/2026",
            "9:50:00 AM",
            "Call at 3/17/2026 9:50:00 AM",
            "13/45/2026 9:50:00 AM",
            "",
        ] {
            assert_eq!(stamped(&zones, "a", text), text);
        }
        for text in ["3/17/2026 9:50 AM", "03/17/2026 21:50:00", "2026-03-17 09:50:00.123"] {
            assert_eq!(stamped(&zones, "a", text), format!("{text} [America/Denver]"));
        }
    }
}
