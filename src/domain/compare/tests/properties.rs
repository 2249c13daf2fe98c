//! What holds for all values: an answer, a reason, both ways alike, and what people overlook changes nothing.

use chrono::{DateTime, Utc};
use unicode_normalization::UnicodeNormalization;

use super::*;

pub(super) fn any_value() -> impl Strategy<Value = Value> {
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
        "(next|this|last|in|end of|the|a)? ?(two|3)? ?(tuesday|week|weeks|days|month|tomorrow|today)( at [0-9]{1,2}| or friday)?".prop_map(Value::from),
        "[$€]?-?[0-9]{1,3}[.,' ]?[0-9]{0,3}[.,]?[0-9]{0,2}( EUR| cents)?".prop_map(Value::from),
        prop::sample::select(vec!["none", "any", "NaN", "inf", "-0", "1e999", "\u{0}", "\u{202e}אבג", "e\u{301}"]).prop_map(Value::from),
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
            for said_at in [None, Some(noon())] {
                let names = Nicknames::new();
                let compared = compare(&rule, Context::new(&names).said_at(said_at), &left, &right);
                prop_assert!(!compared.why.is_empty());
            }
        }
    }

    #[test]
    fn both_ways_agree_where_both_decide(left in any_value(), right in any_value()) {
        let mut tried: Vec<(String, Rule)> = ["exact", "text", "value", "name", "phone", "instant", "date", "money"]
            .into_iter()
            .map(|name| (name.to_owned(), Rule::simple(name, new_york(), "1", Duration::from_mins(1), 0.0).unwrap()))
            .collect();
        tried.push(("list".into(), Rule::List(Box::new(Rule::Text))));
        tried.push(("set".into(), Rule::Set(Box::new(Rule::Name))));
        // Directional by design: of an object only the expected members are compared.
        let nested = |value: &Value| value.is_object() || value.is_array();
        for (name, rule) in tried {
            if matches!(name.as_str(), "text" | "value" | "list") && (nested(&left) || nested(&right)) {
                continue;
            }
            let names = Nicknames::new();
            let context = Context::new(&names).said_at(Some(noon()));
            let there = compare(&rule, context, &left, &right).outcome;
            let back = compare(&rule, context, &right, &left).outcome;
            if there != Match::Undecided && back != Match::Undecided {
                prop_assert_eq!(there, back, "{}", name);
            }
            prop_assert_eq!(there == Match::Same, back == Match::Same, "{}", name);
        }
    }

    #[test]
    fn whatever_is_read_at_all_equals_itself(value in any_value()) {
        for rule in rules().into_iter().filter(|rule| !matches!(rule, Rule::Lacks(_))) {
            for said_at in [None, Some(noon())] {
                let names = Nicknames::new();
                let context = Context::new(&names).said_at(said_at);
                let outcome = compare(&rule, context, &value, &value).outcome;
                let is_name = matches!(&rule, Rule::Name | Rule::Set(_));
                // A number is no name; everything else is itself or unreadable.
                prop_assert!(outcome != Match::Different || is_name && !value.is_string(), "{:?}", rule);
            }
        }
    }

    #[test]
    fn a_value_equals_itself_where_it_can_be_compared(value in any_value()) {
        for rule in [Rule::Exact, Rule::Value, Rule::List(Box::new(Rule::Value)), Rule::Set(Box::new(Rule::Value))] {
            prop_assert_eq!(compare(&rule, Context::new(&Nicknames::new()), &value, &value).outcome, Match::Same);
        }
    }

    #[test]
    fn a_name_may_be_shuffled_and_spelt_otherwise_but_another_family_is_another(
        given in prop::sample::select(GIVEN.to_vec()), family in prop::sample::select(FAMILIES.to_vec()),
        other in prop::sample::select(FAMILIES.to_vec()), shape in 0..6_usize,
    ) {
        let full = format!("{given} {family}");
        let spelt = match shape {
            0 => format!("{family}, {given}"),
            1 => full.to_uppercase(),
            2 => format!("  Dr. {}  ", fold(&full)),
            3 => full.nfd().collect(),
            4 => (*given).to_owned(),
            _ => format!("{family}\u{200e} {given}"),
        };
        prop_assert_eq!(by("name", json!(full), json!(spelt)), Match::Same);
        if other != family {
            prop_assert_eq!(by("name", json!(full), json!(format!("{given} {other}"))), Match::Different);
        }
    }

    #[test]
    fn a_phone_may_be_written_otherwise_but_every_digit_counts(
        area in 200..999_u32, exchange in 200..999_u32, line in 0..9999_u32, shape in 0..7_usize, at in 0..10_usize, by_how in 1..10_u32,
    ) {
        let digits = format!("{area}{exchange}{line:04}");
        let written = match shape {
            0 => format!("({area}) {exchange}-{line:04}"),
            1 => format!("+1 {area} {exchange} {line:04}"),
            2 => format!("1.{area}.{exchange}.{line:04}"),
            3 => format!("tel:+1{digits}"),
            4 => format!("{digits} x12"),
            5 => format!("{area}\u{a0}{exchange}\u{2011}{line:04}"),
            _ => format!("001{digits}"),
        };
        prop_assert_eq!(by("phone", json!(digits), json!(written)), Match::Same);
        let mut other: Vec<u32> = digits.chars().filter_map(|c| c.to_digit(10)).collect();
        other[at] = (other[at] + by_how) % 10;
        let other: String = other.iter().map(u32::to_string).collect();
        prop_assert_eq!(by("phone", json!(other), json!(written)), Match::Different);
    }

    #[test]
    fn an_instant_may_be_told_in_any_zone_and_format_but_not_on_another_day(
        minutes in 0..1_500_000_i64, shape in 0..7_usize, zone in prop::sample::select(vec![chrono_tz::UTC, chrono_tz::Asia::Kolkata, chrono_tz::America::Chicago, chrono_tz::Pacific::Auckland]),
    ) {
        let instant = noon() + chrono::Duration::minutes(minutes);
        let written = |instant: DateTime<Utc>| {
            let local = instant.with_timezone(&new_york());
            match shape {
                0 => instant.with_timezone(&zone).to_rfc3339(),
                1 => local.format("%m/%d/%Y %I:%M:%S %p").to_string(),
                2 => local.format("%Y-%m-%dT%H:%M").to_string(),
                3 => local.format("%A, %B %-d, %Y at %-I:%M %P").to_string(),
                4 => format!("{} [{zone}]", instant.with_timezone(&zone).format("%-m/%-d/%Y %-I:%M %p")),
                5 => instant.format("%Y-%m-%dT%H:%MZ").to_string(),
                _ => local.format("%d.%m.%Y %H:%M:%S").to_string(),
            }
        };
        let plain = instant.to_rfc3339();
        prop_assert_eq!(by("instant", json!(plain), json!(written(instant))), Match::Same, "{}", written(instant));
        for apart in [chrono::Duration::days(1), chrono::Duration::days(7), chrono::Duration::hours(-3)] {
            let other = written(instant + apart);
            prop_assert_eq!(by("instant", json!(plain), json!(other)), Match::Different, "{}", other);
        }
    }

    #[test]
    fn an_amount_may_be_written_otherwise_but_not_be_another(cents in 0..100_000_000_i64, more in 1..1_000_000_i64, shape in 0..6_usize) {
        let written = |cents: i64| {
            let (whole, rest) = (cents / 100, cents % 100);
            let grouped = |by: &str| {
                let digits = whole.to_string();
                let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
                groups.join(by)
            };
            match shape {
                0 => json!(format!("${}.{rest:02}", grouped(","))),
                1 => json!(format!("{},{rest:02} EUR", grouped("."))),
                2 => json!(format!("{} {rest:02}", grouped(",")).replace(' ', ".")),
                3 => json!(format!("{whole}.{rest:02}")),
                4 => json!(cents as f64 / 100.0),
                _ => json!(format!("CHF {}.{rest:02}", grouped("'"))),
            }
        };
        let plain = json!(format!("{}.{:02}", cents / 100, cents % 100));
        prop_assert_eq!(by("money", plain.clone(), written(cents)), Match::Same, "{}", written(cents));
        prop_assert_eq!(by("money", plain, written(cents + more)), Match::Different);
    }

    #[test]
    fn a_set_may_be_permuted(items in prop::collection::vec(any_value(), 0..6), by_how in 0..6_usize) {
        let mut turned = items.clone();
        if !turned.is_empty() {
            let by_how = by_how % turned.len();
            turned.rotate_left(by_how);
        }
        turned.reverse();
        let names = Nicknames::new();
        for rule in [Rule::Set(Box::new(Rule::Value)), Rule::Contains(Box::new(Rule::Value)), Rule::Set(Box::new(Rule::Name))] {
            let compared = compare(&rule, Context::new(&names), &json!(items), &json!(turned));
            prop_assert_eq!(compared.outcome, Match::Same, "{:?}", rule);
        }
    }

    #[test]
    fn the_order_of_either_side_does_not_change_what_comes_of_a_set(
        left in prop::collection::vec(prop::sample::select(vec!["Ana", "Ana Lee", "Ana Kim", "Lee", "Kim Lee", "Bo"]), 0..5),
        right in prop::collection::vec(prop::sample::select(vec!["Ana", "Ana Lee", "Ana Kim", "Lee", "Kim Lee", "Bo"]), 0..5),
    ) {
        let names = Nicknames::new();
        let rule = Rule::Set(Box::new(Rule::Name));
        let forward = compare(&rule, Context::new(&names), &json!(left), &json!(right)).outcome;
        let turned: Vec<&str> = left.iter().rev().copied().collect();
        let other: Vec<&str> = right.iter().rev().copied().collect();
        prop_assert_eq!(forward, compare(&rule, Context::new(&names), &json!(turned), &json!(other)).outcome);
        prop_assert_eq!(forward, compare(&rule, Context::new(&names), &json!(right), &json!(left)).outcome);
    }
}

const GIVEN: [&str; 6] = ["José", "Zoë", "Nguyễn", "Søren", "Ines", "Łukasz"];
const FAMILIES: [&str; 6] = ["García", "Müller", "O’Neil", "Van der Berg", "Żak", "Okafor"];

/// 2026-03-11, a Wednesday.
fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_773_244_800, 0).unwrap()
}

#[test]
fn what_is_directional_by_design_is_so_in_that_direction() {
    let names = Nicknames::new();
    let outcome =
        |rule: &Rule, expected: Value, actual: Value| compare(rule, Context::new(&names), &expected, &actual).outcome;
    let contains = Rule::Contains(Box::new(Rule::Value));
    assert_eq!(outcome(&contains, json!(["a"]), json!(["a", "b"])), Match::Same);
    assert_eq!(outcome(&contains, json!(["a", "b"]), json!(["a"])), Match::Different);
    // An empty list expects nothing of one that holds something.
    assert_eq!(outcome(&contains, json!([]), json!(["a"])), Match::Same);
    let lacks = Rule::Lacks(Box::new(Rule::Value));
    assert_eq!(
        outcome(&lacks, json!([{"id": 1}]), json!([{"id": 1, "seat": "A"}])),
        Match::Different
    );
    assert_eq!(
        outcome(&lacks, json!([{"id": 1, "seat": "A"}]), json!([{"id": 1}])),
        Match::Same
    );
    for rule in [Rule::Text, Rule::Value] {
        assert_eq!(outcome(&rule, json!({"a": 1}), json!({"a": 1, "b": 2})), Match::Same);
        assert_eq!(
            outcome(&rule, json!({"a": 1, "b": 2}), json!({"a": 1})),
            Match::Different
        );
    }
}
