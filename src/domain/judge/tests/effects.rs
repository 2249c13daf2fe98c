//! What an operation does to other records: a loan is listed in the member's account, and leaves the rest of it as it was.

use super::*;

const LIBRARY: &str = r#"
[playbook]
name = "library"
version = 1
description = "Callers borrow books."
timezone = "UTC"

[[tool]]
name = "desk"
match = ["desk"]
action = ["$.input.action"]
writes = ["lend", "move_house", "tidy"]
[tool.actions]
account = []
lend = []
move_house = []
tidy = []

[[intent]]
name = "borrow"
description = "Borrow a book."
calls_for = [{ operation = "create", record = "loan" }]

[[claim]]
id = "account"
tool = "desk"
action = "account"
read = true
record = "account"
record_id = ["$.input.member"]
shows = { paths = ["$.output"] }
[claim.fields]
loans = ["$.output.loans"]

[[claim]]
id = "tidied"
tool = "desk"
action = "tidy"
read = true
record = "account"
record_id = ["$.input.member"]
[claim.fields]
name = ["$.output.name"]

[[claim]]
id = "moved_house"
tool = "desk"
action = "move_house"
operation = "update"
record = "account"
record_id = ["$.input.member"]
error = ["$.output.error"]
[claim.fields]
street = ["$.input.street"]

[[claim]]
id = "lent"
tool = "desk"
action = "lend"
operation = "create"
record = "loan"
record_id = ["$.output.loan"]
error = ["$.output.error"]
[claim.fields]
title = ["$.input.title"]
member = ["$.input.member"]

[[record]]
kind = "loan"
description = "One book lent."
system = "shelf"
id = ["$.loan"]
[record.lookup]
path = "/loans/{{ id }}"
[[record.field]]
name = "title"
description = "of the book"
path = ["$.title"]
compare = "text"
[[record.field]]
name = "member"
description = "who has it"
path = ["$.member"]
compare = "text"

[[record]]
kind = "account"
description = "One member."
system = "shelf"
id = ["$.member"]
[record.lookup]
path = "/accounts/{{ id }}"
[[record.field]]
name = "name"
description = "of the member"
path = ["$.name"]
compare = "text"
[[record.field]]
name = "street"
description = "where the member lives"
path = ["$.street"]
compare = "text"
[[record.field]]
name = "loans"
description = "what the member has"
path = ["$.loans"]
compare = "set"
item = "text"

[[effect]]
id = "loan_in_account"
of = "loan"
operation = "create"
record = "account"
record_id = "$.want.member"
keeps = ["name", "street"]
[effect.fields]
loans = { value = "before.loans + [id]" }
"#;

fn desk(input: Value, output: Value) -> (Value, Value) {
    (input, output)
}

fn account() -> (Value, Value) {
    desk(
        json!({"action": "account", "member": "M1"}),
        json!({"member": "M1", "name": "Ada Lind", "street": "Elm 1", "loans": ["L0"]}),
    )
}

fn lent() -> (Value, Value) {
    desk(
        json!({"action": "lend", "member": "M1", "title": "Emma"}),
        json!({"loan": "L1"}),
    )
}

fn move_house(output: Value) -> (Value, Value) {
    desk(
        json!({"action": "move_house", "member": "M1", "street": "Oak 2"}),
        output,
    )
}

fn looked_at() -> (Value, Value) {
    desk(json!({"action": "tidy", "member": "M1"}), json!({"name": "Ada Lind"}))
}

/// The verdict on these calls, where the account is so.
fn verdict_on(calls: &[(Value, Value)], requests: &Value, street: &str, loans: &Value) -> Verdict {
    let playbook = Playbook::parse("library.toml", LIBRARY).unwrap();
    let mut words = transcript(vec![Caller("Lend me Emma"), Agent("Certainly")]);
    for (input, output) in calls {
        call(&mut words, "desk", input.clone(), output.clone());
    }
    let reading = json!({"intent": "borrow", "confidence": 0.95, "requests": requests});
    let reading = serde_json::from_value(reading).unwrap();
    let case = Case::new(
        &playbook,
        SessionKey::new("bundle", "s/1"),
        words,
        (reading, llm()),
        false,
    );
    let facts = ask(&playbook, &case, |lookup| Fact::Found {
        record: match lookup.record.as_str() {
            "loan" => json!({"loan": "L1", "title": "Emma", "member": "M1"}),
            _ => json!({"member": "M1", "name": "Ada Lind", "street": street, "loans": loans}),
        },
    });
    judge(&playbook, &case, &facts, 1)
}

fn borrow() -> Value {
    json!([{"operation": "create", "record": "loan", "fields": {"title": "Emma", "member": "M1"}, "quote": "Lend me Emma"}])
}

fn and_move() -> Value {
    let mut requests = borrow();
    let also =
        json!({"operation": "update", "record": "account", "id": "M1", "fields": {"street": "Oak 2"}, "quote": "me"});
    requests.as_array_mut().unwrap().push(also);
    requests
}

fn wrong_fields(verdict: &Verdict) -> Vec<&str> {
    let fields = verdict.findings.iter().flat_map(|finding| &finding.fields);
    fields
        .filter(|field| field.outcome == Outcome::Wrong)
        .map(|field| field.name.as_str())
        .collect()
}

#[test]
fn an_operation_changes_what_its_effect_says_and_keeps_the_rest() {
    let calls = [account(), lent()];
    let verdict = verdict_on(&calls, &borrow(), "Elm 1", &json!(["L0", "L1"]));
    assert_eq!(verdict.status, Status::Pass, "{verdict:#?}");
    let verdict = verdict_on(&calls, &borrow(), "Elm 1", &json!(["L0"]));
    assert_eq!(wrong_fields(&verdict), ["loans"]);
    let verdict = verdict_on(&calls, &borrow(), "Oak 2", &json!(["L0", "L1"]));
    assert_eq!(wrong_fields(&verdict), ["street"]);
}

#[test]
fn what_was_there_before_is_what_all_earlier_calls_showed_of_it_not_the_last_one_alone() {
    // The second look at the account shows less of it than the first.
    let calls = [account(), looked_at(), lent()];
    let verdict = verdict_on(&calls, &borrow(), "Elm 1", &json!(["L0"]));
    assert_eq!(wrong_fields(&verdict), ["loans"]);
    let verdict = verdict_on(&calls, &borrow(), "Oak 2", &json!(["L0", "L1"]));
    assert_eq!(wrong_fields(&verdict), ["street"]);
}

#[test]
fn what_another_call_wrote_is_not_kept_whether_it_wrote_before_or_after() {
    let moved = || move_house(json!({"ok": true}));
    for calls in [[account(), moved(), lent()], [account(), lent(), moved()]] {
        let verdict = verdict_on(&calls, &and_move(), "Oak 2", &json!(["L0", "L1"]));
        assert_eq!(verdict.status, Status::Pass, "{verdict:#?}");
        let verdict = verdict_on(&calls, &and_move(), "Oak 2", &json!(["L0"]));
        assert_eq!(
            wrong_fields(&verdict),
            ["loans"],
            "the rest of the account is known still"
        );
    }
}

#[test]
fn a_call_that_failed_says_nothing_of_what_was_there() {
    let calls = [account(), move_house(json!({"error": "no such street"})), lent()];
    let verdict = verdict_on(&calls, &borrow(), "Elm 1", &json!(["L0", "L1"]));
    assert_eq!(verdict.status, Status::Pass, "{verdict:#?}");
    // It was done in spite of its answer.
    let verdict = verdict_on(&calls, &borrow(), "Oak 2", &json!(["L0", "L1"]));
    assert_eq!(wrong_fields(&verdict), ["street"]);
}
