use proptest::prelude::*;
use serde_json::json;

use super::*;

fn new_york() -> Tz {
    chrono_tz::America::New_York
}

fn rules() -> Vec<Rule> {
    let mut rules: Vec<Rule> = Rule::SIMPLE
        .iter()
        .map(|name| Rule::simple(name, new_york(), "1", Duration::from_mins(1), 0.0).unwrap())
        .collect();
    rules.push(Rule::List(Box::new(Rule::Value)));
    rules.push(Rule::Set(Box::new(Rule::Name)));
    rules.push(Rule::Contains(Box::new(Rule::Exact)));
    rules.push(Rule::Lacks(Box::new(Rule::Text)));
    rules
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the cases read better with `json!` in place"
)]
fn by(name: &str, expected: Value, actual: Value) -> Match {
    let rule = Rule::simple(name, new_york(), "1", Duration::ZERO, 0.0).unwrap();
    let mut nicknames = Nicknames::new();
    nicknames.insert("robert".into(), vec!["bob".into(), "rob".into()]);
    compare(&rule, &nicknames, &expected, &actual).outcome
}

#[test]
fn a_first_name_another_order_a_diacritic_and_a_nickname_are_the_same_person() {
    for (left, right) in [
        ("Ines", "Ines Okafor"),
        ("Okafor, Ines", " ines  OKAFOR "),
        ("José García", "Dr. JOSE GARCIA"),
        ("Bob Miller", "Robert Miller"),
        ("Rob", "Bob Miller"),
        ("O’Neil", "O'Neil"),
    ] {
        assert_eq!(by("name", json!(left), json!(right)), Match::Same, "{left} / {right}");
    }
    for (left, right) in [
        ("Ana", "Dana Okafor"),
        ("Ines Okafor", "Ines Reyes"),
        ("", "Ines"),
        ("Teo Teo", "Teo Lind"),
    ] {
        assert_eq!(
            by("name", json!(left), json!(right)),
            Match::Different,
            "{left} / {right}"
        );
    }
    assert_eq!(
        by("name", json!({"first_name": "Mia", "last_name": "Li"}), json!("Mia Li")),
        Match::Same
    );
}

#[test]
fn phones_are_compared_in_e164() {
    assert_eq!(by("phone", json!("(412) 555-0142"), json!("+14125550142")), Match::Same);
    assert_eq!(
        by("phone", json!(4_125_550_142_u64), json!("1-412-555-0142 x9")),
        Match::Same
    );
    assert_eq!(by("phone", json!("4125550142"), json!("4125550143")), Match::Different);
    assert_eq!(
        by("phone", json!("ending in 42"), json!("4125550143")),
        Match::Undecided
    );
}

#[test]
fn instants_agree_across_zones_spellings_and_speech() {
    for (left, right) in [
        ("2026-09-14T15:30:00-04:00", "09/14/2026 03:30:00 PM"),
        ("3/17/2026 9:50:00 AM", "2026-03-17T13:50:00Z"),
        ("2026-03-17T09:50:00", "3/17/2026 9:50 AM"),
        ("Tuesday, March 17 at 9:50 in the morning", "3/17/2026 9:50:00 AM"),
        ("Wednesday, March 18 at 1:20 in the afternoon", "3/18/2026 1:20:00 PM"),
        ("March 18th", "3/18/2026 1:20:00 PM"),
        ("2 pm", "3/18/2026 2:00:00 PM"),
        ("2026-03-18", "3/18/2026 2:00:00 PM"),
        ("12:10 AM", "3/18/2026 12:10:00 AM"),
    ] {
        assert_eq!(
            by("instant", json!(left), json!(right)),
            Match::Same,
            "{left} / {right}"
        );
    }
    for (left, right) in [
        ("2026-09-14T15:30:00-04:00", "09/14/2026 03:31:00 PM"),
        ("March 18 at 2 PM", "3/17/2026 2:00:00 PM"),
        ("Friday at 2 PM", "3/18/2026 3:00:00 PM"),
        ("2026-03-18", "no appointment"),
    ] {
        assert_eq!(
            by("instant", json!(left), json!(right)),
            Match::Different,
            "{left} / {right}"
        );
    }
    assert_eq!(
        by("instant", json!("soon"), json!("3/18/2026 3:00:00 PM")),
        Match::Undecided
    );
}

#[test]
fn a_text_may_carry_its_zone_and_lends_it_to_the_other() {
    for (left, right) in [
        ("2026-03-17T09:50:00-05:00", "3/17/2026 9:50:00 AM [America/Chicago]"),
        ("2026-03-17T10:50:00-04:00", "3/17/2026 9:50:00 AM [America/Chicago]"),
        ("3/17/2026 9:50:00 AM", "3/17/2026 9:50:00 AM [America/Chicago]"),
        ("Tuesday, March 17 at 9:50", "03/17/2026 09:50:00 AM[America/Chicago]"),
        ("2026-03-18T00:30:00-04:00", "3/17/2026 11:30:00 PM [America/Chicago]"),
        (
            "3/18/2026 12:30:00 AM [America/New_York]",
            "3/17/2026 11:30:00 PM [America/Chicago]",
        ),
        (
            "2026-03-17T09:50:00-05:00[America/Chicago]",
            "3/17/2026 9:50:00 AM [America/Chicago]",
        ),
        ("3/17/2026 9:50:00 AM", "3/17/2026 9:50:00 AM [Middle-earth]"),
    ] {
        for (left, right) in [(left, right), (right, left)] {
            assert_eq!(
                by("instant", json!(left), json!(right)),
                Match::Same,
                "{left} / {right}"
            );
        }
    }
    for (left, right) in [
        ("2026-03-17T09:50:00-04:00", "3/17/2026 9:50:00 AM [America/Chicago]"),
        (
            "3/17/2026 9:50:00 AM [America/New_York]",
            "3/17/2026 9:50:00 AM [America/Chicago]",
        ),
        ("2026-03-17T23:30:00-04:00", "3/17/2026 11:30:00 PM [America/Chicago]"),
    ] {
        assert_eq!(
            by("instant", json!(left), json!(right)),
            Match::Different,
            "{left} / {right}"
        );
    }
    assert_eq!(
        by(
            "date",
            json!("08/29/2018"),
            json!("8/29/2018 12:00:00 AM [America/Los_Angeles]")
        ),
        Match::Same
    );
}

#[test]
fn clocks_that_change_are_read_as_people_mean_them() {
    // 2026-03-08 02:00 -> 03:00 and 2026-11-01 02:00 -> 01:00 in New York.
    for (left, right) in [
        ("2026-03-08T01:59:00-05:00", "3/8/2026 1:59:00 AM"),
        ("2026-03-08T03:00:00-04:00", "3/8/2026 3:00:00 AM"),
        ("2026-03-08T07:30:00Z", "3/8/2026 2:30:00 AM"), // a time that does not exist: the hour after
        ("2026-11-01T00:59:00-04:00", "11/1/2026 12:59:00 AM"),
        ("2026-11-01T01:30:00-04:00", "11/1/2026 1:30:00 AM"), // it comes twice, and the text does not say which
        ("2026-11-01T01:30:00-05:00", "11/1/2026 1:30:00 AM"),
        ("2026-11-01T02:00:00-05:00", "11/1/2026 2:00:00 AM"),
        ("2026-07-01T09:00:00-04:00", "7/1/2026 9:00:00 AM"),
        ("2026-12-01T09:00:00-05:00", "12/1/2026 9:00:00 AM"),
    ] {
        assert_eq!(
            by("instant", json!(left), json!(right)),
            Match::Same,
            "{left} / {right}"
        );
    }
    for (left, right) in [
        ("2026-07-01T09:00:00-05:00", "7/1/2026 9:00:00 AM"),
        ("2026-12-01T09:00:00-04:00", "12/1/2026 9:00:00 AM"),
        ("2026-11-01T00:30:00-04:00", "11/1/2026 1:30:00 AM"),
        ("2026-11-01T01:30:00-04:00", "2026-11-01T01:30:00-05:00"),
    ] {
        assert_eq!(
            by("instant", json!(left), json!(right)),
            Match::Different,
            "{left} / {right}"
        );
    }
}

#[test]
fn a_tolerance_reaches_over_midnight() {
    let rule = Rule::Instant {
        zone: new_york(),
        tolerance: Duration::from_mins(5),
    };
    let compared = compare(
        &rule,
        &Nicknames::new(),
        &json!("2026-03-17T23:58:00"),
        &json!("3/18/2026 12:01:00 AM"),
    );
    assert_eq!(compared.outcome, Match::Same);
}

#[test]
fn dates_and_money_are_read_in_every_spelling() {
    assert_eq!(by("date", json!("06/04/2017"), json!("2017-06-04")), Match::Same);
    assert_eq!(by("date", json!("June 4th 2017"), json!("06/04/2017")), Match::Same);
    assert_eq!(by("date", json!("2017-06-05"), json!("06/04/2017")), Match::Different);
    assert_eq!(by("money", json!("$1,250.50"), json!(1250.5)), Match::Same);
    assert_eq!(by("money", json!("1.250,50 EUR"), json!("1250.50")), Match::Same);
    assert_eq!(by("money", json!(-30), json!("$30")), Match::Different);
    assert_eq!(by("money", json!("a lot"), json!(3)), Match::Undecided);
}

#[test]
fn lists_keep_their_order_sets_do_not_and_objects_are_compared_by_what_was_asked() {
    let asked = json!([{"flight_number": "HAT1"}, {"flight_number": "HAT2"}]);
    let there = json!([{"flight_number": "HAT1", "price": 5}, {"flight_number": "hat2", "price": 6}]);
    let turned = json!([{"flight_number": "HAT2"}, {"flight_number": "HAT1"}]);
    let none = Nicknames::new();
    let list = Rule::List(Box::new(Rule::Value));
    let set = Rule::Set(Box::new(Rule::Value));
    assert_eq!(compare(&list, &none, &asked, &there).outcome, Match::Same);
    assert_eq!(compare(&list, &none, &turned, &there).outcome, Match::Different);
    assert_eq!(compare(&set, &none, &turned, &there).outcome, Match::Same);
    assert_eq!(
        compare(&set, &none, &json!([{"flight_number": "HAT1"}]), &there).outcome,
        Match::Different
    );
    let contains = Rule::Contains(Box::new(Rule::Value));
    assert_eq!(
        compare(&contains, &none, &json!({"flight_number": "HAT1"}), &there).outcome,
        Match::Same
    );
    let lacks = Rule::Lacks(Box::new(Rule::Value));
    assert_eq!(
        compare(&lacks, &none, &json!({"flight_number": "HAT1"}), &there).outcome,
        Match::Different
    );
}

#[test]
fn a_list_of_a_million_elements_is_refused_instead_of_compared() {
    let long = Value::Array(vec![json!(1); 100_000]);
    let compared = compare(&Rule::Set(Box::new(Rule::Value)), &Nicknames::new(), &long, &long);
    assert_eq!(compared.outcome, Match::Undecided);
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        "[0-9:/ \\-apmtz+.]{0,22}".prop_map(Value::from),
        "(monday|march|mar|tuesday)? ?[0-9]{1,4}(st|th)? ?[0-9]{1,2}:[0-9]{2} ?(am|pm)?".prop_map(Value::from),
        "[+(]?[0-9 ()-]{0,18}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{0,10}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_two_values_get_an_answer_with_a_reason(left in any_value(), right in any_value()) {
        for rule in rules() {
            let compared = compare(&rule, &Nicknames::new(), &left, &right);
            prop_assert!(!compared.why.is_empty());
        }
    }

    #[test]
    fn scalar_rules_are_symmetric_where_they_decide(left in any_value(), right in any_value()) {
        for name in ["exact", "text", "name", "phone", "instant", "date", "money"] {
            let rule = Rule::simple(name, new_york(), "1", Duration::from_mins(1), 0.0).unwrap();
            if name == "text" && (left.is_object() || left.is_array()) {
                continue; // compared by the expected members
            }
            let there = compare(&rule, &Nicknames::new(), &left, &right).outcome;
            let back = compare(&rule, &Nicknames::new(), &right, &left).outcome;
            prop_assert_eq!(there == Match::Same, back == Match::Same, "{}", name);
        }
    }

    #[test]
    fn a_value_equals_itself_where_it_can_be_compared(value in any_value()) {
        for rule in [Rule::Exact, Rule::Value, Rule::List(Box::new(Rule::Value)), Rule::Set(Box::new(Rule::Value))] {
            prop_assert_eq!(compare(&rule, &Nicknames::new(), &value, &value).outcome, Match::Same);
        }
    }
}
