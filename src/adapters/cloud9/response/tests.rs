//! Every shape that an answer may have.

use serde_json::json;

use super::*;

fn success(records: &str) -> String {
    format!("<GetDataResponse><ResponseStatus>Success</ResponseStatus>{records}</GetDataResponse>")
}

fn records(text: &str) -> Vec<Value> {
    match parse(text) {
        Ok(Response::Records(records)) => records,
        other => panic!("{text}: {other:?}"),
    }
}

const ONE: &str = "<Record><AppointmentGUID>59D2</AppointmentGUID><Status>Scheduled</Status></Record>";

fn one() -> Value {
    json!({"AppointmentGUID": "59D2", "Status": "Scheduled"})
}

#[test]
fn records_may_be_missing_empty_one_or_many() {
    assert_eq!(records(&success("")), Vec::<Value>::new());
    assert_eq!(records(&success("<Records/>")), Vec::<Value>::new());
    assert_eq!(records(&success("<Records>\n  </Records>")), Vec::<Value>::new());
    assert_eq!(records(&success("<Records><Record/></Records>")), Vec::<Value>::new());
    assert_eq!(records(&success(&format!("<Records>{ONE}</Records>"))), [one()]);
    assert_eq!(
        records(&success(&format!("<Records>\n{ONE}\n{ONE}\n{ONE}</Records>"))),
        [one(), one(), one()]
    );
}

#[test]
fn the_namespace_may_be_there_or_missing_or_another() {
    for root in [
        "GetDataResponse",
        "GetDataResponse xmlns=\"http://schemas.practica.ws/cloud9/partners/\"",
        "GetDataResponse xmlns=\"http://example.com/other\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"",
    ] {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<!-- made today -->\n<{root}>\
             <ResponseStatus> Success </ResponseStatus><Records>{ONE}</Records></GetDataResponse>\n"
        );
        assert_eq!(records(&text), [one()], "{root}");
    }
    let prefixed = "<c:GetDataResponse xmlns:c='x'><c:ResponseStatus>Success</c:ResponseStatus><c:Records><c:Record>\
                    <c:AppointmentGUID>59D2</c:AppointmentGUID><c:Status>Scheduled</c:Status></c:Record></c:Records></c:GetDataResponse>";
    assert_eq!(records(prefixed), [one()]);
}

#[test]
fn fields_keep_their_names_and_lose_the_blanks_around_them() {
    let text = success(
        "<Records><Record><persFirstName> Zoë </persFirstName><note><![CDATA[a < b & c]]></note>\
         <amp>R&amp;D &#x41;&#66; &lt;i&gt;</amp><blank/><none xsi:nil=\"true\"/>\
         <twice>1</twice><twice>2</twice><inner><a>1</a></inner></Record></Records>",
    );
    assert_eq!(
        records(&text),
        [
            json!({"persFirstName": "Zoë", "note": "a < b & c", "amp": "R&D AB <i>", "blank": "", "none": null,
            "twice": ["1", "2"], "inner": {"a": "1"}})
        ]
    );
}

#[test]
fn an_error_has_its_code_and_message() {
    let error = |code: &str| {
        parse(&format!(
            "<GetDataResponse><ResponseStatus>Error</ResponseStatus><ErrorCode>{code}</ErrorCode>\
             <ErrorMessage>Slow down</ErrorMessage></GetDataResponse>"
        ))
    };
    let is = |code| {
        Ok(Response::Error {
            code,
            message: "Slow down".to_owned(),
        })
    };
    assert_eq!(error("8"), is(Some(8)));
    assert_eq!(error(" 0 "), is(Some(0)));
    assert_eq!(error("x"), is(None));
    assert_eq!(error(""), is(None));
    let mixed = success("<ErrorCode>8</ErrorCode><ErrorMessage>Slow down</ErrorMessage><Records/>");
    assert_eq!(
        parse(&mixed),
        is(Some(8)),
        "a code other than 0 is an error whatever the status says"
    );
    assert_eq!(records(&success("<ErrorCode>0</ErrorCode>")), Vec::<Value>::new());
}

#[test]
fn success_with_a_result_that_is_an_error_is_an_error() {
    for records in [
        "<Records><Record><Result>Error: patient is locked</Result></Record></Records>",
        "<Records><Record><Result> ERROR - no</Result></Record></Records>",
        "<Records><Record>Error: no</Record></Records>",
        "<Records>Error: no</Records>",
    ] {
        assert_eq!(parse(&success(records)), Ok(Response::ErrorResult), "{records}");
    }
    assert_eq!(
        records(&success("<Records><Record><Result>Done</Result></Record></Records>")),
        [json!({"Result": "Done"})]
    );
}

#[test]
fn what_is_not_a_whole_answer_is_refused_without_repeating_it() {
    let cut = success(&format!("<Records>{ONE}</Records>"));
    for end in [1, 30, cut.len() / 2, cut.len() - 1] {
        assert!(parse(&cut[..end]).is_err(), "{}", &cut[..end]);
    }
    for text in [
        "",
        "  ",
        "Zoë",
        "{\"a\": 1}",
        "<html><body>Zoë</body></html>",
        "<GetDataResponse/>",
        "<GetDataResponse>Zoë</GetDataResponse>",
        "<GetDataResponse><Records/></GetDataResponse>",
        "<GetDataResponse><ResponseStatus>Zoë</ResponseStatus></GetDataResponse>",
        "<GetDataResponse><ResponseStatus>Success</GetDataResponse>",
        "<GetDataResponse><ResponseStatus>Success</ResponseStatus></GetDataResponse><a/>",
        "<GetDataResponse><ResponseStatus>Success</ResponseStatus></GetDataResponse>Zoë",
        "<GetDataResponse><ResponseStatus>Success</ResponseStatus><Records><Zoë/></Records></GetDataResponse>",
        "<GetDataResponse><ResponseStatus>Success</ResponseStatus><Records>Zoë</Records></GetDataResponse>",
        "<GetDataResponse><ResponseStatus>&Zoë;</ResponseStatus></GetDataResponse>",
        "<GetDataResponse><ResponseStatus>&#0;</ResponseStatus></GetDataResponse>",
    ] {
        let reason = parse(text).expect_err(text);
        assert!(!reason.contains("Zoë"), "{text}: {reason}");
    }
}

#[test]
fn document_types_and_entities_of_the_answers_own_are_not_read() {
    let bomb = "<?xml version=\"1.0\"?><!DOCTYPE lolz [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]>\
                <GetDataResponse><ResponseStatus>&b;</ResponseStatus></GetDataResponse>";
    assert!(parse(bomb).unwrap_err().contains("document type"));
    let external = "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><GetDataResponse/>";
    assert!(parse(external).unwrap_err().contains("document type"));
    let undeclared = success("<Records><Record><a>&x;</a></Record></Records>");
    assert!(parse(&undeclared).unwrap_err().contains("entity"));
}

#[test]
fn depth_and_number_of_elements_are_bounded() {
    let deep = success(&("<a>".repeat(100_000) + &"</a>".repeat(100_000)));
    assert!(parse(&deep).unwrap_err().contains("levels"));
    let wide = success(&format!("<Records>{}</Records>", "<Record/>".repeat(200_001)));
    assert!(parse(&wide).unwrap_err().contains("elements"));
}

mod hostile {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let _ = parse(&text);
            let _ = parse(&success(&text));
        }

        #[test]
        fn any_soup_of_marks_is_read_or_refused(parts in prop::collection::vec(prop::sample::select(vec![
            "<", ">", "/", "<Record>", "</Record>", "<Records>", "</Records>", "&", ";", "&amp;", "<![CDATA[", "]]>",
            "<!--", "-->", "<?", "?>", "<a b=\"c\"", "=", "\"", "x", "é", "<!DOCTYPE", "&#x0;", "xmlns:",
        ]), 0..40)) {
            let _ = parse(&success(&parts.concat()));
        }
    }
}
