//! Sessions of a made-up bakery (`bakery.toml`): one builder for each way a call can go, with what the kitchen holds
//! afterwards and what a language model would read in it.

use std::fmt::Write as _;

use aftercall::sandbox::{
    language_model::{Asked, Reply, ScriptedModel},
    records::Records,
};
use serde_json::{Value, json};

/// What the caller opens with, so that a scripted model knows whose transcript it was given.
fn marker(id: &str) -> String {
    format!("This is {id} speaking.")
}

/// Letters in no order that a compression finds.
pub(crate) fn noise(length: usize) -> String {
    let mut seed = 1_u64;
    let mut letter = || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + u8::try_from((seed >> 33) % 26).unwrap())
    };
    (0..length).map(|_| letter()).collect()
}

/// A record that the kitchen or the till holds after the session.
#[derive(Debug, Clone)]
struct Held {
    kind: &'static str,
    id: String,
    record: Value,
    after_looks: u64,
}

/// One session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) id: String,
    /// One observation each, as JSON Lines hold them.
    pub(crate) observations: Vec<Value>,
    held: Vec<Held>,
    reading: Value,
}

impl Session {
    /// Nothing said yet.
    pub(crate) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            observations: Vec::new(),
            held: Vec::new(),
            reading: json!({
                "intent": "unknown", "confidence": 0.9, "summary": "", "details": [], "requests": [], "statements": [],
            }),
        }
    }

    /// One turn of the caller and the agent's answer.
    pub(crate) fn turn(mut self, caller: &str, agent: &str) -> Self {
        let turn = self.turns() + 1;
        let words = if turn == 1 {
            format!("{} {caller}", marker(&self.id))
        } else {
            caller.to_owned()
        };
        let mut root = self.observation(turn, "root", "SPAN", "agent");
        root["isRootObservation"] = true.into();
        root["input"] = json!({"question": words});
        root["output"] = agent.into();
        self.observations.push(root);
        self
    }

    /// A tool call of the last turn.
    pub(crate) fn call(mut self, tool: &str, input: Value, output: Value) -> Self {
        let turn = self.turns();
        let step = format!("call{}", self.observations.len());
        let mut call = self.observation(turn, &step, "TOOL", tool);
        call["parentObservationId"] = format!("{}-t{turn}-root", self.id).into();
        call["input"] = input;
        call["output"] = output;
        self.observations.push(call);
        self
    }

    /// A record that is there afterwards; the first looks at it find nothing.
    pub(crate) fn holds(mut self, kind: &'static str, id: &str, record: Value, after_looks: u64) -> Self {
        self.held.push(Held {
            kind,
            id: id.to_owned(),
            record,
            after_looks,
        });
        self
    }

    /// What a language model reads in it.
    pub(crate) fn reads(mut self, reading: Value) -> Self {
        self.reading = reading;
        self
    }

    fn turns(&self) -> usize {
        self.observations
            .iter()
            .filter(|observation| observation["name"] == "agent")
            .count()
    }

    fn observation(&self, turn: usize, step: &str, kind: &str, name: &str) -> Value {
        let second = turn * 10 + self.observations.len();
        let time = |second: usize| format!("2026-05-04T10:{:02}:{:02}.000Z", second / 60, second % 60);
        json!({
            "id": format!("{}-t{turn}-{step}", self.id),
            "traceId": format!("{}-t{turn}", self.id),
            "sessionId": self.id,
            "type": kind,
            "name": name,
            "level": "DEFAULT",
            "startTime": time(second),
            "endTime": time(second + 1),
        })
    }

    /// Its lines of a bundle.
    pub(crate) fn lines(&self) -> String {
        let mut lines = String::new();
        for observation in &self.observations {
            writeln!(lines, "{observation}").unwrap();
        }
        lines
    }
}

fn request(cake: &str) -> Value {
    json!({
        "operation": "create", "record": "order", "subject": null, "id": null,
        "fields": [{"name": "cake", "value": cake}],
        "quote": format!("order a {cake} cake"), "turn": 1, "withdrawn": null,
    })
}

fn said_done(cake: &str) -> Value {
    json!({
        "says": "done", "operation": "create", "record": "order", "subject": null,
        "fields": [{"name": "cake", "value": cake}], "quote": format!("Your {cake} cake is ordered"), "turn": 2,
    })
}

/// The reading of a session that orders these cakes and was told that they are ordered.
pub(crate) fn orders(cakes: &[&str]) -> Value {
    json!({
        "intent": "order", "confidence": 0.95, "summary": "The caller orders cakes.", "details": [],
        "requests": cakes.iter().map(|cake| request(cake)).collect::<Vec<_>>(),
        "statements": cakes.iter().map(|cake| said_done(cake)).collect::<Vec<_>>(),
    })
}

fn place(cake: &str) -> Value {
    json!({"action": "place", "cake": cake})
}

/// The caller orders one cake, the tool says that it is placed, the agent says so.
pub(crate) fn one_order(id: &str) -> Session {
    Session::new(id)
        .turn("I would like to order a plum cake.", "Your plum cake is ordered.")
        .call(
            "order_cake",
            json!({"action": "ask"}),
            json!({"cakes": ["plum", "nut"]}),
        )
        .call("order_cake", place("plum"), json!({"orderId": format!("o-{id}")}))
        .reads(orders(&["plum"]))
}

/// Ordered, and the kitchen has it: `pass`.
pub(crate) fn ordered(id: &str) -> Session {
    one_order(id).holds(
        "orders",
        &format!("o-{id}"),
        json!({"id": format!("o-{id}"), "cake": "plum"}),
        0,
    )
}

/// Ordered, and the kitchen shows it only after some looks: `pass`.
pub(crate) fn late(id: &str, looks: u64) -> Session {
    one_order(id).holds(
        "orders",
        &format!("o-{id}"),
        json!({"id": format!("o-{id}"), "cake": "plum"}),
        looks,
    )
}

/// The tool says that it is placed, the kitchen has never heard of it: `fail`.
pub(crate) fn vanished(id: &str) -> Session {
    one_order(id)
}

/// The kitchen has another cake: `fail`.
pub(crate) fn other_cake(id: &str) -> Session {
    one_order(id).holds(
        "orders",
        &format!("o-{id}"),
        json!({"id": format!("o-{id}"), "cake": "nut"}),
        0,
    )
}

/// The tool failed, and the agent says that it is done: `fail`, the worst there is.
pub(crate) fn hidden_error(id: &str) -> Session {
    Session::new(id)
        .turn("I would like to order a plum cake.", "Your plum cake is ordered.")
        .call("order_cake", place("plum"), json!({"error": "oven broken"}))
        .reads(orders(&["plum"]))
}

/// Two cakes, of which the kitchen has one: `partial`.
pub(crate) fn half(id: &str) -> Session {
    let words = "I would like to order a plum cake, and to order a nut cake.";
    Session::new(id)
        .turn(words, "Your plum cake is ordered. Your nut cake is ordered.")
        .call("order_cake", place("plum"), json!({"orderId": format!("o1-{id}")}))
        .call("order_cake", place("nut"), json!({"orderId": format!("o2-{id}")}))
        .holds(
            "orders",
            &format!("o1-{id}"),
            json!({"id": format!("o1-{id}"), "cake": "plum"}),
            0,
        )
        .reads(orders(&["plum", "nut"]))
}

/// Ordered and paid: the kitchen and the till both have it: `pass`.
pub(crate) fn ordered_and_paid(id: &str) -> Session {
    ordered(id)
        .call("pay", json!({"amount": 20}), json!({"invoiceId": format!("i-{id}")}))
        .holds(
            "invoices",
            &format!("i-{id}"),
            json!({"id": format!("i-{id}"), "amount": 20}),
            0,
        )
}

/// Ordered and paid, and both the kitchen and the till show it only after some looks: `pass`.
pub(crate) fn late_at_both(id: &str, looks: u64) -> Session {
    late(id, looks)
        .call("pay", json!({"amount": 20}), json!({"invoiceId": format!("i-{id}")}))
        .holds(
            "invoices",
            &format!("i-{id}"),
            json!({"id": format!("i-{id}"), "amount": 20}),
            looks,
        )
}

/// A question: `skipped`, nothing to verify.
pub(crate) fn question(id: &str) -> Session {
    Session::new(id).turn("When do you close today?", "At six.").reads(json!({
        "intent": "question", "confidence": 0.9, "summary": "A question.", "details": [], "requests": [], "statements": [],
    }))
}

/// Nobody can tell what it was about: `skipped`, unknown intent.
pub(crate) fn unclear(id: &str) -> Session {
    Session::new(id).turn("Hello? Hello?", "Hello.")
}

/// One session for each way a call can go.
pub(crate) fn every_way() -> Vec<Session> {
    vec![
        ordered("s-ordered"),
        ordered_and_paid("s-paid"),
        vanished("s-vanished"),
        other_cake("s-other"),
        hidden_error("s-hidden"),
        half("s-half"),
        question("s-question"),
        unclear("s-unclear"),
    ]
}

/// Sessions of every kind, in an order that differs from their kinds'.
pub(crate) fn mixed(sessions: u64) -> Vec<Session> {
    (0..sessions)
        .map(|number| {
            let id = format!("s-{number:04}");
            match number * 7_919 % 6 {
                0 => ordered_and_paid(&id),
                1 => vanished(&id),
                2 => other_cake(&id),
                3 => half(&id),
                4 => question(&id),
                _ => ordered(&id),
            }
        })
        .collect()
}

/// What kitchen and till hold after the sessions.
pub(crate) fn records(sessions: &[Session]) -> Records {
    let mut records = Records::new();
    for session in sessions {
        for held in &session.held {
            records = records.appearing(&session.id, held.kind, &held.id, held.record.clone(), held.after_looks);
        }
    }
    records
}

/// The same as `records_after.json` of a folder holds it.
pub(crate) fn records_after(sessions: &[Session]) -> Value {
    let of_session = |session: &Session| {
        let held = session.held.iter();
        let records = held.map(|held| (format!("{}/{}", held.kind, held.id), held.record.clone()));
        (session.id.clone(), Value::Object(records.collect()))
    };
    Value::Object(sessions.iter().map(of_session).collect())
}

/// A model that reads each session as it says, and knows why each failed.
pub(crate) fn model(sessions: &[Session]) -> ScriptedModel {
    let sessions = sessions.to_vec();
    ScriptedModel::new(move |asked| answer(&sessions, asked))
}

/// What that model answers.
pub(crate) fn answer(sessions: &[Session], asked: &Asked) -> Reply {
    let Some(session) = sessions
        .iter()
        .find(|session| asked.text.contains(&marker(&session.id)))
    else {
        return Reply::Error(
            500,
            "no_script".to_owned(),
            "the script knows no such session".to_owned(),
        );
    };
    if asked.schema.as_deref() == Some("root_cause") {
        return Reply::json(json!({
            "owner": "tool", "failure": "order_lost", "step": null, "cause": "The tool lost the order.", "confidence": 60,
            "quotes": [{"at": "turn 1", "text": "I would like to order a plum cake"}],
            "suggestion": "Read the order back.", "diff": null,
        }));
    }
    Reply::json(session.reading.clone())
}
