//! Requests as vendors send them, and as nobody should.

use std::collections::BTreeMap;

use super::{proof::Refusal, *};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A request that is put together.
#[derive(Clone, Default)]
struct Sent {
    headers: BTreeMap<&'static str, String>,
    source: &'static str,
    session_id: &'static str,
    url: &'static str,
    query: Option<&'static str>,
    body: String,
}

impl Sent {
    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.insert(name, value.into());
        self
    }

    fn ask<T>(&self, ask: impl FnOnce(&Request<'_>) -> T) -> T {
        let header = |name: &str| self.headers.get(name).map(String::as_str);
        ask(&Request {
            header: &header,
            source: self.source,
            session_id: self.session_id,
            url: self.url,
            query: self.query,
            body: self.body.as_bytes(),
        })
    }

    fn is_by(&self, shape: Shape, secret: &str) -> bool {
        self.ask(|request| proof(shape, request).is_ok_and(|proof| proof.is_by(secret)))
    }

    fn refused(&self, shape: Shape) -> Option<Refusal> {
        self.ask(|request| proof(shape, request).err())
    }

    fn says(&self, shape: Shape, at: Option<&str>) -> Result<Event, Unreadable> {
        let at = at.map(|at| at.parse().unwrap());
        self.ask(|request| read(shape, at.as_ref(), request))
    }

    fn ends(&self, shape: Shape, at: Option<&str>) -> End {
        match self.says(shape, at) {
            Ok(Event::Ended(end)) => end,
            other => panic!("{other:?}"),
        }
    }
}

fn hmac_hex(secret: &str, text: &str) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    crate::domain::hex::hex(ring::hmac::sign(&key, text.as_bytes()).as_ref())
}

fn generic() -> Sent {
    let sent = Sent {
        source: "calls",
        session_id: "a/b",
        body: "{}".to_owned(),
        ..Sent::default()
    };
    let signature = hmac_hex(SECRET, "1790000000\ncalls\na/b\n{}");
    sent.with("aftercall-timestamp", "1790000000")
        .with("aftercall-signature", format!("v1={signature}"))
}

#[test]
fn a_generic_signature_is_over_the_time_the_source_the_session_and_the_body() {
    assert!(generic().is_by(Shape::Generic, SECRET));
    let signed_at = generic().ask(|request| proof(Shape::Generic, request).unwrap().signed_at());
    assert_eq!(signed_at, DateTime::from_timestamp(1_790_000_000, 0));
    for other in [
        generic().with("aftercall-timestamp", "1790000001"),
        Sent {
            source: "others",
            ..generic()
        },
        Sent {
            session_id: "a/c",
            ..generic()
        },
        Sent {
            body: "{ }".to_owned(),
            ..generic()
        },
    ] {
        assert!(!other.is_by(Shape::Generic, SECRET));
    }
    for secret in ["", "0123456789abcdef0123456789abcdeF"] {
        assert!(!generic().is_by(Shape::Generic, secret), "{secret}");
    }
    let signed_by_nobody = hmac_hex("", "1790000000\ncalls\na/b\n{}");
    let by_nobody = generic().with("aftercall-signature", format!("v1={signed_by_nobody}"));
    assert!(!by_nobody.is_by(Shape::Generic, ""));
}

#[test]
fn one_of_several_signatures_is_enough_while_secrets_are_exchanged() {
    let good = generic().headers["aftercall-signature"].clone();
    let old = format!("v1={}", "0".repeat(64));
    let both = generic().with("aftercall-signature", format!("{old}, {good}"));
    assert!(both.is_by(Shape::Generic, SECRET));
    let buried = format!("{}{good}", format!("{old},").repeat(8));
    assert!(
        !generic()
            .with("aftercall-signature", buried)
            .is_by(Shape::Generic, SECRET)
    );
    for bad in ["", "v1=", "v1=xy", "v1=0", "v2=00", "00", "v1=+1+1", "v1=ä"] {
        let refused = generic().with("aftercall-signature", bad).refused(Shape::Generic);
        assert_eq!(refused, Some(Refusal::Malformed("Aftercall-Signature")), "{bad}");
    }
    for bad in ["", "-1", "1e9", "17900000000000", " 1790000000", "١٧٩٠٠٠٠٠٠٠"] {
        let refused = generic().with("aftercall-timestamp", bad).refused(Shape::Generic);
        assert_eq!(refused, Some(Refusal::Malformed("Aftercall-Timestamp")), "{bad}");
    }
}

#[test]
fn what_is_not_signed_says_which_header_is_missing() {
    for shape in Shape::ALL {
        assert!(
            matches!(Sent::default().refused(shape), Some(Refusal::Missing(_))),
            "{shape:?}"
        );
        assert_eq!(Shape::parse(shape.as_str()), Some(shape));
    }
}

#[test]
fn a_signature_holds_for_five_minutes_before_and_after() {
    let at = |second| DateTime::from_timestamp(second, 0).unwrap();
    for (second, fresh) in [(699, false), (700, true), (1_300, true), (1_301, false)] {
        assert_eq!(is_fresh(at(second), at(1_000)), fresh, "{second}");
    }
}

fn vapi() -> Sent {
    Sent {
        body: r#"{"message":{"timestamp":1790000000000,"type":"end-of-call-report","endedReason":"customer-ended-call","endedAt":"2026-09-21T13:33:20.000Z",
            "call":{"id":"7420f27a-30fd-4f49-a995-5549ae7cc00d","type":"inboundPhoneCall","metadata":{"session":"s-1"}},
            "artifact":{"transcript":"AI: Hello.\nUser: \u0000","messages":[{"role":"bot","message":"Hello."}]}}}"#
            .to_owned(),
        ..Sent::default()
    }
}

#[test]
fn a_report_of_vapi_is_proved_by_its_secret_as_a_header_a_bearer_or_an_hmac() {
    let body = vapi().body;
    let over_body = hmac_hex(SECRET, &body);
    let with_time = hmac_hex(SECRET, &format!("1790000000.{body}"));
    for good in [
        vapi().with("x-vapi-secret", SECRET),
        vapi().with("authorization", format!("Bearer {SECRET}")),
        vapi().with("x-vapi-signature", over_body.clone()),
        vapi().with("x-signature", format!("sha256={over_body}")),
        vapi()
            .with("x-signature", with_time.clone())
            .with("x-timestamp", "1790000000"),
    ] {
        assert!(good.is_by(Shape::Vapi, SECRET), "{:?}", good.headers);
        assert!(!good.is_by(Shape::Vapi, "another secret of thirty-two byt"));
    }
    for bad in [
        vapi().with("x-vapi-secret", &SECRET[1..]),
        vapi().with("authorization", format!("Basic {SECRET}")),
        vapi().with("x-signature", with_time.clone()),
        vapi().with("x-signature", with_time).with("x-timestamp", "1790000001"),
    ] {
        assert!(!bad.is_by(Shape::Vapi, SECRET), "{:?}", bad.headers);
    }
}

#[test]
fn a_report_of_vapi_ends_its_call_and_nothing_else_of_vapi_does() {
    let end = vapi().ends(Shape::Vapi, None);
    assert_eq!(end.session_id, "7420f27a-30fd-4f49-a995-5549ae7cc00d");
    assert_eq!(end.ended_at, DateTime::from_timestamp(1_789_997_600, 0));
    assert_eq!(end.reason.as_deref(), Some("customer-ended-call"));
    assert_eq!(
        vapi()
            .ends(Shape::Vapi, Some("/message/call/metadata/session"))
            .session_id,
        "s-1"
    );
    let missing = vapi().says(Shape::Vapi, Some("/message/call/metadata/other"));
    assert_eq!(
        missing,
        Err(Unreadable::NoSession("/message/call/metadata/other".to_owned()))
    );
    for other in [
        r#"{"message":{"type":"status-update","status":"ended"}}"#,
        "{}",
        "[]",
        "1",
    ] {
        let sent = Sent {
            body: other.to_owned(),
            ..Sent::default()
        };
        assert_eq!(sent.says(Shape::Vapi, None), Ok(Event::Other), "{other}");
    }
}

fn retell(event: &str) -> Sent {
    let body = format!(
        r#"{{"event":"{event}","call":{{"call_type":"phone_call","call_id":"Jabr9TXYYJHfvl6Syypi88rdAHYHmcq6","call_status":"ended",
            "metadata":{{"a/b~c":17}},"end_timestamp":1790000000000,"disconnection_reason":"user_hangup","transcript":"…"}}}}"#
    );
    let digest = hmac_hex(SECRET, &format!("{body}1790000001234"));
    let sent = Sent {
        body,
        ..Sent::default()
    };
    sent.with("x-retell-signature", format!("v=1790000001234,d={digest}"))
}

#[test]
fn an_event_of_retell_is_signed_with_its_time_and_ends_its_call() {
    for event in ["call_ended", "call_analyzed"] {
        let sent = retell(event);
        assert!(sent.is_by(Shape::Retell, SECRET) && !sent.is_by(Shape::Retell, "x"));
        let signed_at = sent.ask(|request| proof(Shape::Retell, request).unwrap().signed_at());
        assert_eq!(signed_at, DateTime::from_timestamp_millis(1_790_000_001_234));
        let end = sent.ends(Shape::Retell, None);
        assert_eq!(end.session_id, "Jabr9TXYYJHfvl6Syypi88rdAHYHmcq6");
        assert_eq!(end.ended_at, DateTime::from_timestamp(1_790_000_000, 0));
        assert_eq!(end.reason.as_deref(), Some("user_hangup"));
        assert_eq!(
            sent.ends(Shape::Retell, Some("/call/metadata/a~1b~0c")).session_id,
            "17"
        );
    }
    assert_eq!(retell("call_started").says(Shape::Retell, None), Ok(Event::Other));
    let moved = retell("call_ended").headers["x-retell-signature"].replace("v=1790000001234", "v=1790000001235");
    assert!(
        !retell("call_ended")
            .with("x-retell-signature", moved)
            .is_by(Shape::Retell, SECRET)
    );
    for bad in ["", "v=1,d=", "d=00,v=1", "v=x,d=00", "0000"] {
        let refused = retell("call_ended")
            .with("x-retell-signature", bad)
            .refused(Shape::Retell);
        assert_eq!(refused, Some(Refusal::Malformed("X-Retell-Signature")), "{bad}");
    }
}

/// The example of Twilio's own documentation, with its signature.
fn twilio() -> Sent {
    let sent = Sent {
        url: "https://mycompany.com/myapp.php?foo=1&bar=2",
        body: "CallSid=CA1234567890ABCDE&Caller=%2B12349013030&Digits=1234&From=%2B12349013030&To=%2B18005551212"
            .to_owned(),
        ..Sent::default()
    };
    sent.with("x-twilio-signature", "0/KCTR6DLpKmkAf8muzZqo1nDgQ=")
}

#[test]
fn twilios_own_example_is_good_and_no_other_address_order_or_parameter_is() {
    const TOKEN: &str = "12345";
    assert!(twilio().is_by(Shape::Twilio, TOKEN));
    let body = twilio().body;
    let reordered = body.split('&').rev().collect::<Vec<_>>().join("&");
    for good in [
        Sent {
            body: reordered,
            ..twilio()
        },
        Sent {
            url: "https://mycompany.com:443/myapp.php?foo=1&bar=2",
            ..twilio()
        },
        Sent {
            url: "https://mycompany.com/myapp.php",
            query: Some("foo=1&bar=2"),
            ..twilio()
        },
    ] {
        assert!(good.is_by(Shape::Twilio, TOKEN), "{} {}", good.url, good.body);
    }
    for bad in [
        Sent {
            url: "https://mycompany.com/other.php?foo=1&bar=2",
            ..twilio()
        },
        Sent {
            query: Some("foo=2"),
            ..twilio()
        },
        Sent {
            body: format!("{body}&CallStatus=completed"),
            ..twilio()
        },
    ] {
        assert!(!bad.is_by(Shape::Twilio, TOKEN), "{} {}", bad.url, bad.body);
    }
    let no_form = Sent {
        body: "%".to_owned(),
        ..twilio()
    };
    assert!(matches!(no_form.refused(Shape::Twilio), Some(Refusal::Malformed(_))));
}

#[test]
fn a_status_of_twilio_ends_its_call_when_that_was_one() {
    let status = |status: &str| Sent {
        body: format!(
            "AccountSid=AC1&CallSid=CA1&CallStatus={status}&Timestamp=Mon%2C+21+Sep+2026+13%3A33%3A20+%2B0000"
        ),
        query: Some("session=a%2Fb"),
        ..Sent::default()
    };
    let end = status("completed").ends(Shape::Twilio, None);
    assert_eq!(
        (end.session_id.as_str(), end.reason.as_deref()),
        ("CA1", Some("completed"))
    );
    assert_eq!(end.ended_at, DateTime::from_timestamp(1_789_997_600, 0));
    let named = status("completed").ends(Shape::Twilio, Some("/session"));
    assert_eq!(named.session_id, "a/b");
    // Under way, or never answered by an agent.
    for other in [
        "initiated",
        "ringing",
        "in-progress",
        "answered",
        "busy",
        "failed",
        "no-answer",
        "canceled",
    ] {
        assert_eq!(status(other).says(Shape::Twilio, None), Ok(Event::Other), "{other}");
    }
    let missing = status("completed").says(Shape::Twilio, Some("/call"));
    assert_eq!(missing, Err(Unreadable::NoSession("/call".to_owned())));
}

#[test]
fn a_form_of_twilio_without_what_every_callback_has_ends_nothing_whatever_its_address_says() {
    let form = ["AccountSid=AC1", "CallSid=CA1", "CallStatus=completed"];
    for (index, name) in ["AccountSid", "CallSid", "CallStatus"].into_iter().enumerate() {
        let mut rest = form.to_vec();
        rest.remove(index);
        for body in [rest.join("&"), format!("{}&{name}=", rest.join("&"))] {
            let sent = Sent {
                body,
                query: Some("AccountSid=AC1&CallSid=CA1&CallStatus=completed"),
                ..Sent::default()
            };
            assert_eq!(sent.says(Shape::Twilio, None), Err(Unreadable::NoParameter(name)));
        }
    }
}

#[test]
fn a_form_of_more_parameters_than_any_callback_has_is_none() {
    let of = |parameters: usize| Sent {
        body: "a&".repeat(parameters),
        ..twilio()
    };
    assert_eq!(of(1_000).refused(Shape::Twilio), None);
    let refused = of(1_001).refused(Shape::Twilio);
    assert_eq!(refused, Some(Refusal::Malformed("X-Twilio-Signature")));
}

#[test]
fn a_generic_request_may_say_when_and_why() {
    let said = |body: &str| Sent {
        body: body.to_owned(),
        ..generic()
    };
    let nothing = End {
        session_id: "a/b".to_owned(),
        ended_at: None,
        reason: None,
    };
    for body in ["", " \n", "{}", r#"{"reason": "\u0000"}"#] {
        assert_eq!(said(body).ends(Shape::Generic, None), nothing, "{body:?}");
    }
    let end = said(r#"{"ended_at": "2026-09-21T13:33:20Z", "reason": "hung up"}"#).ends(Shape::Generic, None);
    assert_eq!(end.ended_at, DateTime::from_timestamp(1_789_997_600, 0));
    assert_eq!(end.reason.as_deref(), Some("hung up"));
    let long = said(&format!(r#"{{"reason": "{}"}}"#, "x".repeat(1_000)));
    assert_eq!(long.ends(Shape::Generic, None).reason.unwrap().len(), 100);
    for body in [
        "[]",
        "null",
        "{",
        r#"{"ended": 1}"#,
        r#"{"ended_at": "today"}"#,
        "[\"2026-09-21T13:33:20Z\", null]",
    ] {
        assert!(
            matches!(said(body).says(Shape::Generic, None), Err(Unreadable::Body(_))),
            "{body}"
        );
    }
    let secret = said(r#"{"ended_at": "call me at 555-0100"}"#)
        .says(Shape::Generic, None)
        .unwrap_err();
    assert!(!secret.to_string().contains("555"), "{secret}");
}

#[test]
fn an_id_that_cannot_be_one_is_refused() {
    let long: &'static str = Box::leak("x".repeat(LONGEST_ID + 1).into_boxed_str());
    for id in ["", "a\u{0}", "a\nb", "\u{1b}[2J", long] {
        let sent = Sent {
            session_id: id,
            ..generic()
        };
        assert_eq!(sent.says(Shape::Generic, None), Err(Unreadable::BadSession), "{id:?}");
    }
    for id in ["..", "a/b", "é 100%", &long[1..]] {
        let sent = Sent {
            session_id: Box::leak(id.to_owned().into_boxed_str()),
            ..generic()
        };
        assert_eq!(sent.ends(Shape::Generic, None).session_id, id);
    }
}

#[test]
fn json_that_is_broken_or_deep_is_no_event_and_no_overflow() {
    let deep = "[".repeat(1_000_000);
    let deep_in_place = format!(r#"{{"message":{}"#, r#"{"call":"#.repeat(200_000));
    for broken in [
        "{\"message\":",
        "{\"message\":{\"type\":\"end-of-call-report\"}} x",
        "\u{0}",
        &deep,
        &deep_in_place,
    ] {
        let sent = Sent {
            body: broken.to_owned(),
            ..Sent::default()
        };
        for shape in [Shape::Vapi, Shape::Retell] {
            assert!(
                matches!(sent.says(shape, None), Err(Unreadable::Body(_))),
                "{} letters",
                broken.len()
            );
        }
    }
    let deep_and_whole = format!(
        r#"{{"message":{{"x":{}{},"type":"end-of-call-report","call":{{"id":"c"}}}}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let sent = Sent {
        body: deep_and_whole,
        ..Sent::default()
    };
    assert_eq!(
        sent.ends(Shape::Vapi, None).session_id,
        "c",
        "what is not looked at may be anything"
    );
}

#[test]
fn a_pointer_finds_what_stands_there_and_takes_no_container_for_a_text() {
    let found = |at: &str, json: &str| at.parse::<Pointer>().unwrap().find(json.as_bytes()).unwrap();
    let json =
        r#"{"a": [{"b": "x"}, {"b": "y"}], "": "empty", "n": -3, "t": true, "f": 1.5, "z": null, "d": 1, "d": 2}"#;
    for (at, value) in [
        ("/a/1/b", Some("y")),
        ("/a/2/b", None),
        ("/a/b", None),
        ("/a", None),
        ("/a/0", None),
        ("/n", Some("-3")),
        ("/t", None),
        ("/f", None),
        ("/z", None),
        ("/z/a", None),
        ("/d", Some("2")),
        ("/n/0", None),
    ] {
        assert_eq!(found(at, json).as_deref(), value, "{at}");
    }
    for bad in ["", "/", "a", "/a~", "/a~2"] {
        assert_eq!(bad.parse::<Pointer>(), Err(NoPointer), "{bad}");
    }
}
