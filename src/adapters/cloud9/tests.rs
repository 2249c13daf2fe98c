//! Against a practice over a real socket, in every shape and with every fault that the real one is known for.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::{
    adapters::secret::Secret,
    sandbox::{
        Server,
        cloud9::{self, CREDENTIALS, Fault, GuidCase, Namespace, PATH, Practice, UnknownGuid},
    },
};

const INES: &str = "5108d45a-3a0b-4176-82fd-502cdbf880d8";
const NOBODY: &str = "00000000-1111-4222-8333-444444444444";

fn practice() -> Practice {
    Practice::new().with(&json!({
        "patients": [
            {"PatientGUID": INES, "PatientFirstName": "Ines", "PatientLastName": "Okafor", "PatientBirthDate": "06/04/2017"},
            {"PatientGUID": "69168fc1-fff7-413d-96fc-df860b1ab892", "PatientFirstName": "Dana & <Co>", "PatientLastName": "Okafor"},
        ],
        "appointments": [
            {"AppointmentGUID": "ee8f6454-f178-4ec7-b609-912fe2e7a724", "PatientGUID": INES,
             "AppointmentDateTime": "3/17/2026 9:50:00 AM", "AppointmentStatusDescription": "Scheduled"},
        ],
    }))
}

fn credentials() -> Credentials {
    let (client_id, user, password) = CREDENTIALS;
    Credentials {
        client_id: Secret::new(client_id),
        user: Secret::new(user),
        password: Secret::new(password),
    }
}

struct World {
    practice: Arc<Practice>,
    server: Server,
}

impl World {
    async fn of(practice: Practice) -> Self {
        let practice = Arc::new(practice);
        let server = cloud9::start(Arc::clone(&practice)).await.unwrap();
        Self { practice, server }
    }

    fn adapter(&self, change: impl FnOnce(&mut Cloud9Config)) -> Cloud9 {
        let mut config = Cloud9Config {
            timezone: Some(Tz::America__New_York),
            timeout: Duration::from_millis(500),
            pace: Duration::ZERO,
            ..Cloud9Config::new(format!("{}{PATH}", self.server.url()), credentials())
        };
        change(&mut config);
        let lookups = [
            ("patient", Cloud9Lookup::Patient),
            ("appointment", Cloud9Lookup::Appointments),
            ("patient_by_name", Cloud9Lookup::PatientSearch),
        ];
        let lookups = lookups.map(|(name, lookup)| (name.to_owned(), lookup));
        Cloud9::new("practice", config, lookups.into()).unwrap()
    }

    async fn ask(&self, lookup: &Lookup) -> Result<Answer, UpstreamError> {
        self.adapter(|_| {}).look_up(lookup).await
    }

    /// The fact; every request so far was one that the real system takes, and none wrote.
    async fn fact(&self, lookup: &Lookup) -> Fact {
        let answer = self.ask(lookup).await.unwrap();
        assert_eq!(self.practice.malformed(), Vec::<String>::new());
        assert_eq!(self.practice.refused_writes(), 0);
        answer.fact
    }

    async fn fails(&self, fault: Fault) -> UpstreamError {
        self.practice.fail("", fault.clone(), 1);
        let error = self.ask(&appointments(INES)).await.expect_err(&format!("{fault:?}"));
        assert_eq!(error.upstream, "records:practice");
        for secret in [CREDENTIALS.0, CREDENTIALS.1, CREDENTIALS.2, INES, "127.0.0.1"] {
            assert!(!error.to_string().contains(secret), "{error}");
        }
        let healed = self.fact(&appointments(INES)).await;
        assert!(matches!(healed, Fact::Found { .. }), "{healed:?}");
        error
    }
}

fn patient(id: &str) -> Lookup {
    lookup("patient", Some(id), &[])
}

fn appointments(patient: &str) -> Lookup {
    lookup("appointment", None, &[("patient", patient)])
}

fn by_name(name: &str) -> Lookup {
    lookup("patient_by_name", None, &[("name", name)])
}

fn lookup(record: &str, id: Option<&str>, keys: &[(&str, &str)]) -> Lookup {
    let keys = [("session", "s/1")].iter().chain(keys);
    Lookup {
        system: "practice".to_owned(),
        record: record.to_owned(),
        id: id.map(str::to_owned),
        keys: keys
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

fn found(fact: Fact) -> Value {
    match fact {
        Fact::Found { record } => record,
        other => panic!("{other:?}"),
    }
}

fn unknown(fact: Fact) -> String {
    match fact {
        Fact::Unknown { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_patient_is_an_object_of_texts_under_cloud9s_names() {
    let world = World::of(practice()).await;
    let answer = world.ask(&patient(INES)).await.unwrap();
    assert_eq!(answer.request, format!("GetPatientInformation(patguid={INES})"));
    assert_eq!(answer.status, Some(200));
    assert_eq!(
        found(answer.fact),
        json!({"PatientGUID": INES, "PatientFirstName": "Ines", "PatientLastName": "Okafor",
            "PatientFullName": "Ines Okafor", "PatientBirthDate": "06/04/2017"})
    );
    let asked = &world.practice.requests()[0];
    assert_eq!(
        (asked.procedure.as_str(), asked.parameters.as_slice()),
        ("GetPatientInformation", &["patguid".to_owned()][..])
    );
}

#[tokio::test]
async fn appointments_are_a_list_with_the_practices_zone_behind_their_times() {
    let world = World::of(practice()).await;
    let answer = world.ask(&appointments(INES)).await.unwrap();
    assert_eq!(answer.request, format!("GetAppointmentListByPatient(patGUID={INES})"));
    assert_eq!(
        found(answer.fact),
        json!([{"AppointmentGUID": "ee8f6454-f178-4ec7-b609-912fe2e7a724", "PatientGUID": INES,
            "AppointmentDateTime": "3/17/2026 9:50:00 AM [America/New_York]", "AppointmentStatusDescription": "Scheduled"}])
    );
    assert_eq!(world.practice.requests()[0].parameters, ["patGUID"]);
}

#[tokio::test]
async fn patients_are_searched_last_name_first() {
    let world = World::of(practice()).await;
    let answer = world.ask(&by_name("Ines Okafor")).await.unwrap();
    assert_eq!(answer.request, "GetPortalPatientLookup(filter=Okafor, Ines)");
    let hits = found(answer.fact);
    assert_eq!(hits.as_array().unwrap().len(), 1);
    assert_eq!(hits[0]["PatientName"], "Okafor, Ines");
    assert_eq!(found(world.fact(&by_name("okafor")).await).as_array().unwrap().len(), 2);
    assert_eq!(world.fact(&by_name("Ben Lind")).await, Fact::Absent);
    assert_eq!(last_name_first("Mary Ann  Lind"), "Lind, Mary Ann");
    assert_eq!(last_name_first("Lind, Mary"), "Lind, Mary");
    assert_eq!(last_name_first(" Mary "), "Mary");
}

#[tokio::test]
async fn nobody_has_this_guid_whether_it_says_so_with_no_records_or_with_code_3() {
    let world = World::of(practice()).await;
    for answer in [UnknownGuid::NoRecords, UnknownGuid::Code3] {
        world.practice.answer_unknown_guid(answer);
        assert_eq!(world.fact(&patient(NOBODY)).await, Fact::Absent, "{answer:?}");
        assert_eq!(world.fact(&appointments(NOBODY)).await, Fact::Absent, "{answer:?}");
    }
    assert!(
        world.adapter(|_| {}).doubts_absence(),
        "it throttles by answering nothing"
    );
}

#[tokio::test]
async fn an_id_that_is_no_guid_is_a_bad_claim_and_not_an_absent_record() {
    let world = World::of(practice()).await;
    for id in ["P-Ada", "77", "{}", "5108d45a", "<patGUID>"] {
        let reason = unknown(world.fact(&patient(id)).await);
        assert!(reason.contains("error code 3"), "{reason}");
        unknown(world.fact(&appointments(id)).await);
    }
    world.practice.fail("", Fault::Code(2), 1);
    let reason = unknown(world.fact(&patient(INES)).await);
    assert!(
        reason.contains("error code 2") && reason.contains("required parameter"),
        "{reason}"
    );
    world.practice.fail("", Fault::Code(3), 1);
    let reason = unknown(world.fact(&by_name("Ines Okafor")).await);
    assert!(reason.contains("error code 3"), "a name is no GUID: {reason}");
}

#[tokio::test]
async fn what_cannot_be_asked_is_not_asked() {
    let world = World::of(practice()).await;
    for (what, lookup) in [
        ("an unknown kind", lookup("invoice", Some(INES), &[])),
        ("no id", lookup("patient", None, &[])),
        ("no patient", lookup("appointment", Some(INES), &[])),
        ("empty", patient(" ")),
        ("controls", patient("a\u{0}")),
        ("long", patient(&"x".repeat(10_000))),
    ] {
        let answer = world.ask(&lookup).await.unwrap();
        assert_eq!((answer.request.as_str(), answer.status), ("not sent", None), "{what}");
        unknown(answer.fact);
    }
    assert_eq!(world.practice.requests(), []);
}

#[tokio::test]
async fn values_of_a_transcript_arrive_as_they_are_and_nothing_else_does() {
    let world = World::of(practice()).await;
    for value in [
        "</patguid><patguid>x",
        "</patguid></Parameters><Procedure>SetPatient</Procedure><Parameters><patguid>x",
        "&amp;",
        "]]>",
    ] {
        unknown(world.fact(&patient(value)).await);
        let asked = world.practice.requests().pop().unwrap();
        assert_eq!(
            (asked.procedure.as_str(), asked.parameters.as_slice()),
            ("GetPatientInformation", &["patguid".to_owned()][..]),
            "{value}"
        );
    }
}

#[tokio::test]
async fn each_error_code_has_its_reason_and_none_is_an_absent_record() {
    let world = World::of(practice()).await;
    for (code, reason) in [
        (0, UpstreamReason::Unreachable),
        (1, UpstreamReason::AuthInvalid),
        (6, UpstreamReason::AuthInvalid),
        (7, UpstreamReason::ClosedHours),
        (8, UpstreamReason::RateLimited),
        (10, UpstreamReason::AuthInvalid),
        (4, UpstreamReason::BadAnswer),
        (999, UpstreamReason::BadAnswer),
    ] {
        let error = world.fails(Fault::Code(code)).await;
        assert_eq!(error.reason, reason, "code {code}: {error}");
        assert!(error.detail.contains(&format!("error code {code}")), "{error}");
    }
}

#[tokio::test]
async fn trouble_in_any_shape_is_an_error_and_not_an_absent_record() {
    let world = World::of(practice()).await;
    let declared = "<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY a \"b\">]><GetDataResponse><ResponseStatus>Success\
                    </ResponseStatus></GetDataResponse>";
    for (fault, reason) in [
        (Fault::Html, UpstreamReason::Unreachable),
        (Fault::EmptyBody, UpstreamReason::Unreachable),
        (Fault::Body(" \r\n ".to_owned()), UpstreamReason::Unreachable),
        (Fault::Status(502), UpstreamReason::Unreachable),
        (Fault::Status(500), UpstreamReason::Unreachable),
        (Fault::Status(404), UpstreamReason::Unreachable),
        (Fault::Status(401), UpstreamReason::AuthInvalid),
        (Fault::Status(429), UpstreamReason::RateLimited),
        (Fault::Status(302), UpstreamReason::BadAnswer),
        (Fault::Hang, UpstreamReason::Unreachable),
        (Fault::Cut, UpstreamReason::BadAnswer),
        (Fault::ErrorResult, UpstreamReason::BadAnswer),
        (Fault::Body("Service Unavailable".to_owned()), UpstreamReason::BadAnswer),
        (Fault::Body("{\"error\": 1}".to_owned()), UpstreamReason::BadAnswer),
        (Fault::Body(declared.to_owned()), UpstreamReason::BadAnswer),
        (Fault::Body("<GetDataResponse/>".to_owned()), UpstreamReason::BadAnswer),
        (Fault::Body("x".repeat(30_000_000)), UpstreamReason::BadAnswer),
    ] {
        let error = world.fails(fault.clone()).await;
        let name: String = format!("{fault:?}").chars().take(80).collect();
        assert_eq!(error.reason, reason, "{name}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let world = World::of(practice()).await;
    let adapter = world.adapter(|_| {});
    world.server.stop().await;
    let error = adapter.look_up(&patient(INES)).await.unwrap_err();
    assert_eq!(error.reason, UpstreamReason::Unreachable);
}

#[tokio::test]
async fn wrong_credentials_are_said_to_be_wrong_and_not_repeated() {
    for (client_id, user, password, code) in [
        ("other", CREDENTIALS.1, CREDENTIALS.2, 6),
        (CREDENTIALS.0, "other", CREDENTIALS.2, 1),
        (CREDENTIALS.0, CREDENTIALS.1, "hunter2 & co", 1),
    ] {
        let world = World::of(practice()).await;
        let adapter = world.adapter(|config| {
            config.credentials = Credentials {
                client_id: Secret::new(client_id),
                user: Secret::new(user),
                password: Secret::new(password),
            };
        });
        let error = adapter.look_up(&patient(INES)).await.unwrap_err();
        assert_eq!(error.reason, UpstreamReason::AuthInvalid);
        assert!(error.detail.contains(&format!("error code {code}")), "{error}");
        assert!(!format!("{adapter:?} {error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn the_namespace_and_the_case_of_guids_do_not_matter() {
    let world = World::of(practice()).await;
    for namespace in [Namespace::None, Namespace::Right, Namespace::Wrong] {
        world.practice.set_namespace(namespace);
        for case in [GuidCase::AsGiven, GuidCase::Upper, GuidCase::Lower] {
            world.practice.set_guid_case(case);
            for id in [INES.to_owned(), INES.to_uppercase()] {
                let record = found(world.fact(&patient(&id)).await);
                assert_eq!(record["PatientFirstName"], "Ines", "{namespace:?} {case:?}");
                assert_eq!(found(world.fact(&appointments(&id)).await).as_array().unwrap().len(), 1);
            }
        }
    }
}

#[tokio::test]
async fn another_patients_record_shows_nothing() {
    let world = World::of(practice()).await;
    let others = "<GetDataResponse><ResponseStatus>Success</ResponseStatus><Records><Record><patGUID>00000000-1111-4222-8333-444444444444</patGUID>\
                  <AppointmentGUID>1</AppointmentGUID></Record></Records></GetDataResponse>";
    for lookup in [patient(INES), appointments(INES)] {
        world.practice.fail("", Fault::Body(others.to_owned()), 1);
        assert!(unknown(world.fact(&lookup).await).contains("another patient"));
    }
}

#[tokio::test]
async fn closed_hours_say_when_it_opens_by_the_servers_own_clock() {
    let world = World::of(practice()).await;
    world.practice.set_allowed_hours(Some((22 * 60, 4 * 60)));
    world.practice.set_clock("2026-03-01T20:30:00Z".parse().unwrap());
    let closed = |hours| world.adapter(move |config| config.allowed_hours = hours);
    let night = Some(AllowedHours::new(22 * 60, 4 * 60));
    let error = closed(night).look_up(&patient(INES)).await.unwrap_err();
    assert_eq!(
        (error.reason, error.retry_after),
        (UpstreamReason::ClosedHours, Some(Duration::from_mins(90)))
    );
    let error = closed(None).look_up(&patient(INES)).await.unwrap_err();
    assert_eq!(
        error.retry_after,
        Some(Duration::from_mins(15)),
        "nobody said when it opens"
    );
    let wrong = Some(AllowedHours::new(20 * 60, 23 * 60));
    let error = closed(wrong).look_up(&patient(INES)).await.unwrap_err();
    assert_eq!(error.retry_after, Some(Duration::from_mins(15)), "it should be open");

    world.practice.advance_clock(Duration::from_mins(90));
    found(closed(night).look_up(&patient(INES)).await.unwrap().fact);
}

#[tokio::test]
async fn too_many_requests_in_a_second_are_rate_limited() {
    let world = World::of(practice()).await;
    world.practice.set_clock("2026-03-01T20:30:00Z".parse().unwrap());
    world.practice.limit_rate(Some(2));
    let adapter = world.adapter(|_| {});
    for _ in 0..2 {
        adapter.look_up(&patient(INES)).await.unwrap();
    }
    let error = adapter.look_up(&patient(INES)).await.unwrap_err();
    assert_eq!((error.reason, error.retry_after), (UpstreamReason::RateLimited, None));
    world.practice.advance_clock(Duration::from_secs(1));
    adapter.look_up(&patient(INES)).await.unwrap();
}

#[tokio::test]
async fn every_look_asks_anew() {
    let world = World::of(practice()).await;
    world.practice.add(&json!({"appointments": [
        {"AppointmentGUID": "late", "PatientGUID": INES, "AppointmentDateTime": "3/18/2026 9:50:00 AM", "after_looks": 2},
    ]}));
    let adapter = world.adapter(|_| {});
    let mut counts = Vec::new();
    for _ in 0..4 {
        let list = found(adapter.look_up(&appointments(INES)).await.unwrap().fact);
        counts.push(list.as_array().unwrap().len());
    }
    assert_eq!(counts, [1, 1, 2, 2]);
    world.practice.fail("GetPatientInformation", Fault::NoRecords, 1);
    assert_eq!(adapter.look_up(&patient(INES)).await.unwrap().fact, Fact::Absent);
    found(adapter.look_up(&patient(INES)).await.unwrap().fact);
}

#[tokio::test]
async fn a_get_with_a_body_is_taken_as_well() {
    let world = World::of(practice()).await;
    let adapter = world.adapter(|config| config.get_with_body = true);
    found(adapter.look_up(&patient(INES)).await.unwrap().fact);
    assert_eq!(world.practice.malformed(), Vec::<String>::new());
}

#[tokio::test]
async fn the_zone_is_asked_of_the_locations_once_where_none_is_configured() {
    let world = World::of(practice()).await;
    world
        .practice
        .add(&json!({"locations": [{"LocationGUID": "1", "TimeZone": "Central Standard Time"}]}));
    let adapter = world.adapter(|config| config.timezone = None);
    for _ in 0..2 {
        let list = found(adapter.look_up(&appointments(INES)).await.unwrap().fact);
        assert_eq!(list[0]["AppointmentDateTime"], "3/17/2026 9:50:00 AM [America/Chicago]");
    }
    let asked: Vec<String> = world.practice.requests().into_iter().map(|one| one.procedure).collect();
    assert_eq!(
        asked,
        [
            "GetAppointmentListByPatient",
            "GetLocations",
            "GetAppointmentListByPatient"
        ]
    );
}

#[tokio::test]
async fn a_system_that_does_not_show_its_locations_is_still_asked_for_appointments() {
    for fault in [
        Fault::Code(10),
        Fault::Code(3),
        Fault::Code(2),
        Fault::Cut,
        Fault::NoRecords,
    ] {
        let world = World::of(practice()).await;
        world.practice.fail("GetLocations", fault.clone(), u64::MAX);
        let adapter = world.adapter(|config| config.timezone = None);
        for _ in 0..2 {
            let list = found(adapter.look_up(&appointments(INES)).await.unwrap().fact);
            assert_eq!(list[0]["AppointmentDateTime"], "3/17/2026 9:50:00 AM", "{fault:?}");
        }
        assert_eq!(
            world.practice.requests().len(),
            3,
            "{fault:?}: it is not asked each time"
        );
    }
    for (fault, reason) in [
        (Fault::Code(8), UpstreamReason::RateLimited),
        (Fault::Code(7), UpstreamReason::ClosedHours),
        (Fault::Status(503), UpstreamReason::Unreachable),
    ] {
        let world = World::of(practice()).await;
        world.practice.fail("GetLocations", fault, 2);
        let adapter = world.adapter(|config| config.timezone = None);
        for _ in 0..2 {
            let error = adapter.look_up(&appointments(INES)).await.unwrap_err();
            assert_eq!(error.reason, reason, "what will pass is waited for");
        }
        let list = found(adapter.look_up(&appointments(INES)).await.unwrap().fact);
        assert_eq!(
            list[0]["AppointmentDateTime"],
            "3/17/2026 9:50:00 AM [America/New_York]"
        );
    }
}

#[tokio::test]
async fn a_probe_reads_the_locations_and_says_what_to_do() {
    let world = World::of(practice()).await;
    let probe = world.adapter(|_| {}).probe().await.unwrap();
    assert!(probe.notes.iter().all(|note| !note.warning), "{probe:?}");
    assert!(probe.notes[0].text.contains("locations: 1") && probe.notes[1].text.contains("America/New_York"));

    world.practice.fail("GetLocations", Fault::Code(10), 1);
    let probe = world.adapter(|_| {}).probe().await.unwrap();
    assert!(
        probe.notes[0].warning && probe.notes[0].text.contains("set `timezone`"),
        "{probe:?}"
    );

    world
        .practice
        .add(&json!({"locations": [{"LocationGUID": "1", "TimeZone": "Middle-earth"}]}));
    let probe = world.adapter(|config| config.timezone = None).probe().await.unwrap();
    assert!(
        probe.notes[1].warning && probe.notes[1].text.contains("set `timezone`"),
        "{probe:?}"
    );

    for (code, reason, advice) in [
        (1, UpstreamReason::AuthInvalid, "check client_id, user and password"),
        (7, UpstreamReason::ClosedHours, "allowed_hours"),
        (8, UpstreamReason::RateLimited, "longer pace"),
    ] {
        world.practice.fail("GetLocations", Fault::Code(code), 1);
        let error = world.adapter(|_| {}).probe().await.unwrap_err();
        assert_eq!(error.reason, reason);
        assert!(error.detail.contains(advice), "{error}");
    }
    assert_eq!(world.practice.refused_writes(), 0);
}
