//! Webhooks of the real binary: who may end a session, what that does, and what nobody can make it do.

use std::{fmt::Write as _, fs, path::Path, process::Command, time::Duration};

use aftercall::{db::Db, pipeline::Pipeline, store::ends};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Client, Method, RequestBuilder};
use ring::hmac;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::world::{API, Answer, client, command, token};
use crate::{
    on_each_engine,
    support::{
        bakery::{ordered, question},
        child::Child,
        state::{broken_promises, count, verdict},
        until,
        world::{Plan, World, idle},
    },
};

on_each_engine! {
    a_session_that_a_webhook_ended_is_judged_without_resting_and_once,
    one_that_only_a_webhook_knows_is_shown_everywhere_until_its_traces_come,
    each_vendors_event_ends_its_call_and_its_other_events_end_nothing,
    who_does_not_know_the_secret_ends_nothing_and_learns_nothing,
    hostile_requests_are_answered_and_nothing_of_them_is_logged,
}

const SECRET: &str = "a secret of the first source, long enough";
const OLD: &str = "the secret before, which is still good for now";
const OTHERS: &str = "a secret of another source, which is not ours";
const VAPI: &str = "a secret that vapi names in a header of it";
const RETELL: &str = "key_0123456789abcdef0123456789ab";
const TWILIO: &str = "0123456789abcdef0123456789abcdef";
const URL: &str = "https://aftercall.example/api/v1/sources/calls/webhooks/twilio";

/// The source `calls`, whose sessions rest before they are over, with every webhook, and a source beside it.
fn plan() -> Plan {
    let mut webhooks = String::new();
    for (shape, secrets, more) in [
        ("generic", "['file:old', 'file:secret']", String::new()),
        (
            "vapi",
            "['file:vapi']",
            "session_id = '/message/call/metadata/session'".to_owned(),
        ),
        ("retell", "['file:retell']", String::new()),
        ("twilio", "['file:twilio']", format!("url = '{URL}'")),
    ] {
        writeln!(
            webhooks,
            "[[source.webhook]]\nshape = '{shape}'\nsecrets = {secrets}\n{more}"
        )
        .unwrap();
    }
    let others = "[[source]]\nname = 'others'\npath = 'bundle.jsonl'\nenabled = false\nplaybook = './bakery.toml'
        [[source.webhook]]\nsecrets = ['file:others']\n";
    Plan::of(&[ordered("s-1"), question("a/b")])
        .set("source", "settle", "'idle'")
        .files(&[
            ("secret", SECRET),
            ("old", OLD),
            ("vapi", VAPI),
            ("retell", RETELL),
            ("twilio", TWILIO),
            ("others", OTHERS),
        ])
        .append(&webhooks)
        .append(others)
}

/// The API and the pipeline beside it.
struct Told {
    world: World,
    db: Db,
    pipeline: Pipeline,
    api: Child,
    url: String,
    token: String,
    client: Client,
}

impl Told {
    async fn start() -> Self {
        let world = plan().start().await;
        let db = world.db().await;
        let pipeline = world.pipeline(&db).await;
        until("both sessions are seen", async || {
            let seen = "SELECT COUNT(*) AS n FROM sessions WHERE state = 'open' AND waiting_until IS NOT NULL";
            count(&db, seen).await == 2
        })
        .await;
        let token = token(&world, "reader", "read", &[]).await;
        let api = Child::start(&world, &[&API[..], &["-vvv", "--log", "trace"]].concat(), &[]);
        let url = api.url().await;
        Self {
            world,
            db,
            pipeline,
            api,
            url,
            token,
            client: client(),
        }
    }

    async fn now(&self) -> i64 {
        self.db.now().await.unwrap().timestamp()
    }

    fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> RequestBuilder {
        let url = format!("{}/api/v1/sources/{path}", self.url);
        self.client.request(Method::POST, url).body(body.into())
    }

    /// A generic request, as it is signed at this second.
    fn signed(&self, secret: &str, source: &str, id: &str, body: &str, at: i64) -> RequestBuilder {
        let signature = hex(secret, &format!("{at}\n{source}\n{id}\n{body}"));
        self.post(&format!("{source}/sessions/{}/ended", encoded(id)), body)
            .header("aftercall-timestamp", at)
            .header("aftercall-signature", format!("v1={signature}"))
    }

    async fn end(&self, id: &str) -> Value {
        let at = self.now().await;
        Answer::of(self.signed(SECRET, "calls", id, "{}", at)).await.is(200)
    }

    /// The same, sent byte by byte.
    async fn by_hand(&self, id: &str) -> String {
        let at = self.now().await;
        let signature = hex(SECRET, &format!("{at}\ncalls\n{id}\n"));
        let address = self.url.strip_prefix("http://").unwrap();
        let mut connection = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "POST /api/v1/sources/calls/sessions/{}/ended HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\
             Aftercall-Timestamp: {at}\r\nAftercall-Signature: v1={signature}\r\n\r\n",
            encoded(id)
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// A request whose body never comes, from somebody who knows no secret.
    async fn of_slow_body(&self) -> String {
        let address = self.url.strip_prefix("http://").unwrap();
        let mut connection = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "POST /api/v1/sources/calls/webhooks/vapi HTTP/1.1\r\nHost: {address}\r\nContent-Length: 100\r\nConnection: close\r\n\
             X-Vapi-Secret: x\r\n\r\n{{"
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("{}/api/v1{path}", self.url);
        Answer::of(self.client.request(Method::GET, url).bearer_auth(&self.token))
            .await
            .is(200)
    }

    /// What the figures say of requests to `calls`.
    async fn events(&self, shape: &str, outcome: &str) -> u64 {
        let totals = ends::totals(&self.db).await.unwrap();
        let of_it = totals
            .iter()
            .filter(|line| (&*line.source, &*line.shape, &*line.outcome) == ("calls", shape, outcome));
        of_it.map(|line| line.events).sum()
    }

    /// A form as Twilio sends and signs it.
    fn of_twilio(&self, form: &[(&str, &str)], query: &str) -> RequestBuilder {
        let text = form
            .iter()
            .fold(format!("{URL}{query}"), |text, (name, value)| text + name + value);
        let signature = STANDARD.encode(tag(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, TWILIO, &text));
        let body: Vec<String> = form
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        self.post(&format!("calls/webhooks/twilio{query}"), body.join("&"))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-twilio-signature", signature)
    }

    async fn stop(self) {
        self.pipeline.shutdown().await;
        self.api.signal(Signal::TERM);
        let ended = self.api.ended().await;
        assert_eq!(ended.status.code(), Some(0), "{ended}");
    }
}

fn tag(algorithm: hmac::Algorithm, secret: &str, text: &str) -> Vec<u8> {
    let key = hmac::Key::new(algorithm, secret.as_bytes());
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn hex(secret: &str, text: &str) -> String {
    tag(hmac::HMAC_SHA256, secret, text)
        .iter()
        .fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        })
}

fn encoded(id: &str) -> String {
    id.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").unwrap();
        }
        encoded
    })
}

async fn a_session_that_a_webhook_ended_is_judged_without_resting_and_once() {
    let told = Told::start().await;
    let at = told.now().await;
    let ended = || told.signed(SECRET, "calls", "s-1", r#"{"reason": "hung up"}"#, at);
    let first = Answer::of(ended()).await.is(200);
    assert_eq!(first, json!({"source": "calls", "session_id": "s-1"}));
    for _ in 0..3 {
        assert_eq!(
            Answer::of(ended()).await.is(200),
            first,
            "sent again, it is answered alike"
        );
    }
    // Exchanging secrets: signed with both, or with the old one alone.
    let body = "";
    let both = told.post("calls/sessions/a%2Fb/ended", body);
    let both = both.header("aftercall-timestamp", at).header(
        "aftercall-signature",
        [OTHERS, OLD]
            .map(|secret| format!("v1={}", hex(secret, &format!("{at}\ncalls\na/b\n{body}"))))
            .join(", "),
    );
    assert_eq!(Answer::of(both).await.is(200)["session_id"], "a/b");

    let why = told.get("/why/s-1").await;
    assert_eq!(why["state"], "settled", "{why}");
    told.db.advance_clock(Duration::from_secs(31)).await.unwrap();
    idle(&told.pipeline).await;
    assert_eq!(verdict(&told.db, "s-1").await.0, "pass");
    assert_eq!(count(&told.db, "SELECT COUNT(*) AS n FROM verdicts").await, 2);
    let shown = told.get("/sessions/calls/s-1").await;
    let events: Vec<&Value> = shown["timeline"].as_array().unwrap().iter().collect();
    let over: Vec<&&Value> = events.iter().filter(|event| event["what"] == "told_over").collect();
    assert_eq!(over.len(), 1, "{shown}");
    assert_eq!(over[0]["detail"], "generic: hung up");

    // After the verdict it is known, and nothing is done.
    told.end("s-1").await;
    told.db.advance_clock(Duration::from_mins(10)).await.unwrap();
    told.pipeline.look_now().await.unwrap();
    idle(&told.pipeline).await;
    assert_eq!(count(&told.db, "SELECT COUNT(*) AS n FROM verdicts").await, 2);
    for (outcome, events) in [("called_for", 2), ("repeated", 3), ("judged", 1), ("refused", 0)] {
        assert_eq!(told.events("generic", outcome).await, events, "{outcome}");
    }
    let audit = "SELECT COUNT(*) AS n FROM audit_log WHERE actor = 'webhook:calls' AND action = 'end_session'";
    assert_eq!(count(&told.db, audit).await, 3);
    assert_eq!(broken_promises(&told.db).await, Vec::<String>::new());
    told.stop().await;
}

async fn one_that_only_a_webhook_knows_is_shown_everywhere_until_its_traces_come() {
    let told = Told::start().await;
    told.end("late").await;
    let line = command(&told.world, &["sessions", "--waiting-for", "not in traces"]).await;
    assert_eq!(line["sessions"][0]["session_id"], "late", "{line}");
    assert_eq!(line["sessions"][0]["observations"], 0, "{line}");
    let why = told.get("/why/late").await;
    assert_eq!(why["reasons"][0]["code"], "not_in_traces", "{why}");
    let shown = told.get("/sessions/calls/late").await;
    let words: Vec<&str> = shown["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["what"].as_str().unwrap())
        .collect();
    assert_eq!(words, ["told_over"], "{shown}");
    let coverage = async || {
        let page = told.get("/coverage").await;
        let calls = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|item| item["source"] == "calls");
        let calls = calls.unwrap().clone();
        let sum: u64 = ["pass", "partial", "fail", "skipped", "error", "waiting"]
            .iter()
            .map(|key| calls[key].as_u64().unwrap())
            .sum();
        assert_eq!(
            (&calls["seen"], &calls["unexplained"]),
            (&json!(sum), &json!(0)),
            "{calls}"
        );
        let all = calls["remainders"].as_array().unwrap().clone();
        let left = all
            .into_iter()
            .find(|left| left["reason"].as_str().unwrap().starts_with("not in traces"));
        left.map(|left| left["reason"].as_str().unwrap().to_owned())
    };
    assert!(coverage().await.unwrap().contains("has arrived yet"));
    told.db.advance_clock(Duration::from_hours(25)).await.unwrap();
    told.pipeline.look_now().await.unwrap();
    idle(&told.pipeline).await;
    assert!(coverage().await.unwrap().contains("no trace of it has arrived within"));
    assert_eq!(
        count(&told.db, "SELECT COUNT(*) AS n FROM verdicts WHERE session_id = 'late'").await,
        0
    );

    told.world.append(&ordered("late").lines());
    told.pipeline.look_now().await.unwrap();
    until("it is settled by the scan that sees it", async || {
        let settled = "SELECT COUNT(*) AS n FROM sessions WHERE session_id = 'late' AND state = 'settled'";
        count(&told.db, settled).await == 1
    })
    .await;
    told.db.advance_clock(Duration::from_secs(31)).await.unwrap();
    idle(&told.pipeline).await;
    assert_eq!(
        count(&told.db, "SELECT COUNT(*) AS n FROM verdicts WHERE session_id = 'late'").await,
        1
    );
    assert_eq!(coverage().await, None);
    assert_eq!(broken_promises(&told.db).await, Vec::<String>::new());
    told.stop().await;
}

/// What Twilio says of a call, in the order in which it signs.
fn callback(status: &str) -> [(&str, &str); 5] {
    [
        ("AccountSid", "AC00000000000000000000000000000001"),
        ("CallSid", "CA00000000000000000000000000000001"),
        ("CallStatus", status),
        ("From", "+15005550006"),
        ("Timestamp", "Mon, 21 Sep 2026 13:33:20 +0000"),
    ]
}

async fn each_vendors_event_ends_its_call_and_its_other_events_end_nothing() {
    let told = Told::start().await;
    let report = json!({"message": {
        "timestamp": 1_790_000_000_000_u64, "type": "end-of-call-report", "endedReason": "customer-ended-call",
        "startedAt": "2026-09-21T13:30:00.000Z", "cost": 0.12,
        "call": {"id": "7420f27a-30fd-4f49-a995-5549ae7cc00d", "type": "webCall", "metadata": {"session": "s-1"}},
        "artifact": {"transcript": "AI: Hello.\nUser: A cake, please.", "messages": [{"role": "bot", "message": "Hello."}]},
    }});
    let vapi = |body: &Value| {
        told.post("calls/webhooks/vapi", body.to_string())
            .header("x-vapi-secret", VAPI)
    };
    let heard = Answer::of(vapi(&report)).await.is(200);
    assert_eq!(heard, json!({"source": "calls", "session_id": "s-1"}));
    let other = json!({"message": {"type": "status-update", "status": "in-progress", "call": {"id": "7420"}}});
    assert_eq!(Answer::of(vapi(&other)).await.is(200)["session_id"], Value::Null);
    let mut nameless = report.clone();
    nameless["message"]["call"]["metadata"] = Value::Null;
    let refused = Answer::of(vapi(&nameless)).await;
    refused.is_problem(422, "bad_body");
    assert!(refused.text.contains("/message/call/metadata/session"), "{refused}");

    let retell = async |event: &str| {
        let body = json!({"event": event, "call": {
            "call_type": "phone_call", "call_id": "a/b", "agent_id": "oBeDLoLOeuAbiuaMFXRtDOLriTJ5tSxD", "call_status": "ended",
            "start_timestamp": 1_789_999_000_000_u64, "disconnection_reason": "user_hangup", "transcript": "…",
        }})
        .to_string();
        let at = told.db.now().await.unwrap().timestamp_millis();
        let signature = format!("v={at},d={}", hex(RETELL, &format!("{body}{at}")));
        Answer::of(
            told.post("calls/webhooks/retell", body)
                .header("x-retell-signature", signature),
        )
        .await
        .is(200)
    };
    assert_eq!(retell("call_started").await["session_id"], Value::Null);
    assert_eq!(retell("call_ended").await["session_id"], "a/b");
    assert_eq!(
        retell("call_ended").await["session_id"],
        "a/b",
        "signed anew, it is the same event"
    );
    assert_eq!(retell("call_analyzed").await["session_id"], "a/b");

    let twilio = async |status: &str, query: &str| Answer::of(told.of_twilio(&callback(status), query)).await.is(200);
    for other in ["ringing", "busy", "failed", "no-answer", "canceled"] {
        assert_eq!(twilio(other, "").await["session_id"], Value::Null, "{other}");
    }
    for _ in 0..2 {
        assert_eq!(
            twilio("completed", "").await["session_id"],
            "CA00000000000000000000000000000001"
        );
    }
    assert_eq!(
        twilio("completed", "?x=1%2F2").await["session_id"],
        "CA00000000000000000000000000000001"
    );

    for (shape, outcome, events) in [
        ("vapi", "called_for", 1),
        ("vapi", "ignored", 1),
        ("vapi", "unreadable", 1),
        ("retell", "ignored", 1),
        ("retell", "called_for", 1),
        ("retell", "repeated", 1),
        ("retell", "under_way", 1),
        ("twilio", "ignored", 5),
        ("twilio", "not_in_traces", 1),
        ("twilio", "repeated", 2),
    ] {
        assert_eq!(told.events(shape, outcome).await, events, "{shape} {outcome}");
    }
    let metrics = format!("{}/metrics", told.url);
    let metrics = Answer::of(told.client.request(Method::GET, metrics)).await.text;
    let line = "aftercall_webhook_events_total{source=\"calls\",shape=\"twilio\",outcome=\"not_in_traces\"} 1";
    assert!(metrics.contains(line), "{metrics}");
    told.db.advance_clock(Duration::from_secs(31)).await.unwrap();
    idle(&told.pipeline).await;
    assert_eq!(count(&told.db, "SELECT COUNT(*) AS n FROM verdicts").await, 2);
    told.stop().await;
}

async fn who_does_not_know_the_secret_ends_nothing_and_learns_nothing() {
    let told = Told::start().await;
    let at = told.now().await;
    let by = |secret: &str, source: &str| told.signed(secret, source, "s-1", "{}", at);
    let mut said = Vec::new();
    for request in [
        by("a secret that is nobody's, and long enough", "calls"),
        by(OTHERS, "calls"),
        by(SECRET, "others"),
        by(SECRET, "nosuch"),
        by(SECRET, "calls%2Fx"),
        by("", "nosuch"),
        by("", "calls"),
        told.post("calls/webhooks/nosuch", "{}")
            .header("aftercall-signature", "v1=00")
            .header("aftercall-timestamp", at),
        told.post("calls/webhooks/generic", "{}")
            .header("aftercall-signature", "v1=00")
            .header("aftercall-timestamp", at),
        told.post("others/webhooks/vapi", "{}").header("x-vapi-secret", VAPI),
        told.post("others/webhooks/vapi", "{}").header("x-vapi-secret", ""),
    ] {
        let refused = Answer::of(request).await;
        refused.is_problem(401, "invalid_signature");
        assert!(
            refused.header("www-authenticate").starts_with("Aftercall-Signature"),
            "{refused}"
        );
        said.push(refused.text);
    }
    said.dedup();
    assert_eq!(said.len(), 1, "which of them exists is not said: {said:?}");
    for late in [-301, -100_000, 302, 100_000] {
        // Of this moment: time goes by between two requests.
        let at = told.db.now().await.unwrap().timestamp();
        let refused = Answer::of(told.signed(SECRET, "calls", "s-1", "{}", at + late)).await;
        refused.is_problem(401, "invalid_signature");
        assert!(
            refused.text.contains("5 minutes") && refused.text.contains("clocks"),
            "{refused}"
        );
    }
    // What was signed for one session ends no other, and a token is no signature.
    let signed = told.signed(SECRET, "calls", "s-1", "{}", at).build().unwrap();
    let elsewhere = told
        .post("calls/sessions/a%2Fb/ended", "{}")
        .headers(signed.headers().clone());
    Answer::of(elsewhere).await.is_problem(401, "invalid_signature");
    let operate = token(&told.world, "operator", "operate", &[]).await;
    let with_token = told.post("calls/sessions/s-1/ended", "{}").bearer_auth(&operate);
    Answer::of(with_token).await.is_problem(401, "no_signature");
    let twice = told
        .signed(SECRET, "calls", "s-1", "{}", at)
        .header("aftercall-timestamp", at);
    Answer::of(twice).await.is_problem(401, "no_signature");

    let told_of = "SELECT COUNT(*) AS n FROM session_ends";
    assert_eq!(count(&told.db, told_of).await, 0);
    assert_eq!(
        count(&told.db, "SELECT COUNT(*) AS n FROM sessions WHERE told_at IS NOT NULL").await,
        0
    );
    until("refusals are counted", async || {
        Answer::of(by(OTHERS, "calls"))
            .await
            .is_problem(401, "invalid_signature");
        told.events("generic", "refused").await > 0
    })
    .await;
    // The window is of the database's clock, and a signature of another time is not taken for a wrong one.
    told.db.advance_clock(Duration::from_hours(1)).await.unwrap();
    until("what is too old is counted", async || {
        let old = Answer::of(told.signed(SECRET, "calls", "s-1", "{}", at)).await;
        old.is_problem(401, "invalid_signature");
        told.events("generic", "stale").await > 0
    })
    .await;
    let log = told.api.err();
    for said in [" s before the database's clock", "is its secret the sender's?"] {
        assert!(log.contains(said), "{said}: {log}");
    }
    told.end("s-1").await;
    told.stop().await;
}

async fn hostile_requests_are_answered_and_nothing_of_them_is_logged() {
    const MARK: &str = "XmarkX";
    let told = Told::start().await;
    let at = told.now().await;
    // A client takes `..` for a way, however it is written: it comes by hand.
    assert!(told.by_hand("..").await.contains(r#""session_id":"..""#));
    for id in ["a/../b", "é 100%", "a?b#c", "%2e", &MARK.repeat(80)] {
        let heard = Answer::of(told.signed(SECRET, "calls", id, "", at)).await.is(200);
        assert_eq!(heard["session_id"], *id);
    }
    for id in [
        "a\u{0}b",
        "a\nb",
        "\u{7f}",
        "\u{85}",
        &"x".repeat(513),
        &MARK.repeat(2_000),
    ] {
        let refused = Answer::of(told.signed(SECRET, "calls", id, "", at)).await;
        refused.is_problem(422, "bad_body");
        assert!(!refused.text.contains(MARK), "{refused}");
    }
    let not_utf8 = told
        .post("calls/sessions/%FF/ended", "")
        .header("aftercall-timestamp", at)
        .header("aftercall-signature", "v1=00");
    Answer::of(not_utf8).await.is_problem(422, "bad_path");
    for body in [
        format!("{{\"{MARK}\": 1}}"),
        format!("{{\"reason\": \"{MARK}"),
        format!("\"{MARK}\""),
        "[".repeat(1_000_000),
        "\u{0}".to_owned(),
    ] {
        let refused = Answer::of(told.signed(SECRET, "calls", "s-1", &body, at)).await;
        refused.is_problem(422, "bad_body");
        assert!(!refused.text.contains(MARK), "{refused}");
    }
    let vapi = |body: String| told.post("calls/webhooks/vapi", body).header("x-vapi-secret", VAPI);
    for body in [
        format!("{{\"message\": {}", "{\"call\":".repeat(200_000)),
        format!("{{\"message\": {{\"type\": \"end-of-call-report\"}}}} {MARK}"),
    ] {
        Answer::of(vapi(body)).await.is_problem(422, "bad_body");
    }
    let whole = |length: usize| {
        let transcript = MARK.repeat(length / MARK.len());
        json!({"message": {"type": "end-of-call-report", "call": {"metadata": {"session": "s-1"}}, "artifact": {"transcript": transcript}}})
            .to_string()
    };
    assert_eq!(Answer::of(vapi(whole(5_000_000))).await.is(200)["session_id"], "s-1");
    // What is too large is not read to its end, so that it may break off before it is answered.
    for request in [
        vapi(whole(6_000_000)),
        vapi(whole(50_000_000)),
        told.signed(SECRET, "calls", "s-1", &" ".repeat(50_000_000), at),
    ] {
        if let Ok(answer) = request.send().await {
            assert_eq!(answer.status().as_u16(), 413);
        }
    }
    // A form that nobody signed is small before it is looked at, and says nothing of whether it was.
    let twilio = |source: &str, body: String| {
        told.post(&format!("{source}/webhooks/twilio"), body)
            .header("x-twilio-signature", "AAAA")
    };
    let mut said = Vec::new();
    for source in ["calls", "others", "nosuch"] {
        for body in ["a&".repeat(30_000), "a&".repeat(900), "%".to_owned()] {
            let refused = Answer::of(twilio(source, body)).await;
            refused.is_problem(401, "invalid_signature");
            said.push(refused.text);
        }
        if let Ok(answer) = twilio(source, "a&".repeat(40_000)).send().await {
            assert_eq!(answer.status().as_u16(), 413);
        }
    }
    said.dedup();
    assert_eq!(said.len(), 1, "{said:?}");
    let nameless = &callback("completed")[1..];
    let refused = Answer::of(told.of_twilio(nameless, "")).await;
    refused.is_problem(422, "bad_body");
    assert!(refused.text.contains("AccountSid"), "{refused}");
    assert!(told.of_slow_body().await.contains("did not arrive within 5 s"));
    // Not signed at all, it is not read.
    let unsigned = told.post("calls/webhooks/vapi", whole(50_000_000));
    if let Ok(answer) = unsigned.send().await {
        assert_eq!(answer.status().as_u16(), 401);
    }
    told.end("s-1").await;
    let log = told.api.err();
    for secret in [MARK, SECRET, OLD, VAPI] {
        assert!(!log.contains(secret) && !told.api.out().contains(secret), "{secret}");
    }
    assert!(!log.contains("ERROR"), "{log}");
    told.stop().await;
}

/// The example of the documentation, run as it stands there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_example_ends_a_session() {
    let told = Told::start().await;
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/webhooks.md")).unwrap();
    let from = document.split("<!-- example -->\n```sh\n").nth(1).unwrap();
    let script = from.split("```").next().unwrap().to_owned();
    for program in ["openssl", "curl"] {
        if Command::new(program).arg("--version").output().is_err() {
            println!("SKIPPED http::webhooks::the_documented_example_ends_a_session: there is no {program}");
            return;
        }
    }
    let url = told.url.clone();
    let ran = tokio::task::spawn_blocking(move || {
        let mut shell = Command::new("sh");
        shell
            .args(["-euc", &script])
            .env("AFTERCALL", &url)
            .env("WEBHOOK_SECRET", SECRET);
        shell.output().unwrap()
    })
    .await
    .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let heard: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(heard, json!({"source": "calls", "session_id": "a/b"}));
    assert_eq!(told.events("generic", "called_for").await, 1);
    told.stop().await;
}
