//! What nobody means but somebody sends: huge, deep and strange values. The work stays bounded by sizes, not by luck.

use super::*;

fn all(left: &Value, right: &Value) -> Vec<Comparison> {
    let names = Nicknames::from([("robert".to_owned(), vec!["bob".to_owned()])]);
    let compared = |rule: &Rule| compare(rule, Context::new(&names), left, right);
    rules().iter().map(compared).collect()
}

#[test]
fn a_megabyte_of_text_is_read_once_or_not_at_all() {
    let digits = json!("1".repeat(1 << 20));
    let words = json!("monday at 3 or ".repeat(70_000));
    let brackets = json!("[".repeat(1 << 20));
    let marks = json!("e\u{301}".repeat(300_000));
    for left in [&digits, &words, &brackets, &marks] {
        for right in [&digits, &words, &brackets, &marks, &json!(null)] {
            for compared in all(left, right) {
                assert!(!compared.why.is_empty());
            }
        }
    }
    assert_eq!(by("text", words.clone(), words), Match::Same);
    // Too long for a name, a phone, an amount or a date, and never half read as one.
    let name = |last: &str| json!(format!("{}{last}", "Ana ".repeat(1000)));
    assert_eq!(by("name", name("Lee"), name("Kim")), Match::Different);
    assert_eq!(by("money", digits.clone(), json!(1)), Match::Undecided);
    assert_eq!(by("phone", digits, json!("4125550142")), Match::Undecided);
}

#[test]
fn elements_are_compared_each_with_each_only_as_far_as_their_size_allows() {
    let names = Nicknames::new();
    let context = Context::new(&names);
    let set = Rule::Set(Box::new(Rule::Text));
    let big = |c: &str| {
        Value::from(
            (0..100)
                .map(|at| format!("{at}{}", c.repeat(10_000)))
                .collect::<Vec<_>>(),
        )
    };
    // Equal ones find each other without it, in any order.
    let mut turned = big("x").as_array().cloned().unwrap();
    turned.reverse();
    assert_eq!(compare(&set, context, &big("x"), &json!(turned)).outcome, Match::Same);
    let compared = compare(&set, context, &big("x"), &big("X"));
    assert_eq!(compared.outcome, Match::Undecided);
    assert_eq!(compared.why, "too many different elements to compare each with each");
    // The same number of short ones is compared.
    let small = |c: &str| Value::from((0..100).map(|at| format!("{at}{c}")).collect::<Vec<_>>());
    assert_eq!(compare(&set, context, &small("x"), &small("X")).outcome, Match::Same);
}

#[test]
fn what_is_nested_too_deep_is_undecided() {
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    for compared in all(&nested(1000), &nested(1000)) {
        assert_eq!(
            (compared.outcome, compared.why.as_str()),
            (Match::Undecided, "nested too deep to be compared")
        );
    }
    for compared in all(&nested(90), &nested(90)) {
        assert_ne!(compared.why, "nested too deep to be compared");
    }
}

#[test]
fn strange_characters_neither_hide_a_difference_nor_make_one() {
    for (left, right) in [
        ("Zoë Lee", "Zoe\u{308} LEE"),
        ("\u{202b}דנה לוי\u{202c}", "דנה לוי"),
        ("דָּנָה לוי", "דנה לוי"),
        ("مُحَمَّد", "محمد"),
        ("Ana\u{0}Lee", "Ana Lee"),
        ("\u{feff}Ana\u{200b} Lee\u{ad}", "Ana Lee"),
        ("ΣΟΦΟΣ", "σοφος"),
        ("İnci", "inci"),
        ("STRASSE", "straße"),
    ] {
        for rule in ["text", "name"] {
            assert_eq!(
                by(rule, json!(left), json!(right)),
                Match::Same,
                "{rule} {left} / {right}"
            );
        }
    }
    for (left, right) in [
        ("דנה לוי", "דנה כהן"),
        ("कि", "का"),
        ("Ana Lee", "Anna Lee"),
        ("ガ", "カ゚x"),
    ] {
        for rule in ["text", "name"] {
            assert_eq!(
                by(rule, json!(left), json!(right)),
                Match::Different,
                "{rule} {left} / {right}"
            );
        }
    }
}

#[test]
fn numbers_that_are_none_are_no_amounts() {
    for text in ["NaN", "inf", "-Infinity", "1e999", "0x10", "١٢", "--", "$", "."] {
        assert_ne!(by("money", json!(text), json!(10)), Match::Same, "{text}");
        assert_ne!(by("money", json!(10), json!(text)), Match::Same, "{text}");
    }
    assert_eq!(by("money", json!(1e308), json!(-1e308)), Match::Different);
    assert_ne!(by("instant", json!(i64::MIN), json!("2026-03-11")), Match::Same);
}
