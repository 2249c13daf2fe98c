//! What the stub takes, what it refuses, and what it says then.

use serde_json::json;

use super::*;
use crate::adapters::client::{Bounds, ClientSettings, build, exchange};

const ADA: &str = "11111111-1111-4111-8111-111111111111";

fn practice() -> Arc<Practice> {
    Arc::new(Practice::new().with(&json!({
        "patients": [{"PatientGUID": ADA, "PatientFirstName": "Ada", "PatientLastName": "O'Lind & Co"}],
        "appointments": [{"AppointmentGUID": "A1", "PatientGUID": ADA, "after_looks": 1}],
    })))
}

fn request(procedure: &str, parameters: &str) -> String {
    let (client_id, user, password) = CREDENTIALS;
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><GetDataRequest xmlns=\"http://schemas.practica.ws/cloud9/partners/\">\
         <ClientID>{client_id}</ClientID><UserName>{user}</UserName><Password>{password}</Password>\
         <Procedure>{procedure}</Procedure><Parameters>{parameters}</Parameters></GetDataRequest>"
    )
}

async fn post(server: &Server, media_type: &str, body: String) -> String {
    let client = build(&ClientSettings::default()).unwrap();
    let bounds = Bounds {
        timeout: Duration::from_secs(5),
        max_bytes: 100_000,
    };
    let request = client
        .post(format!("{}{PATH}", server.url()))
        .header("content-type", media_type)
        .body(body);
    let reply = exchange("sandbox", request, bounds).await.unwrap();
    assert_eq!(reply.status, 200);
    String::from_utf8(reply.body).unwrap()
}

async fn code(server: &Server, body: String) -> Option<u32> {
    let answer = post(server, "application/xml", body).await;
    let (_, rest) = answer.split_once("<ErrorCode>")?;
    rest.split_once('<')?.0.parse().ok()
}

#[tokio::test]
async fn it_answers_as_the_documentation_says() {
    let practice = practice();
    let server = start(Arc::clone(&practice)).await.unwrap();
    let ask = |procedure: &str, parameters: String| post(&server, "application/xml", request(procedure, &parameters));
    let patient = ask("GetPatientInformation", format!("<patguid>{ADA}</patguid>")).await;
    assert_eq!(
        patient,
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<GetDataResponse><ResponseStatus>Success</ResponseStatus><Records><Record>\
             <PatientFirstName>Ada</PatientFirstName><PatientFullName>Ada O&apos;Lind &amp; Co </PatientFullName>\
             <PatientGUID>{ADA}</PatientGUID><PatientLastName>O&apos;Lind &amp; Co</PatientLastName></Record></Records></GetDataResponse>"
        )
    );
    let list = |answer: String| answer.contains("<AppointmentGUID>A1</AppointmentGUID>");
    let parameter = format!("<patGUID>{}</patGUID>", ADA.to_uppercase());
    assert!(!list(ask("GetAppointmentListByPatient", parameter.clone()).await));
    let second = ask("GetAppointmentListByPatient", parameter).await;
    assert!(!second.contains("after_looks") && list(second));
    let nobody = "<patGUID>22222222-2222-4222-8222-222222222222</patGUID>".to_owned();
    assert!(
        ask("GetAppointmentListByPatient", nobody)
            .await
            .ends_with("<Records /></GetDataResponse>")
    );
    assert!(
        ask("GetPortalPatientLookup", "<filter>o'l, ad</filter>".to_owned())
            .await
            .contains(ADA)
    );
    assert!(ask("GetLocations", String::new()).await.contains("America/New_York"));
    assert_eq!(practice.malformed(), Vec::<String>::new());
}

#[tokio::test]
async fn procedures_that_write_are_refused_and_counted() {
    let practice = practice();
    let server = start(Arc::clone(&practice)).await.unwrap();
    for procedure in ["SetAppointment", "SetPatient"] {
        assert_eq!(code(&server, request(procedure, "")).await, Some(10));
    }
    assert_eq!(practice.refused_writes(), 2);
    assert_eq!(code(&server, request("GetEverything", "")).await, Some(10));
    assert_eq!(practice.refused_writes(), 2);
}

#[tokio::test]
async fn parameters_are_checked_by_name() {
    let server = start(practice()).await.unwrap();
    let ok = format!("<patguid>{ADA}</patguid>");
    for (procedure, parameters, expected) in [
        ("GetPatientInformation", ok.as_str(), None),
        ("GetPatientInformation", "", Some(2)),
        ("GetPatientInformation", "<patguid/>", Some(2)),
        ("GetPatientInformation", "<patGUID>x</patGUID>", Some(3)),
        ("GetPatientInformation", "<patguid>77</patguid>", Some(3)),
        ("GetAppointmentListByPatient", ok.as_str(), Some(3)),
        (
            "GetPortalPatientLookup",
            "<filter>a</filter><pageSize>25</pageSize>",
            None,
        ),
        (
            "GetPortalPatientLookup",
            "<filter>a</filter><filter>b</filter>",
            Some(3),
        ),
        ("GetLocations", "<x>1</x>", Some(3)),
    ] {
        assert_eq!(
            code(&server, request(procedure, parameters)).await,
            expected,
            "{procedure} {parameters}"
        );
    }
}

#[tokio::test]
async fn a_request_that_the_real_system_could_not_read_is_reported() {
    let practice = practice();
    let server = start(Arc::clone(&practice)).await.unwrap();
    let good = request("GetLocations", "");
    for bad in [
        String::new(),
        "hello".to_owned(),
        good.replace("schemas.practica.ws", "example.com"),
        good.replace(" xmlns=\"http://schemas.practica.ws/cloud9/partners/\"", ""),
        good.replace("</Procedure>", "</Procedure><Procedure>GetLocations</Procedure>"),
        good.replace("<UserName>sandbox-user</UserName>", ""),
        good.replace("<Parameters></Parameters>", "<Parameters></Parameters>words"),
        good.replace("<?xml version=\"1.0\" encoding=\"utf-8\"?>", "<!DOCTYPE a>"),
        good[..good.len() - 5].to_owned(),
    ] {
        assert_eq!(code(&server, bad.clone()).await, Some(0), "{bad}");
    }
    assert_eq!(practice.malformed().len(), 9);
    let answer = post(&server, "text/plain", good.clone()).await;
    assert!(answer.contains("<ErrorCode>0</ErrorCode>"));
    assert_eq!(code(&server, good).await, None);
    let log = format!("{:?}", practice.requests());
    assert!(
        !log.contains(ADA) && !log.contains("Ada") && !log.contains(CREDENTIALS.2),
        "{log}"
    );
}

#[test]
fn a_practice_is_read_from_a_file_or_a_folder_and_says_what_is_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let said = |path: &Path| Practice::load(path).unwrap_err().to_string();
    assert!(said(folder.path()).contains("no *.json"));
    assert!(said(&folder.path().join("nowhere.json")).contains("cannot read"));
    let file = folder.path().join("a.json");
    for (text, reason) in [
        ("{\n \"patients\": [}", "line 2"),
        ("{}", "should hold lists"),
        ("{\"patients\": [1]}", "should hold lists"),
        ("{\"patients\": [{\"a b\": \"1\"}]}", "should hold lists"),
    ] {
        std::fs::write(&file, text).unwrap();
        assert!(said(folder.path()).contains(reason), "{text}");
    }
    std::fs::write(
        &file,
        json!({"cloud9": {"patients": [{"PatientGUID": ADA}]}}).to_string(),
    )
    .unwrap();
    std::fs::write(
        folder.path().join("b.json"),
        json!({"locations": [{"LocationGUID": "L"}]}).to_string(),
    )
    .unwrap();
    let practice = Practice::load(folder.path()).unwrap();
    assert!(locked(&practice.data).patient(ADA).is_some());
    assert_eq!(locked(&practice.data).locations().len(), 1);
    practice.add(&json!({"appointments": [{"AppointmentGUID": "x", "PatientGUID": ADA}]}));
    practice.remove_appointment("X");
    assert_eq!(locked(&practice.data).appointments(ADA), Some(Vec::new()));
}
