use super::*;

fn faults(text: &str) -> Vec<String> {
    match Playbook::parse("playbooks/x.toml", text) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_playbooks_that_ship_hold_no_fault() {
    for (name, text) in Playbook::BUILT_IN {
        assert_eq!(faults(text), Vec::<String>::new(), "{name}");
        let playbook = Playbook::built_in(name).unwrap();
        assert_eq!(playbook.head.name, name);
        assert_eq!(playbook.reference().hash.len(), 64);
        assert!(!playbook.http_lookups(playbook.systems().first().unwrap()).is_empty());
    }
    assert!(Playbook::built_in("nothing").is_none());
}

#[test]
fn a_playbook_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Playbook>();
}

const BROKEN: &str = r#"[playbook]
name = "x"
version = "one"
timezone = "Mars/Olympus"
colour = "red"

[[tool]]
name = "schedule"
action = "$.imput.action"
[tool.actions]
book = []

[[tool]]
name = "schedule"

[[intent]]
name = "booking"
verify = "yes"
tools = ["schedule.bok"]
calls_for = [{ operation = "creat", record = "apointment" }]

[[claim]]
id = "book"
tool = "shedule"
operation = "create"
when = "output.ok =="
each = "$.output[["
record = "appointment"
[claim.fields]
strat = "$.output.start"

[[record]]
kind = "appointment"
system = "practice"
[record.lookup]
path = "/{{ session }/x"
[[record.field]]
name = "start"
compare = "instnat"

[[expert]]
id = "e"
when = "verdit.status == 'fail'"
prompt = "p"
"#;

#[test]
fn every_fault_is_reported_at_once_with_line_reason_and_suggestion() {
    let found = faults(BROKEN);
    for expected in [
        "x.toml:3: [playbook]: version: must be a whole number, not string",
        "x.toml:4: [playbook]: timezone: unknown time zone \"Mars/Olympus\"",
        "x.toml:5: [playbook]: unknown key \"colour\"",
        "x.toml:9: [[tool]] schedule: action: `$.imput.action` begins with \"imput\", which does not exist here (did you mean \"input\"?)",
        "x.toml:14: [[tool]] schedule: name: \"schedule\" is defined twice",
        "x.toml:18: [[intent]] booking: verify: must be true or false, not string",
        "x.toml:19: [[intent]] booking: tools: tool \"schedule\" has no action \"bok\" (did you mean \"book\"?)",
        "x.toml:20: [[intent]] booking: calls_for: operation: unknown operation \"creat\" (did you mean \"create\"?)",
        "x.toml:20: [[intent]] booking: calls_for: unknown record \"apointment\" (did you mean \"appointment\"?)",
        "x.toml:24: [[claim]] book: unknown tool \"shedule\" (did you mean \"schedule\"?)",
        "x.toml:26: [[claim]] book: when: not a CEL expression",
        "x.toml:27: [[claim]] book: each: not a JSONPath",
        "x.toml:30: [[claim]] book: fields: record \"appointment\" has no field \"strat\" (did you mean \"start\"?)",
        "x.toml:36: [[record]] appointment: lookup: path: not a template",
        "x.toml:39: [[record]] appointment: field start: compare: unknown comparison \"instnat\" (did you mean \"instant\"?)",
        "x.toml:43: [[expert]] e: when: CEL variable \"verdit\" does not exist here (did you mean \"verdict\"?)",
    ] {
        assert!(
            found.iter().any(|fault| fault.contains(expected)),
            "{expected}\nin\n{}",
            found.join("\n")
        );
    }
}

fn orders(lookup: &str) -> String {
    format!(
        "[playbook]\nname = \"x\"\nversion = 1\n[[record]]\nkind = \"order\"\nsystem = \"till\"\n[record.lookup]\n{lookup}\n"
    )
}

#[test]
fn a_lookup_is_asked_for_in_one_way() {
    for (lookup, expected) in [
        (
            "sql = \"SELECT 1\"\npath = \"/x\"",
            "x.toml:7: [[record]] order: lookup: has both `path`",
        ),
        (
            "",
            "x.toml:7: [[record]] order: lookup: needs `path` (systems of kind http) or `sql`",
        ),
        (
            "pth = \"/x\"",
            "x.toml:8: [[record]] order: lookup: unknown key \"pth\" (did you mean \"path\"?)",
        ),
        (
            "sql = \"SELCT 1\"",
            "x.toml:8: [[record]] order: lookup: sql: begins with \"SELCT\": only a SELECT, or a WITH … SELECT, is sent (did you mean \"SELECT\"?)",
        ),
        (
            "sql = \"\"\"\nSELECT 1;\nDROP TABLE orders\"\"\"",
            "x.toml:8: [[record]] order: lookup: sql: line 2 of the statement: holds several statements",
        ),
        (
            "sql = \"SELECT 1\"\nmethod = \"GET\"",
            "x.toml:9: [[record]] order: lookup: unknown key \"method\"",
        ),
        ("sql = 7", "x.toml:8: [[record]] order: lookup: sql: must be a text"),
    ] {
        let found = faults(&orders(lookup));
        assert!(
            found.iter().any(|fault| fault.contains(expected)),
            "{lookup}: {expected}\nin\n{}",
            found.join("\n")
        );
    }
}

#[test]
fn parameters_of_a_statement_are_what_the_lookup_needs() {
    let text =
        orders("sql = \"SELECT * FROM o WHERE id = :id AND shop = :shop AND s = :session AND at > :shop::date\"");
    let playbook = Playbook::parse("x.toml", &text).unwrap();
    let record = playbook.record("order").unwrap();
    assert!(record.needs_id && record.names_session);
    assert_eq!(record.needs, ["shop"]);
    assert!(playbook.http_lookups("till").is_empty());
    assert!(!playbook.sql_lookups("till")["order"].is_list);

    let searched = format!(
        "{}[[search]]\nname = \"by_name\"\nrecord = \"order\"\nsystem = \"till\"\neach = \"$[*]\"\n[search.keys]\nwho = \"subject\"\n\
         [search.lookup]\nsql = \"SELECT id FROM o WHERE who = :who AND shop = :shop\"\n",
        orders("sql = \"SELECT 1 WHERE :id = '1'\"")
    );
    assert_eq!(
        faults(&searched),
        ["playbooks/x.toml:9: [[search]] by_name: lookup: it names \"shop\", which `keys` does not define"]
    );
    let playbook = Playbook::parse("x.toml", &searched.replace(" AND shop = :shop", "")).unwrap();
    assert!(playbook.sql_lookups("till")["by_name"].is_list);
}

#[test]
fn broken_toml_is_reported_with_its_line() {
    let found = faults("[playbook]\nname = \"x\nversion = 1\n");
    assert!(
        found
            .iter()
            .any(|fault| fault.starts_with("playbooks/x.toml:2: TOML: ")),
        "{found:?}"
    );
    assert!(!faults("").is_empty());
    assert!(!faults("\u{0}\u{1b}[31m ĳ = ").is_empty());
}

#[test]
fn experts_know_who_was_chosen_before_them() {
    let playbook = Playbook::built_in("orthodontics").unwrap();
    let case = serde_json::json!({
        "failed_steps": [], "missing_steps": [], "completed_steps": ["slots"], "required_steps": 1, "errors": [],
        "intent": "booking", "verdict": {"status": "fail", "severity": "high"},
    });
    let chosen: Vec<&str> = playbook
        .experts_for(&case)
        .iter()
        .map(|expert| expert.id.as_str())
        .collect();
    assert_eq!(chosen, ["system_prompt"]);
}
