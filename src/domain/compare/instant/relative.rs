//! Dates that are counted from the day on which they were said: "tomorrow", "next Tuesday", "in two weeks".
//!
//! People do not agree on what some of them mean. "Next Tuesday", said on a Monday, is tomorrow to one and in eight days to
//! another; both are readings. Weeks begin on Sunday to some and on Monday to others; both are tried.

use std::fmt;

use chrono::{Datelike, Days, Months, NaiveDate};

/// Counts beyond this are no appointment.
const FARTHEST: i64 = 1000;

/// What some words say of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phrase {
    /// Today and so many days.
    Days(i64),
    /// A day of the week, 0 for Monday.
    Weekday(u32, Which),
    /// This week and so many more.
    Week(i64),
    /// The Saturday and Sunday of this week and so many more.
    Weekend(i64),
    /// This month and so many more.
    Month(i64),
    /// This year and so many more.
    Year(i64),
    /// So many units from today.
    In(i64, Unit),
    /// So many days from a day of the week.
    DaysFrom(i64, u32),
    /// The first or last days of a period.
    Edge(Edge, Unit, i64),
    /// Counted from something that is not said here, or not exactly.
    Unknown,
}

/// Which of the days of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Bare,
    This,
    Coming,
    Next,
    AfterNext,
    Last,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Minutes and hours: the day is known, the time of day only about.
    Moment,
    Day,
    Week,
    Month,
    Year,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    Start,
    End,
}

/// A day that words may mean, or a month or a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) year: i32,
    pub(super) month: Option<u32>,
    pub(super) day: Option<u32>,
    /// Near to what was said rather than just that.
    pub(super) is_loose: bool,
}

impl Candidate {
    fn day(date: NaiveDate) -> Self {
        Self {
            year: date.year(),
            month: Some(date.month()),
            day: Some(date.day()),
            is_loose: false,
        }
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.year)?;
        for part in [self.month, self.day].into_iter().flatten() {
            write!(f, "-{part:02}")?;
        }
        Ok(())
    }
}

/// Reads a phrase at the beginning of the words; with how many words it took.
pub(super) fn read(words: &[&str]) -> Option<(usize, Phrase)> {
    if let ["the" | "on", rest @ ..] = words {
        // "The day after tomorrow", "on Tuesday"; "the 17th" is left to others.
        return read(rest).map(|(taken, phrase)| (taken + 1, phrase));
    }
    match words {
        ["day", "after", "tomorrow", ..] => Some((3, Phrase::Days(2))),
        ["day", "before", "yesterday", ..] => Some((3, Phrase::Days(-2))),
        ["same" | "following" | "next", "day", ..] | ["day", "after" | "before", ..] => Some((2, Phrase::Unknown)),
        // A second word is left: it names half of the day.
        ["today" | "tonight", ..] | ["this", "morning" | "afternoon" | "evening", ..] => Some((1, Phrase::Days(0))),
        ["tomorrow", ..] => Some((1, Phrase::Days(1))),
        ["yesterday", ..] | ["last", "night", ..] => Some((1, Phrase::Days(-1))),
        ["end" | "close", "of", rest @ ..] => edge(Edge::End, rest).map(|(taken, phrase)| (taken + 2, phrase)),
        ["beginning" | "start", "of", rest @ ..] => edge(Edge::Start, rest).map(|(taken, phrase)| (taken + 2, phrase)),
        ["middle", "of", ..] | ["mid", ..] => Some((1, Phrase::Unknown)),
        ["early" | "late", rest @ ..] => {
            let which = if words[0] == "late" { Edge::End } else { Edge::Start };
            // "Late afternoon" is no edge of anything that has days.
            let found = edge(which, rest).filter(|(_, phrase)| matches!(phrase, Phrase::Edge(..)));
            found.map(|(taken, phrase)| (taken + 1, phrase))
        }
        ["week", "after", "next", ..] => Some((3, Phrase::Week(2))),
        ["weekend", "after", "next", ..] => Some((3, Phrase::Weekend(2))),
        ["month", "after", "next", ..] => Some((3, Phrase::Month(2))),
        ["weekend", ..] => Some((1, Phrase::Weekend(0))),
        ["in", rest @ ..] => {
            let (taken, count, unit) = count(rest)?;
            Some((taken + 1, later(count, unit)))
        }
        ["this", "coming", day, ..] => Some((3, Phrase::Weekday(weekday(day)?, Which::Coming))),
        [
            which @ ("this" | "next" | "last" | "past" | "coming" | "upcoming" | "following"),
            rest @ ..,
        ] => determined(which, rest).map(|(taken, phrase)| (taken + 1, phrase)),
        [day, rest @ ..] => match weekday(day) {
            Some(day) => Some(of_weekday(day, rest)),
            None => from(words),
        },
        [] => None,
    }
}

fn is_time(word: &str) -> bool {
    let begins = word.starts_with(|c: char| c.is_ascii_digit());
    begins || matches!(word, "noon" | "midday" | "midnight" | "half" | "quarter") || number_word(word).is_some()
}

/// "Tuesday", "Tuesday after next", "Tuesday week".
fn of_weekday(day: u32, rest: &[&str]) -> (usize, Phrase) {
    match rest {
        ["after", "next", ..] => (3, Phrase::Weekday(day, Which::AfterNext)),
        // "Tuesday week" is British for a week after the coming one.
        ["week", ..] => (2, Phrase::DaysFrom(7, day)),
        // "Tuesday after 3 PM" is a Tuesday; "the Tuesday after Easter" is another.
        ["after" | "before", time, ..] if is_time(time) => (1, Phrase::Weekday(day, Which::Bare)),
        ["after" | "before", ..] => (2, Phrase::Unknown),
        _ => (1, Phrase::Weekday(day, Which::Bare)),
    }
}

/// What stands behind "this", "next", "last".
fn determined(which: &str, rest: &[&str]) -> Option<(usize, Phrase)> {
    let noun = *rest.first()?;
    let by = match which {
        "this" => 0,
        "last" | "past" => -1,
        _ => 1,
    };
    if let Some(day) = weekday(noun) {
        let which = match which {
            "this" => Which::This,
            "coming" | "upcoming" => Which::Coming,
            "next" => Which::Next,
            "following" => return Some((1, Phrase::Unknown)),
            _ => Which::Last,
        };
        return Some((1, Phrase::Weekday(day, which)));
    }
    let phrase = match noun {
        _ if which == "following" => return matches!(noun, "week" | "month").then_some((1, Phrase::Unknown)),
        "week" => Phrase::Week(by),
        "weekend" => Phrase::Weekend(by),
        "month" => Phrase::Month(by),
        "year" => Phrase::Year(by),
        _ => return None,
    };
    Some((1, phrase))
}

/// "(the) month", "next week", "day" behind "end of".
fn edge(edge: Edge, words: &[&str]) -> Option<(usize, Phrase)> {
    let (skipped, words) = match words {
        ["the", rest @ ..] => (1, rest),
        _ => (0, words),
    };
    let (taken, by, noun) = match words {
        ["this", noun, ..] => (2, 0, *noun),
        ["next", noun, ..] => (2, 1, *noun),
        [noun, ..] => (1, 0, *noun),
        [] => return None,
    };
    let phrase = match noun {
        "day" if by == 0 => Phrase::Days(0),
        "week" => Phrase::Edge(edge, Unit::Week, by),
        "month" => Phrase::Edge(edge, Unit::Month, by),
        "year" => Phrase::Edge(edge, Unit::Year, by),
        // "The end of May": its last days, of no certain year.
        _ => Phrase::Unknown,
    };
    Some((skipped + taken, phrase))
}

/// "A week from Tuesday", "two days from now".
fn from(words: &[&str]) -> Option<(usize, Phrase)> {
    let (taken, count, unit) = count(words)?;
    let rest = &words[taken..];
    match rest {
        ["from", "now" | "today", ..] => Some((taken + 2, later(count, unit))),
        ["from" | "after", base, ..] => {
            let days = match unit {
                Unit::Day => count,
                Unit::Week => count.and_then(|count| count.checked_mul(7)),
                _ => None,
            };
            let phrase = match (days, *base, weekday(base)) {
                (Some(days), "tomorrow", _) => Phrase::Days(days + 1),
                (Some(days), _, Some(day)) => Phrase::DaysFrom(days, day),
                _ => Phrase::Unknown,
            };
            Some((taken + 2, phrase))
        }
        // "Two weeks later", "a week before": than what, was said before.
        ["later" | "earlier" | "before", ..] => Some((taken + 1, Phrase::Unknown)),
        ["ago", ..] => Some((taken + 1, later(count.and_then(i64::checked_neg), unit))),
        // "A week on Tuesday".
        ["on", base, ..] if unit == Unit::Week => {
            let phrase = match (count, weekday(base)) {
                (Some(count), Some(day)) => Phrase::DaysFrom(count * 7, day),
                _ => return None,
            };
            Some((taken + 2, phrase))
        }
        _ => None,
    }
}

/// "30 minutes", "three days": how long, not when; how many words.
pub(super) fn duration(words: &[&str]) -> Option<usize> {
    count(words).map(|(taken, ..)| taken)
}

fn later(count: Option<i64>, unit: Unit) -> Phrase {
    count.map_or(Phrase::Unknown, |count| Phrase::In(count, unit))
}

/// "Two weeks", "a couple of days": how many words, how many (`None` where that is not said), of what.
fn count(words: &[&str]) -> Option<(usize, Option<i64>, Unit)> {
    let (taken, count) = match words {
        ["a", "couple", "of", ..] => (3, Some(2)),
        ["a", "couple", ..] => (2, Some(2)),
        ["a", "few", ..] => (2, None),
        ["few" | "several" | "some", ..] => (1, None),
        [word, ..] => (1, Some(number(word)?)),
        [] => return None,
    };
    let (unit, times) = match *words.get(taken)? {
        "minute" | "minutes" | "hour" | "hours" => (Unit::Moment, 1),
        "day" | "days" => (Unit::Day, 1),
        "week" | "weeks" => (Unit::Week, 1),
        "fortnight" => (Unit::Week, 2),
        "month" | "months" => (Unit::Month, 1),
        "year" | "years" => (Unit::Year, 1),
        _ => return None,
    };
    Some((taken + 1, count.map(|count| count * times), unit))
}

fn number(word: &str) -> Option<i64> {
    if (1..=4).contains(&word.len()) && word.chars().all(|c| c.is_ascii_digit()) {
        return word.parse().ok().filter(|number| *number <= FARTHEST);
    }
    if matches!(word, "a" | "an") {
        Some(1)
    } else {
        number_word(word)
    }
}

pub(super) fn number_word(word: &str) -> Option<i64> {
    const NUMBERS: [&str; 12] = [
        "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    ];
    let number = match word {
        "fifteen" => 15,
        "twenty" => 20,
        "thirty" => 30,
        "forty" => 40,
        "fifty" => 50,
        _ => i64::try_from(NUMBERS.iter().position(|known| *known == word)? + 1).ok()?,
    };
    Some(number)
}

pub(super) fn weekday(word: &str) -> Option<u32> {
    const DAYS: [&str; 7] = [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ];
    let found = DAYS
        .iter()
        .position(|day| *day == word || (word.len() >= 3 && word.len() <= 5 && day.starts_with(word)));
    found.and_then(|at| u32::try_from(at).ok())
}

/// The days that the phrases together may mean, the likeliest first; none where they cannot be resolved.
pub(super) fn dates(phrases: &[Phrase], today: NaiveDate) -> Vec<Candidate> {
    let mut found = match phrases {
        [one] => of_one(*one, today),
        // "Tuesday next week", "in two weeks on Friday".
        [Phrase::Weekday(day, Which::Bare), scope] | [scope, Phrase::Weekday(day, Which::Bare)] => {
            let week = match scope {
                Phrase::Week(week) => Some(*week),
                Phrase::In(weeks, Unit::Week) => Some(*weeks),
                _ => None,
            };
            match (week, scope) {
                (Some(week), _) => in_week(*day, week, today),
                // "Tomorrow, Tuesday": the first says which; a wrong name of the day is a slip of the tongue.
                (None, Phrase::Days(_)) => of_one(*scope, today),
                _ => Vec::new(),
            }
        }
        _ => Vec::new(),
    };
    let mut at = 0;
    while at < found.len() {
        let known = found[..at]
            .iter()
            .any(|other| (other.year, other.month, other.day) == (found[at].year, found[at].month, found[at].day));
        if known {
            found.remove(at);
        } else {
            at += 1;
        }
    }
    found
}

fn of_one(phrase: Phrase, today: NaiveDate) -> Vec<Candidate> {
    let exact = |days: Vec<Option<NaiveDate>>| days.into_iter().flatten().map(Candidate::day).collect();
    match phrase {
        Phrase::Days(days) => exact(vec![shift(today, days)]),
        Phrase::Weekday(day, which) => of_which(day, which, today),
        Phrase::Week(week) => {
            // From the first day of the week as it begins on Sunday to the last of the week as it begins on Monday.
            let days = week_of(today, week, 0).map(|monday| (-1..7).map(|day| shift(monday, day)).collect());
            exact(days.unwrap_or_default())
        }
        Phrase::Weekend(weekend) => {
            let saturday = shift(today, i64::from(after(today, 5, true)));
            // On a Sunday the weekend is this one.
            let saturday = if today.weekday().num_days_from_monday() == 6 {
                shift(today, -1)
            } else {
                saturday
            };
            let of = |weeks: i64| saturday.and_then(|day| shift(day, weeks * 7));
            let days = |saturday: Option<NaiveDate>| [saturday, saturday.and_then(|day| shift(day, 1))];
            let mut all: Vec<Option<NaiveDate>> = days(of(weekend)).to_vec();
            if weekend == 1 {
                // The coming one is the next to some.
                all.extend(days(of(0)));
            }
            exact(all)
        }
        Phrase::Month(by) => month(today, by)
            .map(|first| {
                vec![Candidate {
                    day: None,
                    ..Candidate::day(first)
                }]
            })
            .unwrap_or_default(),
        Phrase::Year(by) => i32::try_from(by)
            .ok()
            .and_then(|by| today.year().checked_add(by))
            .map(|year| {
                vec![Candidate {
                    year,
                    month: None,
                    day: None,
                    is_loose: false,
                }]
            })
            .unwrap_or_default(),
        Phrase::In(count, unit) => of_count(count, unit, today),
        Phrase::DaysFrom(days, day) => {
            let base = shift(today, i64::from(after(today, day, false)));
            exact(vec![base.and_then(|base| shift(base, days))])
        }
        Phrase::Edge(edge, unit, by) => of_edge(edge, unit, by, today),
        Phrase::Unknown => Vec::new(),
    }
}

/// The days of one name that people may mean.
fn of_which(day: u32, which: Which, today: NaiveDate) -> Vec<Candidate> {
    let coming = i64::from(after(today, day, false));
    let is_today = after(today, day, true) == 0;
    let shifts: Vec<i64> = match which {
        // Said on that very day it may be today.
        Which::Bare | Which::This if is_today => vec![0, 7],
        Which::Bare | Which::This | Which::Coming => vec![coming],
        Which::Next => next(day, today),
        Which::AfterNext => next(day, today).into_iter().map(|shift| shift + 7).collect(),
        Which::Last => {
            let back = if is_today { -7 } else { coming - 7 };
            // The one before it, where that one was in this week.
            let in_this_week = i64::from(today.weekday().num_days_from_monday()) + back >= 0;
            if in_this_week { vec![back, back - 7] } else { vec![back] }
        }
    };
    shifts
        .into_iter()
        .filter_map(|days| shift(today, days))
        .map(Candidate::day)
        .collect()
}

/// "Next Tuesday": the coming one, and the one of the next week, however weeks are counted.
fn next(day: u32, today: NaiveDate) -> Vec<i64> {
    let mut shifts = vec![i64::from(after(today, day, false))];
    for first in [0, 6] {
        let weekday = |day: u32| i64::from((day + 7 - first) % 7);
        let today = today.weekday().num_days_from_monday();
        shifts.push(7 - weekday(today) + weekday(day));
    }
    shifts
}

/// A day of the week in the week that is so many ahead.
fn in_week(day: u32, week: i64, today: NaiveDate) -> Vec<Candidate> {
    let mut found = Vec::new();
    for first in [0, 6] {
        let date = week_of(today, week, first).and_then(|start| shift(start, i64::from((day + 7 - first) % 7)));
        found.extend(date.map(Candidate::day));
    }
    found
}

fn of_count(count: i64, unit: Unit, today: NaiveDate) -> Vec<Candidate> {
    let loosely = |date: NaiveDate, reach: i64| {
        let near = (-reach..=reach)
            .filter_map(move |days| shift(date, days))
            .map(|day| Candidate {
                is_loose: true,
                ..Candidate::day(day)
            });
        let mut found = vec![Candidate::day(date)];
        found.extend(near);
        found
    };
    let months = |count: i64| {
        let by = Months::new(u32::try_from(count.unsigned_abs()).ok()?);
        if count < 0 {
            today.checked_sub_months(by)
        } else {
            today.checked_add_months(by)
        }
    };
    match unit {
        // Hours later may be tomorrow; the time of day is not compared.
        Unit::Moment => [Some(today), shift(today, 1)]
            .into_iter()
            .flatten()
            .map(|day| Candidate {
                is_loose: true,
                ..Candidate::day(day)
            })
            .collect(),
        Unit::Day => shift(today, count).map(Candidate::day).into_iter().collect(),
        // "In two weeks" is that day to one and about that time to another.
        Unit::Week => shift(today, count * 7).map(|day| loosely(day, 3)).unwrap_or_default(),
        Unit::Month => months(count).map(|day| loosely(day, 7)).unwrap_or_default(),
        Unit::Year => months(count * 12).map(|day| loosely(day, 14)).unwrap_or_default(),
    }
}

/// The last day and the last working day of a month are its end; the days before them are near to it.
fn of_edge(edge: Edge, unit: Unit, by: i64, today: NaiveDate) -> Vec<Candidate> {
    let monday = week_of(today, by, 0);
    let first_of = |months: i64| month(today, months);
    let year = |by: i64| {
        let year = today.year().checked_add(i32::try_from(by).ok()?)?;
        NaiveDate::from_ymd_opt(year, 1, 1)
    };
    // First day, last day, and how many days count as near.
    let span = match unit {
        Unit::Week => monday.map(|monday| (monday, shift(monday, 4), 1)),
        Unit::Month => first_of(by).map(|first| (first, first_of(by + 1).and_then(|next| next.pred_opt()), 7)),
        Unit::Year => year(by).map(|first| (first, year(by + 1).and_then(|next| next.pred_opt()), 14)),
        Unit::Day | Unit::Moment => None,
    };
    let Some((first, Some(last), near)) = span else {
        return Vec::new();
    };
    let is_work = |date: &NaiveDate| date.weekday().num_days_from_monday() < 5;
    let (outer, inwards) = match edge {
        Edge::Start => (first, 1),
        Edge::End => (last, -1),
    };
    let days: Vec<NaiveDate> = (0..=near).filter_map(|days| shift(outer, days * inwards)).collect();
    let mut found = vec![Candidate::day(outer)];
    found.extend(days.iter().find(|day| is_work(day)).copied().map(Candidate::day));
    if (unit, edge) == (Unit::Week, Edge::End) {
        // A week ends on Friday at work, on Saturday or Sunday elsewhere.
        found.extend(
            [1, 2]
                .into_iter()
                .filter_map(|days| shift(outer, days))
                .map(Candidate::day),
        );
    }
    found.extend(days.into_iter().map(|day| Candidate {
        is_loose: true,
        ..Candidate::day(day)
    }));
    found
}

/// Days until the next day of that name; 7 on that day itself, unless today counts.
fn after(today: NaiveDate, day: u32, with_today: bool) -> u32 {
    let ahead = (day + 7 - today.weekday().num_days_from_monday()) % 7;
    if ahead == 0 && !with_today { 7 } else { ahead }
}

/// The first day of the week that is so many ahead; `first` is the day on which weeks begin.
fn week_of(today: NaiveDate, ahead: i64, first: u32) -> Option<NaiveDate> {
    let into = (today.weekday().num_days_from_monday() + 7 - first) % 7;
    shift(today, ahead.checked_mul(7)? - i64::from(into))
}

/// The first day of the month that is so many ahead.
fn month(today: NaiveDate, ahead: i64) -> Option<NaiveDate> {
    let first = today.with_day(1)?;
    let by = Months::new(u32::try_from(ahead.unsigned_abs()).ok()?);
    if ahead < 0 {
        first.checked_sub_months(by)
    } else {
        first.checked_add_months(by)
    }
}

fn shift(date: NaiveDate, days: i64) -> Option<NaiveDate> {
    let by = Days::new(days.unsigned_abs());
    if days < 0 {
        date.checked_sub_days(by)
    } else {
        date.checked_add_days(by)
    }
}
