use proptest::prelude::*;
use serde_json::json;

use super::*;

mod hostile;
mod properties;
mod spoken;

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
    compare(&rule, Context::new(&nicknames), &expected, &actual).outcome
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
        ("ONeil", "O'Neil"),
        ("Anne-Marie Lee", "Anne Marie Lee"),
        ("Nguyễn Văn An", "nguyen van an"),
        ("Robert Miller Jr.", "Robert Miller"),
        ("Łukasz Żak", "Lukasz Zak"),
    ] {
        assert_eq!(by("name", json!(left), json!(right)), Match::Same, "{left} / {right}");
    }
    for (left, right) in [
        ("Ana", "Dana Okafor"),
        ("Ines Okafor", "Ines Reyes"),
        ("Ines", ""),
        ("Teo Teo", "Teo Lind"),
        ("Robert Miller Jr.", "Robert Miller Sr."),
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
    for (left, right, outcome) in [
        ("412.555.0142 ext. 9", "+1 412 555 0142", Match::Same),
        ("tel:+1-412-555-0142", "4125550142", Match::Same),
        ("011 44 20 7946 0018", "+44 (0)20 7946 0018", Match::Same),
        ("011 44 20 7946 0018", "+44 20 7946 0019", Match::Different),
        // Without its area code it may be any.
        ("555-0142", "+1 412 555 0142", Match::Undecided),
        ("+1 412 555 0142", "555-0142", Match::Undecided),
        ("+1 412 555 0142", "", Match::Different),
    ] {
        assert_eq!(by("phone", json!(left), json!(right)), outcome, "{left} / {right}");
    }
    let by_region = |code: &str, left: &str, right: &str| {
        let rule = Rule::simple("phone", new_york(), code, Duration::ZERO, 0.0).unwrap();
        compare(&rule, Context::new(&Nicknames::new()), &json!(left), &json!(right)).outcome
    };
    assert_eq!(by_region("49", "030 1234567", "+49 (0)30 1234567"), Match::Same);
    assert_eq!(by_region("49", "030 1234567", "0049 30 1234567"), Match::Same);
    assert_eq!(by_region("39", "06 1234567", "+39 06 1234567"), Match::Same);
    assert_eq!(by_region("7", "8 (912) 345-67-89", "+7 912 345-67-89"), Match::Same);
    assert_eq!(by_region("44", "020 7946 0018", "+44 20 7946 0019"), Match::Different);
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
        Context::new(&Nicknames::new()),
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
    for (left, right, outcome) in [
        ("1 250,50 €", "1'250.50", Match::Same),
        ("$1,250", "1250.00 USD", Match::Same),
        ("(30.00)", "-30", Match::Same),
        ("$-30", "-$30", Match::Same),
        ("50 cents", "$0.50", Match::Same),
        ("0.125", ".125 USD", Match::Same),
        ("30 EUR", "$30", Match::Different),
        ("pre-tax 30", "-30", Match::Different),
        ("1.250.500", "1250500", Match::Same),
        // Two numbers are no amount.
        ("5 dollars and 20 cents", "$5.20", Match::Undecided),
        ("$30 to $40", "$30", Match::Undecided),
        ("$30", "", Match::Different),
    ] {
        assert_eq!(by("money", json!(left), json!(right)), outcome, "{left} / {right}");
    }
}

#[test]
fn lists_keep_their_order_sets_do_not_and_objects_are_compared_by_what_was_asked() {
    let asked = json!([{"flight_number": "HAT1"}, {"flight_number": "HAT2"}]);
    let there = json!([{"flight_number": "HAT1", "price": 5}, {"flight_number": "hat2", "price": 6}]);
    let turned = json!([{"flight_number": "HAT2"}, {"flight_number": "HAT1"}]);
    let names = Nicknames::new();
    let none = Context::new(&names);
    let list = Rule::List(Box::new(Rule::Value));
    let set = Rule::Set(Box::new(Rule::Value));
    assert_eq!(compare(&list, none, &asked, &there).outcome, Match::Same);
    assert_eq!(compare(&list, none, &turned, &there).outcome, Match::Different);
    assert_eq!(compare(&set, none, &turned, &there).outcome, Match::Same);
    assert_eq!(
        compare(&set, none, &json!([{"flight_number": "HAT1"}]), &there).outcome,
        Match::Different
    );
    let contains = Rule::Contains(Box::new(Rule::Value));
    assert_eq!(
        compare(&contains, none, &json!({"flight_number": "HAT1"}), &there).outcome,
        Match::Same
    );
    let lacks = Rule::Lacks(Box::new(Rule::Value));
    assert_eq!(
        compare(&lacks, none, &json!({"flight_number": "HAT1"}), &there).outcome,
        Match::Different
    );
}

#[test]
fn a_set_is_paired_whatever_its_order() {
    let names = Nicknames::new();
    let none = Context::new(&names);
    let set = Rule::Set(Box::new(Rule::Name));
    // "Ana" fits both, "Ana Kim" only one: the first that fits would be the wrong one.
    let there = json!(["Ana Kim Lee", "Ana Lee"]);
    for asked in [json!(["Ana", "Ana Kim"]), json!(["Ana Kim", "Ana"])] {
        assert_eq!(compare(&set, none, &asked, &there).outcome, Match::Same);
    }
    assert_eq!(
        compare(&set, none, &json!(["Ana Kim", "Ana Kim Lee"]), &there).outcome,
        Match::Different
    );
    // What cannot be told apart may be the one.
    let phones = Rule::Set(Box::new(Rule::Phone { code: "1".into() }));
    let there = json!(["+1 412 555 0142", "555-0143"]);
    let compared = compare(&phones, none, &json!(["412 555 0142", "412 555 0143"]), &there);
    assert_eq!(
        (compared.outcome, compared.why.as_str()),
        (Match::Undecided, "whether expected element 2 is there cannot be told")
    );
    let list = Rule::List(Box::new(Rule::Phone { code: "1".into() }));
    // A later difference outweighs an earlier doubt.
    let compared = compare(
        &list,
        none,
        &json!(["555-0143", "412 555 0143"]),
        &json!(["4125550143", "4125550144"]),
    );
    assert_eq!(
        (compared.outcome, compared.why.as_str()),
        (Match::Different, "element 2: another number")
    );
}

#[test]
fn a_field_that_is_left_blank_says_nothing_and_none_is_none() {
    for rule in ["text", "value", "name", "phone", "instant", "date", "money"] {
        for blank in [json!(null), json!(""), json!("  ")] {
            assert_eq!(by(rule, blank.clone(), json!("x")), Match::Undecided, "{rule}");
            assert_eq!(by(rule, blank.clone(), json!(null)), Match::Same, "{rule}");
            assert_eq!(by(rule, json!("none"), blank.clone()), Match::Same, "{rule}");
            assert_eq!(by(rule, blank.clone(), json!("N/A")), Match::Same, "{rule}");
        }
        for open in ["No preference", "any time", "doesn’t matter", "not specified"] {
            assert_eq!(
                by(rule, json!(open), json!("Dr. Lee")),
                Match::Undecided,
                "{rule} {open}"
            );
        }
    }
    for rule in ["text", "value", "name"] {
        assert_eq!(by(rule, json!("x"), json!(null)), Match::Different, "{rule}");
        assert_eq!(by(rule, json!("none"), json!("x")), Match::Different, "{rule}");
        assert_eq!(by(rule, json!("any"), json!("Any")), Match::Same, "{rule}");
    }
    // Null stands for itself where the letters count.
    assert_eq!(by("exact", json!(null), json!("x")), Match::Different);
    assert_eq!(by("exact", json!("any"), json!("x")), Match::Different);
    assert_eq!(
        by(
            "value",
            json!({"seat": null, "row": 3}),
            json!({"seat": "A", "row": "3"})
        ),
        Match::Same
    );
    let names = Nicknames::new();
    let none = Context::new(&names);
    let set = Rule::Set(Box::new(Rule::Value));
    assert_eq!(compare(&set, none, &json!([]), &json!(["x"])).outcome, Match::Different);
    assert_eq!(
        compare(&set, none, &json!(null), &json!(["x"])).outcome,
        Match::Undecided
    );
    assert_eq!(compare(&set, none, &json!("none"), &json!([])).outcome, Match::Same);
    // A list of one null is no empty list; a text in which nobody sees anything is, as null is.
    for nothing in [json!(null), json!(" "), json!("\u{0}"), json!("\u{200e}")] {
        assert_eq!(
            compare(&set, none, &json!([null]), &nothing).outcome,
            Match::Different,
            "{nothing}"
        );
    }
}

#[test]
fn long_ids_differ_in_their_last_digit_and_codes_are_no_numbers() {
    assert_eq!(
        by("value", json!("9007199254740993"), json!("9007199254740992")),
        Match::Different
    );
    assert_eq!(by("value", json!("007"), json!(7)), Match::Same);
    assert_eq!(by("value", json!("3.0"), json!(3)), Match::Same);
    assert_eq!(by("value", json!("1E5"), json!(100_000)), Match::Different);
    assert_eq!(by("value", json!("NaN"), json!("nan")), Match::Same);
    assert_eq!(by("value", json!("-0"), json!(0)), Match::Same);
}

#[test]
fn a_list_of_a_million_elements_is_refused_instead_of_compared() {
    let long = Value::Array(vec![json!(1); 100_000]);
    let compared = compare(
        &Rule::Set(Box::new(Rule::Value)),
        Context::new(&Nicknames::new()),
        &long,
        &long,
    );
    assert_eq!(compared.outcome, Match::Undecided);
}
