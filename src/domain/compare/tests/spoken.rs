//! Dates and times as people say them, with the day on which they said it.

use super::*;

/// 2026-03-11 is a Wednesday; half past four in the afternoon in New York.
const WEDNESDAY: &str = "2026-03-11T16:30:00-04:00";

fn said(at: &str, expected: &str, actual: &str) -> Comparison {
    let rule = Rule::simple("instant", new_york(), "1", Duration::ZERO, 0.0).unwrap();
    let names = Nicknames::new();
    let at = DateTime::parse_from_rfc3339(at).unwrap().to_utc();
    let context = Context::new(&names).said_at(Some(at));
    let there = compare(&rule, context, &json!(expected), &json!(actual));
    let back = compare(&rule, context, &json!(actual), &json!(expected));
    assert_eq!(there.outcome, back.outcome, "{expected} / {actual}");
    there
}

#[test]
fn words_are_counted_from_the_day_on_which_they_were_said() {
    for (words, there) in [
        ("today at 5 PM", "3/11/2026 5:00:00 PM"),
        ("tonight at 8", "3/11/2026 8:00:00 PM"),
        ("this afternoon at 5", "3/11/2026 5:00:00 PM"),
        ("tomorrow at 3", "3/12/2026 3:00:00 PM"),
        ("tomorrow at three in the afternoon", "3/12/2026 3:00:00 PM"),
        ("tomorrow morning at half past nine", "3/12/2026 9:30:00 AM"),
        ("tomorrow at a quarter to 10 AM", "3/12/2026 9:45:00 AM"),
        ("tomorrow", "2026-03-12"),
        ("the day after tomorrow", "3/13/2026 9:00:00 AM"),
        ("yesterday", "2026-03-10"),
        ("Friday at 2 PM", "3/13/2026 2:00:00 PM"),
        ("this Friday at 2 PM", "3/13/2026 2:00:00 PM"),
        ("Monday at 9:50", "3/16/2026 9:50:00 AM"),
        ("Wednesday", "3/11/2026 6:00:00 PM"),
        ("Wednesday", "3/18/2026 6:00:00 PM"),
        ("next Tuesday", "3/17/2026 9:00:00 AM"),
        ("next Friday", "3/13/2026 9:00:00 AM"),
        ("next Friday", "3/20/2026 9:00:00 AM"),
        ("Tuesday after next", "3/24/2026 9:00:00 AM"),
        ("Friday next week", "3/20/2026 9:00:00 AM"),
        ("next week on Friday at 2 PM", "3/20/2026 2:00:00 PM"),
        ("next week", "3/19/2026 2:00:00 PM"),
        ("this weekend", "3/14/2026 10:00:00 AM"),
        ("a week from today", "3/18/2026 10:00:00 AM"),
        ("a week from Friday", "3/20/2026 10:00:00 AM"),
        ("Friday week", "3/20/2026 10:00:00 AM"),
        ("in two days", "3/13/2026 10:00:00 AM"),
        ("in 3 days at 10 AM", "3/14/2026 10:00:00 AM"),
        ("in two weeks", "3/25/2026 10:00:00 AM"),
        ("two weeks from now", "3/25/2026 10:00:00 AM"),
        ("in a fortnight", "3/25/2026 10:00:00 AM"),
        ("in a month", "4/11/2026 10:00:00 AM"),
        ("next month", "4/28/2026 10:00:00 AM"),
        ("the end of the month", "3/31/2026 10:00:00 AM"),
        ("end of next month", "4/30/2026 10:00:00 AM"),
        ("the end of the week", "3/13/2026 10:00:00 AM"),
        ("Monday or Tuesday at 3 PM", "3/17/2026 3:00:00 PM"),
        ("tomorrow at 3 PM Eastern", "3/12/2026 2:00:00 PM [America/Chicago]"),
        ("tomorrow, March 12, at 3 PM", "3/12/2026 3:00:00 PM"),
        ("tomorrow at 3 PM", "2026-03-12T19:00:00Z"),
        ("Tuesday from 2 PM to 4 PM", "3/17/2026 2:00:00 PM"),
        ("17 March at 3", "3/17/2026 3:00:00 PM"),
        ("3/17 at 3", "3/17/2026 3:00:00 PM"),
        ("3/17 at 3:30", "3/17/2026 3:30:00 PM"),
        ("2026-03-17 at 3", "3/17/2026 3:00:00 PM"),
        ("2026-03-17 at 15:00", "3/17/2026 3:00:00 PM"),
    ] {
        let compared = said(WEDNESDAY, words, there);
        assert_eq!(compared.outcome, Match::Same, "{words} / {there}: {}", compared.why);
    }
    for (words, there) in [
        ("today", "3/12/2026 5:00:00 PM"),
        ("tomorrow at 3", "3/13/2026 3:00:00 PM"),
        ("tomorrow at 3", "3/12/2026 4:00:00 PM"),
        ("tomorrow at 3 PM", "3/12/2026 3:00:00 AM"),
        ("the day after tomorrow", "3/12/2026 9:00:00 AM"),
        ("Friday at 2 PM", "3/20/2026 2:00:00 PM"),
        ("this Friday", "3/20/2026 2:00:00 PM"),
        ("next Tuesday", "3/31/2026 9:00:00 AM"),
        ("next Tuesday", "3/18/2026 9:00:00 AM"),
        ("Friday next week", "3/13/2026 9:00:00 AM"),
        ("in two weeks", "4/2/2026 10:00:00 AM"),
        ("a week from Friday", "3/13/2026 10:00:00 AM"),
        ("next week", "3/13/2026 2:00:00 PM"),
        ("next month", "3/28/2026 10:00:00 AM"),
        ("the end of the month", "4/30/2026 10:00:00 AM"),
        ("Monday or Tuesday at 3 PM", "3/18/2026 3:00:00 PM"),
        ("Tuesday from 2 to 4", "3/18/2026 2:00:00 PM"),
        ("3/17 at 3", "3/17/2026 4:00:00 PM"),
        ("2026-03-17 3:00", "3/17/2026 3:00:00 PM"),
        ("2026-03-17 at 09:00", "3/17/2026 9:00:00 PM"),
    ] {
        let compared = said(WEDNESDAY, words, there);
        assert_eq!(
            compared.outcome,
            Match::Different,
            "{words} / {there}: {}",
            compared.why
        );
    }
}

#[test]
fn what_cannot_be_resolved_is_undecided_never_a_difference() {
    for (words, there) in [
        ("the day before Friday", "3/12/2026 9:00:00 AM"),
        ("two days after March 17", "3/19/2026 9:00:00 AM"),
        ("the following Tuesday", "3/31/2026 9:00:00 AM"),
        ("the Tuesday after Easter", "4/7/2026 9:00:00 AM"),
        ("the week after", "4/7/2026 9:00:00 AM"),
        ("before Friday", "3/12/2026 9:00:00 AM"),
        ("after 3 PM", "3/12/2026 4:00:00 PM"),
        ("any day but not Friday", "3/12/2026 9:00:00 AM"),
        ("4 or 5 PM", "3/12/2026 4:00:00 PM"),
        ("within 3 days", "3/12/2026 4:00:00 PM"),
        ("Tuesday from 2 to 4", "3/17/2026 2:00:00 PM"),
        ("tomorrow for 4", "3/12/2026 4:00:00 PM"),
        ("4 people on Friday", "3/13/2026 4:00:00 PM"),
        ("in a few days", "3/14/2026 4:00:00 PM"),
        ("in two hours", "3/11/2026 6:30:00 PM"),
        // A limit or half a day beside a day that fits.
        ("Tuesday after 3 PM", "3/17/2026 9:00:00 AM"),
        ("March 17 between 2 and 4", "3/17/2026 9:00:00 AM"),
        ("tomorrow afternoon", "3/12/2026 9:00:00 AM"),
        // What one alternative names is meant of the other as well.
        ("Tuesday at 2 or 3 PM", "3/19/2026 3:00:00 PM"),
        ("Monday or Tuesday at 3 PM", "3/16/2026 9:00:00 AM"),
        // About then: the day itself is the same, its neighbours are neither.
        ("in two weeks", "3/26/2026 10:00:00 AM"),
        ("the end of the month", "3/27/2026 10:00:00 AM"),
    ] {
        let compared = said(WEDNESDAY, words, there);
        assert_eq!(
            compared.outcome,
            Match::Undecided,
            "{words} / {there}: {}",
            compared.why
        );
    }
    // Nobody knows when it was said.
    for (words, there, outcome) in [
        ("tomorrow at 3 PM", "3/12/2026 3:00:00 PM", Match::Undecided),
        ("tomorrow at 3 PM", "3/12/2026 4:00:00 PM", Match::Different),
        ("next Tuesday", "3/17/2026 4:00:00 PM", Match::Undecided),
        ("next Tuesday", "3/18/2026 4:00:00 PM", Match::Different),
        ("Tuesday", "3/17/2026 4:00:00 PM", Match::Same),
        ("in two weeks", "3/17/2026 4:00:00 PM", Match::Undecided),
    ] {
        assert_eq!(by("instant", json!(words), json!(there)), outcome, "{words} / {there}");
    }
}

#[test]
fn next_tuesday_said_on_a_monday_is_tomorrow_or_in_eight_days_and_the_reason_says_which() {
    const MONDAY: &str = "2026-03-09T10:00:00-04:00";
    for (there, taken) in [
        ("3/10/2026 9:00:00 AM", "2026-03-10"),
        ("3/17/2026 9:00:00 AM", "2026-03-17"),
    ] {
        let compared = said(MONDAY, "next Tuesday at 9 AM", there);
        assert_eq!(compared.outcome, Match::Same);
        assert_eq!(
            compared.why,
            format!("the same instant, taking \"next tuesday\" as {taken}")
        );
    }
    let other = said(MONDAY, "next Tuesday at 9 AM", "3/24/2026 9:00:00 AM");
    assert_eq!(other.outcome, Match::Different);
    assert_eq!(
        other.why,
        "another date, taking \"next tuesday\" as 2026-03-10 or \"next tuesday\" as 2026-03-17"
    );
}

#[test]
fn today_is_the_day_in_the_rules_zone_not_in_utc() {
    // 23:30 on the 11th in New York, 03:30 on the 12th in UTC.
    let compared = said("2026-03-12T03:30:00Z", "tomorrow", "3/12/2026 9:00:00 AM");
    assert_eq!(compared.outcome, Match::Same, "{}", compared.why);
    // The practice is in Honolulu, where it is still the afternoon of the 11th.
    let compared = said(
        "2026-03-12T03:30:00Z",
        "tomorrow",
        "3/12/2026 9:00:00 AM [Pacific/Honolulu]",
    );
    assert_eq!(compared.outcome, Match::Same, "{}", compared.why);
    // Over the change of clocks a day is still a day.
    let compared = said(
        "2026-03-07T23:30:00-05:00",
        "tomorrow at 9 AM",
        "2026-03-08T09:00:00-04:00",
    );
    assert_eq!(compared.outcome, Match::Same, "{}", compared.why);
}

#[test]
fn dates_of_reduced_precision_are_compared_by_what_both_name() {
    for (left, right, outcome) in [
        ("2026-05", "2026-05-18", Match::Same),
        ("2026-05", "2026-06-18", Match::Different),
        ("2026", "2026-05", Match::Same),
        ("2026", "2027-05-18T10:00:00Z", Match::Different),
        ("May 2026", "2026-05-18T10:00:00Z", Match::Same),
        ("2026-05-18", "2026-05-18T10:00:00Z", Match::Same),
        // All day in New York is the day there.
        ("2026-05-18", "2026-05-19T01:00:00Z", Match::Same),
        ("2026-05-19", "2026-05-19T01:00:00Z", Match::Different),
        ("20260518", "05/18/2026", Match::Same),
        ("18.05.2026", "05/18/2026", Match::Same),
        ("5/18", "05/18/2026", Match::Same),
        ("2026-05-18T10:00Z", "2026-05-18T06:00:00-04:00", Match::Same),
        ("2026-05-18T10:00+0200", "2026-05-18T08:00:00Z", Match::Same),
        ("2026-05-18 10:00:00+02", "2026-05-18T08:01:00Z", Match::Different),
    ] {
        for rule in ["instant", "date"] {
            let outcome = if rule == "date" && right.ends_with("08:01:00Z") {
                Match::Same
            } else {
                outcome
            };
            assert_eq!(by(rule, json!(left), json!(right)), outcome, "{rule} {left} / {right}");
            assert_eq!(by(rule, json!(right), json!(left)), outcome, "{rule} {right} / {left}");
        }
    }
}

#[test]
fn a_birthday_kept_as_midnight_in_utc_is_on_that_day_in_every_zone() {
    for (left, right, outcome) in [
        ("08/29/2018", "2018-08-29T00:00:00Z", Match::Same),
        ("August 29, 2018", "2018-08-29T00:00:00.000+00:00", Match::Same),
        ("2018-08-28", "2018-08-29T00:00:00Z", Match::Same),
        ("2018-08-30", "2018-08-29T00:00:00Z", Match::Different),
        ("2018-08-29", "2018-08-29T00:00:01Z", Match::Different),
        // Midnight of another zone says nothing of UTC.
        ("2018-08-29", "2018-08-29T00:00:00-04:00", Match::Same),
        ("2018-08-28", "2018-08-29T00:00:00-04:00", Match::Different),
    ] {
        assert_eq!(by("date", json!(left), json!(right)), outcome, "{left} / {right}");
        assert_eq!(by("date", json!(right), json!(left)), outcome, "{right} / {left}");
    }
    // An appointment is at its hour: there midnight is a time of day.
    assert_eq!(
        by("instant", json!("2018-08-29"), json!("2018-08-29T00:00:00Z")),
        Match::Different
    );
}
