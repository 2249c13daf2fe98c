//! Whatever a session says, host, path and headers are the configuration's and the playbook's.

use super::{
    peer::{Peer, says, system, thing},
    *,
};

#[tokio::test]
async fn a_session_chooses_neither_host_nor_path_nor_parameter_nor_header() {
    let how = HttpLookup {
        query: BTreeMap::from([("patient".to_owned(), "{{ id }}".to_owned())]),
        ..by_id("/Appointment/{{ id }}")
    };
    let peer = Peer::start(|_, _, _| says(200, json!({"id": 1}))).await;
    let config = || HttpRecordsConfig {
        auth: HttpAuth::Bearer(Secret::new("fixed")),
        ..HttpRecordsConfig::new(format!("{}/fhir", peer.url))
    };
    let records = system(config(), how);
    let hostile = [
        "../../admin",
        "..%2f..%2fadmin",
        "%2e%2e/%2e%2e",
        "%2e%2e",
        "//evil.example/x",
        "http://evil.example/",
        "@evil.example",
        "x?_elements=all&admin=1",
        "x#fragment",
        "x\r\nHost: evil.example\r\nX-Admin: 1",
        "x\n\nGET /admin HTTP/1.1",
        "..\\..\\admin",
        "x\u{0}y",
        "；/admin",
        "{{ session }}",
        "{% include 'x' %}",
    ];
    for id in hostile {
        records.look_up(&thing(id)).await.unwrap();
    }
    let arrived = peer.arrived();
    assert_eq!(arrived.len(), hostile.len());
    let host = peer.url.strip_prefix("http://").unwrap();
    for (arrived, id) in arrived.iter().zip(hostile) {
        let escaped = percent::encode(id);
        assert_eq!(arrived.target, format!("/fhir/Appointment/{escaped}?patient={escaped}"));
        assert_eq!(arrived.header("host"), host, "{id}");
        assert_eq!(arrived.header("authorization"), "Bearer fixed");
        assert_eq!(arrived.header("x-admin"), "");
    }
    for id in [".", "..", ""] {
        let answer = records.look_up(&thing(id)).await.unwrap();
        assert_eq!(answer.request, "not sent");
    }
    assert_eq!(peer.arrived().len(), hostile.len());
}

#[tokio::test]
async fn words_of_a_name_stay_in_their_places_in_a_path_with_a_query() {
    let peer = Peer::start(|_, _, _| says(200, json!({"id": 1}))).await;
    let how = by_id("/Patient?name={{ id | split | first }}&name={{ id | split | last }}");
    let records = system(HttpRecordsConfig::new(&peer.url), how);
    for id in ["Ada Maria Lind", "Ada", "Ada&admin=1 #x"] {
        records.look_up(&thing(id)).await.unwrap();
    }
    assert_eq!(
        peer.targets(),
        [
            "/Patient?name=Ada&name=Lind",
            "/Patient?name=Ada&name=Ada",
            "/Patient?name=Ada%26admin%3D1&name=%23x"
        ]
    );
    let blank = records.look_up(&thing("  ")).await.unwrap();
    assert_eq!(blank.request, "not sent");
}
