//! Whose "no" it is: the API's own says that there is no such record, anybody else's says nothing.

use super::{
    peer::{Peer, Says, system, thing},
    *,
};

fn told(status: u16, media_type: &str, body: &str) -> Says {
    Says {
        status,
        headers: match media_type {
            "" => Vec::new(),
            _ => vec![("content-type".to_owned(), media_type.to_owned())],
        },
        body: body.to_owned(),
    }
}

async fn asked(answer: &Says, absent_when: Option<&str>) -> Result<Answer, UpstreamError> {
    let answer = answer.clone();
    let peer = Peer::start(move |_, _, _| answer.clone()).await;
    let how = HttpLookup {
        absent_when: absent_when.map(str::to_owned),
        ..by_id("/orders/{{ id }}")
    };
    let records = system(HttpRecordsConfig::new(&peer.url), how);
    records.look_up(&thing("1")).await
}

/// Express's own, for a path that no route has.
const EXPRESS: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<title>Error</title>\n</head>\n<body>\n\
                       <pre>Cannot GET /orders/1</pre>\n</body>\n</html>\n";
const NGINX: &str = "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n<center><h1>404 Not Found</h1></center>\r\n\
                     <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";

#[tokio::test]
async fn the_apis_own_no_is_absent() {
    for answer in [
        // Spring's `ResponseEntity.notFound()`, Rails' `head :not_found`.
        told(404, "", ""),
        told(404, "text/html", " \r\n"),
        told(410, "", ""),
        // Rails, Django REST framework, Spring, FHIR, NexHealth.
        told(404, "application/json", r#"{"status":404,"error":"Not Found"}"#),
        told(
            404,
            "application/json",
            r#"{"detail":"No Order matches the given query."}"#,
        ),
        told(404, "application/problem+json", r#"{"title":"Not Found","status":404}"#),
        told(
            410,
            "application/fhir+json;charset=UTF-8",
            r#"{"resourceType":"OperationOutcome","issue":[{"code":"deleted"}]}"#,
        ),
        told(
            404,
            "application/vnd.Nexhealth+json;version=2",
            r#"{"code":false,"data":null}"#,
        ),
        told(404, "text/html; charset=UTF-8", r#"{"error":"no such order"}"#),
        // Express's `sendStatus` and `send`, which calls any text a page.
        told(404, "text/plain; charset=utf-8", "Not Found"),
        told(404, "text/html; charset=utf-8", "No such order"),
        told(404, "", "no such order"),
    ] {
        let answered = asked(&answer, None).await.unwrap();
        assert_eq!(answered.fact, Fact::Absent, "{answer:?}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_from_the_api_is_never_absent() {
    let cases = [
        (told(404, "text/html", NGINX), "a page for people"),
        (told(410, "text/html", NGINX), "a page for people"),
        (told(404, "text/html; charset=utf-8", EXPRESS), "a page for people"),
        (told(404, "text/plain", NGINX), "a page for people"),
        (told(404, "application/json", NGINX), "a page for people"),
        (told(404, "application/xhtml+xml", "<p>gone</p>"), "a page for people"),
        (
            told(
                404,
                "application/xml",
                "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code></Error>",
            ),
            "no JSON",
        ),
        (told(404, "application/json", r#"{"detail": "Not"#), "no JSON"),
        (told(404, "application/octet-stream", "gone"), "no JSON"),
        (told(404, "text/plain", &"not found ".repeat(60)), "no JSON"),
        // Traefik and Go's router; ingress-nginx; Kong: none of them found anybody to ask.
        (
            told(404, "text/plain; charset=utf-8", "404 page not found\n"),
            "a router",
        ),
        (told(404, "text/plain", "default backend - 404"), "a router"),
        (
            told(
                404,
                "application/json",
                r#"{"message":"no Route matched with those values"}"#,
            ),
            "a router",
        ),
    ];
    for (answer, words) in cases {
        // A condition that speaks of JSON is not met by what is none.
        for absent_when in [None, Some("body == null || has(body.error) || body.code == 5")] {
            let error = asked(&answer, absent_when).await.unwrap_err();
            assert_eq!(error.reason, UpstreamReason::BadAnswer);
            let reason = error.detail;
            assert!(reason.contains(words), "{words}: {reason}");
            assert!(
                reason.contains("base_url") && reason.contains("absent_when"),
                "{reason}"
            );
            assert!(!reason.contains("nginx") && !reason.contains("orders/1"), "{reason}");
            assert!(reason.contains(&answer.status.to_string()), "{reason}");
        }
    }
}

#[tokio::test]
async fn a_playbook_may_name_the_words_of_an_api_that_says_no_in_a_page() {
    let says_no = Some("status == 404 && body.contains('No such order')");
    let flask = told(
        404,
        "text/html",
        "<!doctype html><title>404</title><p>No such order</p>",
    );
    assert_eq!(asked(&flask, says_no).await.unwrap().fact, Fact::Absent);
    let go = told(404, "text/plain", "404 page not found\n");
    assert_eq!(
        asked(&go, Some("body == '404 page not found\\n'")).await.unwrap().fact,
        Fact::Absent
    );
    let proxy = told(404, "text/html", NGINX);
    assert!(
        asked(&proxy, says_no)
            .await
            .unwrap_err()
            .detail
            .contains("a page for people")
    );
}
