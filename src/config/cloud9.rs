//! `[[records]]` of kind `cloud9`: a practice's Cloud9 Ortho.

use std::{collections::BTreeMap, fmt, time::Duration};

use chrono_tz::Tz;
use serde::{Serialize, Serializer};

use super::{
    duration,
    secret::Secret,
    section::{Section, unknown_key},
    url,
};

/// The procedures that a pause can be set for: those that are called.
pub const PROCEDURES: [&str; 4] = [
    "GetPatientInformation",
    "GetAppointmentListByPatient",
    "GetPortalPatientLookup",
    "GetLocations",
];

/// What `[[records]]` of kind `cloud9` has of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cloud9Config {
    /// The address of `GetData.ashx`, of the sandbox or of production.
    pub url: String,
    /// The partner's client id.
    pub client_id: Secret,
    /// The user's name.
    pub user: Secret,
    /// The user's password.
    pub password: Secret,
    /// How questions are sent. Default `post`.
    pub method: Cloud9Method,
    /// The practice's zone. Without it the practice's locations are asked, and where they do not say, the playbook counts.
    #[serde(serialize_with = "serialize_zone", skip_serializing_if = "Option::is_none")]
    pub timezone: Option<Tz>,
    /// When the system may be asked, in UTC. Without it, at any hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_hours: Option<DailyWindow>,
    /// Least time between two calls of one procedure, beside the pace of all.
    #[serde(serialize_with = "serialize_paces", skip_serializing_if = "BTreeMap::is_empty")]
    pub procedure_pace: BTreeMap<String, Duration>,
}

/// How a question is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cloud9Method {
    /// `POST`.
    #[default]
    Post,
    /// `GET` with a body.
    GetWithBody,
}

/// Hours of every day, in UTC; they may run past midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DailyWindow {
    /// First minute of the day that is in it.
    pub from: u32,
    /// First minute of the day after it.
    pub to: u32,
}

impl DailyWindow {
    /// Reads `02:00-06:00`.
    ///
    /// # Errors
    /// Says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let minutes = |text: &str| -> Option<u32> {
            let (hour, minute) = text.trim().split_once(':')?;
            if hour.len() != 2 || minute.len() != 2 {
                return None;
            }
            let (hour, minute) = (hour.parse::<u32>().ok()?, minute.parse::<u32>().ok()?);
            (hour < 24 && minute < 60).then_some(hour * 60 + minute)
        };
        let read = text
            .split_once('-')
            .and_then(|(from, to)| Some((minutes(from)?, minutes(to)?)));
        match read {
            Some((from, to)) if from == to => {
                Err("begins when it ends: leave it out where there is no limit".to_owned())
            }
            Some((from, to)) => Ok(Self { from, to }),
            None => Err("should be two times of day in UTC: \"02:00-06:00\", \"22:00-04:30\"".to_owned()),
        }
    }
}

impl fmt::Display for DailyWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

impl Serialize for DailyWindow {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands the field over like this"
)]
fn serialize_zone<S: Serializer>(zone: &Option<Tz>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(zone.map_or("", Tz::name))
}

fn serialize_paces<S: Serializer>(paces: &BTreeMap<String, Duration>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(paces.iter().map(|(name, pace)| (name, duration::format(*pace))))
}

impl Cloud9Config {
    /// With the defaults for everything else.
    pub fn new(url: impl Into<String>, client_id: Secret, user: Secret, password: Secret) -> Self {
        Self {
            url: url.into(),
            client_id,
            user,
            password,
            method: Cloud9Method::default(),
            timezone: None,
            allowed_hours: None,
            procedure_pace: BTreeMap::new(),
        }
    }

    /// `None` when something that must be there is not.
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let url = url::read(section, "url");
        let client_id = section.required_secret("client_id", "the partner's client id");
        let user = section.required_secret("user", "the user's name");
        let password = section.required_secret("password", "the user's password");
        let method = section.choice(
            "method",
            Cloud9Method::default(),
            &[
                ("post", Cloud9Method::Post),
                ("get-with-body", Cloud9Method::GetWithBody),
            ],
        );
        let timezone = section.text("timezone").and_then(|text| {
            let zone = text.trim().parse::<Tz>();
            if zone.is_err() {
                section.fault_at("timezone", "should be an IANA name such as \"America/New_York\"");
            }
            zone.ok()
        });
        let allowed_hours = section.text("allowed_hours").and_then(|text| {
            DailyWindow::parse(&text)
                .map_err(|reason| section.fault_at("allowed_hours", reason))
                .ok()
        });
        let procedure_pace = section.table("procedure_pace").as_ref().map(paces).unwrap_or_default();
        Some(Self {
            method,
            timezone,
            allowed_hours,
            procedure_pace,
            ..Self::new(url?, client_id?, user?, password?)
        })
    }
}

fn paces(section: &Section<'_>) -> BTreeMap<String, Duration> {
    let mut paces = BTreeMap::new();
    for name in section.free_keys() {
        let Some((text, at)) = section.free_text(&name) else {
            continue;
        };
        if !PROCEDURES.contains(&name.as_str()) {
            section.fault(at, &name, unknown_key(&name, &PROCEDURES));
            continue;
        }
        match duration::parse(&text) {
            Ok(pace) => {
                paces.insert(name, pace);
            }
            Err(reason) => section.fault(at, &name, reason),
        }
    }
    paces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_as_they_are_agreed_upon() {
        assert_eq!(
            DailyWindow::parse("02:00-06:00"),
            Ok(DailyWindow { from: 120, to: 360 })
        );
        assert_eq!(
            DailyWindow::parse("22:30 - 04:00"),
            Ok(DailyWindow { from: 1350, to: 240 })
        );
        for text in [
            "02:00",
            "2:00-6:00",
            "24:00-06:00",
            "02:60-03:00",
            "02:00-02:00",
            "2-6",
            "-",
            "",
        ] {
            assert!(DailyWindow::parse(text).is_err(), "{text}");
        }
        assert_eq!(DailyWindow { from: 1350, to: 240 }.to_string(), "22:30-04:00");
    }
}
