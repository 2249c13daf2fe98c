//! NexHealth by its preset alone: the key's exchange, a search in pages, an appointment.

use super::{
    peer::{Peer, Says, found, says},
    *,
};
use crate::domain::playbook::{Playbook, presets};

const PLAYBOOK: &str = r#"
[playbook]
name = "practice"
version = 1
[[record]]
preset = "nexhealth/appointment"
system = "ehr"
[[record]]
preset = "nexhealth/patient"
system = "ehr"
[[search]]
name = "patient_by_name"
preset = "nexhealth/patient-by-name"
system = "ehr"
"#;

fn patient(id: u32, first_name: &str) -> Value {
    json!({"id": id, "first_name": first_name, "last_name": "Lind", "name": format!("{first_name} Lind"),
        "bio": {"date_of_birth": "2016-05-04", "phone_number": "5550102030", "cell_phone_number": null}})
}

fn answer(data: &Value, more: bool) -> peer::Says {
    says(
        200,
        json!({"code": true, "description": null, "error": null, "data": data, "count": 2,
            "page_info": {"has_next_page": more, "end_cursor": more.then_some("WyJh=="), "has_previous_page": false}}),
    )
}

async fn practice() -> (Peer, HttpRecords, Playbook) {
    let peer = Peer::start(|_, arrived, _| {
        let path = arrived.target.split('?').next().unwrap();
        match path {
            "/authenticates" => says(200, json!({"code": true, "data": {"token": "jwt"}, "error": []})),
            _ if arrived.header("authorization") != "Bearer jwt" => says(401, "{}"),
            "/patients" if arrived.target.contains("end_cursor=WyJh%3D%3D") => {
                answer(&json!([patient(2, "Ben")]), false)
            }
            "/patients" => answer(&json!([patient(1, "Ada")]), true),
            "/locations" => answer(
                &json!([{"id": 1, "subdomain": "demo", "locations": [{"id": 12}]}]),
                false,
            ),
            "/appointments/7" => answer(
                &json!({"id": 7, "patient_id": 1, "provider_id": 3, "start_time": "2026-09-14T13:30:00.000Z",
                    "end_time": "2026-09-14T14:00:00.000Z", "cancelled": false, "unavailable": false}),
                false,
            ),
            "/appointments/8" => answer(&json!({"appt": {"id": 8, "cancelled": true}}), false),
            "/appointments/9" => says(200, json!({"code": false, "data": null, "error": ["Not found"]})),
            // Its own media type.
            _ => Says {
                headers: vec![(
                    "content-type".to_owned(),
                    "application/vnd.Nexhealth+json;version=2".to_owned(),
                )],
                ..says(
                    404,
                    json!({"code": false, "description": null, "data": null, "error": ["Not found"]}),
                )
            },
        }
    })
    .await;
    let playbook = Playbook::parse("practice.toml", PLAYBOOK).unwrap();
    let records = asked(&peer);
    (peer, records, playbook)
}

fn asked(peer: &Peer) -> HttpRecords {
    let playbook = Playbook::parse("practice.toml", PLAYBOOK).unwrap();
    let config = HttpRecordsConfig {
        api: presets::api("nexhealth").unwrap(),
        auth: HttpAuth::ApiKey {
            token_url: format!("{}/authenticates", peer.url),
            api_key: Secret::new("key-1"),
            token: "$.data.token".to_owned(),
            lifetime: Duration::from_hours(1),
        },
        values: BTreeMap::from([
            ("subdomain".to_owned(), "demo".to_owned()),
            ("location_id".to_owned(), "12".to_owned()),
        ]),
        ..HttpRecordsConfig::new(&peer.url)
    };
    HttpRecords::new("ehr", config, playbook.http_lookups("ehr")).unwrap()
}

fn of(record: &str, id: Option<&str>, keys: &[(&str, &str)]) -> Lookup {
    Lookup {
        system: "ehr".to_owned(),
        record: record.to_owned(),
        id: id.map(str::to_owned),
        keys: keys
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

#[tokio::test]
async fn patients_are_searched_through_all_pages() {
    let (peer, records, playbook) = practice().await;
    let keys = [("name", "Ada Lind"), ("birth_date", "2016-05-04")];
    let answer = records.look_up(&of("patient_by_name", None, &keys)).await.unwrap();
    let whole = found(answer);
    let each = &playbook.searches[0].each;
    let hits = each
        .iter()
        .map(|path| path.all(&whole))
        .find(|hits| !hits.is_empty())
        .unwrap();
    assert_eq!(hits.len(), 2);
    let record = playbook.record("patient").unwrap();
    assert_eq!(record.field("name").unwrap().of(hits[0]), Some("Ada Lind".into()));
    assert_eq!(record.id.get_id(hits[1]), Some("2".to_owned()));
    let sent = &peer.arrived()[1];
    assert_eq!(sent.header("nex-api-version"), "v20240412");
    assert_eq!(
        sent.target,
        "/patients?date_of_birth=2016-05-04&location_id=12&name=Ada%20Lind&per_page=100&subdomain=demo"
    );
}

#[tokio::test]
async fn an_appointment_is_found_cancelled_or_absent() {
    let (_peer, records, playbook) = practice().await;
    let record = playbook.record("appointment").unwrap();
    let first = |answer: &Value| -> Value {
        let objects =
            |path: &crate::domain::playbook::Path| path.all(answer).into_iter().find(|hit| hit.is_object()).cloned();
        record.each.iter().find_map(objects).unwrap()
    };
    for (id, is_cancelled) in [("7", false), ("8", true)] {
        let answer = records.look_up(&of("appointment", Some(id), &[])).await.unwrap();
        assert_eq!(answer.request, format!("GET /appointments/{id}?subdomain=demo"));
        let appointment = first(&found(answer));
        assert_eq!(record.id.get_id(&appointment), Some(id.to_owned()));
        let cancelled = record.cancelled.as_ref().unwrap();
        assert_eq!(cancelled.holds(&json!({"record": appointment})), is_cancelled);
    }
    let none = records.look_up(&of("appointment", Some("10"), &[])).await.unwrap();
    assert_eq!(none.fact, Fact::Absent);
    // A request that failed, whatever its status: nobody looked for the appointment.
    let error = records.look_up(&of("appointment", Some("9"), &[])).await.unwrap_err();
    assert_eq!(error.reason, UpstreamReason::BadAnswer);
    assert!(!error.detail.contains("Not found"), "{error}");
}

#[tokio::test]
async fn a_probe_asks_for_the_practices_own_locations() {
    let (peer, records, _) = practice().await;
    let probe = records.probe().await.unwrap();
    assert!(!probe.notes[0].warning, "{probe:?}");
    assert_eq!(peer.targets()[1], "/locations?subdomain=demo");
    for (answer, warns) in [
        (says(403, json!({"code": false, "error": ["no access"]})), None),
        (says(404, json!({"code": false, "error": ["Not found"]})), Some(true)),
        (says(200, json!({"code": true, "data": []})), Some(false)),
    ] {
        let peer = Peer::start(move |_, arrived, _| match arrived.target.as_str() {
            "/authenticates" => says(201, json!({"code": true, "data": {"token": "jwt"}, "error": []})),
            _ => answer.clone(),
        })
        .await;
        let probe = asked(&peer).probe().await;
        assert_eq!(probe.ok().map(|probe| probe.notes[0].warning), warns);
    }
}
