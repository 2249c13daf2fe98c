mod reference;

use proptest::prelude::*;

use self::reference::{Seen, look};
use super::*;

const DIALECTS: [Dialect; 3] = [Dialect::Postgres, Dialect::MySql, Dialect::Sqlite];

fn parsed(text: &str) -> Statement {
    Statement::parse(text).unwrap_or_else(|reason| panic!("{text}: {reason}"))
}

fn names(text: &str) -> Vec<String> {
    parsed(text).parameters().map(str::to_owned).collect()
}

fn numbered(text: &str) -> String {
    parsed(text).with_placeholders(|number| format!("${number}"))
}

#[test]
fn each_use_of_a_parameter_is_a_placeholder_of_its_own() {
    let text = "SELECT cake FROM orders WHERE id = :id AND venue=:venue OR code = :id;";
    assert_eq!(names(text), ["id", "venue", "id"]);
    assert_eq!(
        numbered(text),
        "SELECT cake FROM orders WHERE id = $1 AND venue=$2 OR code = $3"
    );
}

#[test]
fn colons_in_quotes_comments_and_casts_are_no_parameters() {
    for text in [
        "SELECT ':a' FROM t",
        "SELECT 'it''s :a' FROM t",
        r"SELECT 'C:\\' FROM t",
        r"SELECT E'it\'s :a' FROM t",
        "SELECT \":a\", \"b\"\":c\" FROM t",
        "SELECT `:a` FROM t",
        "SELECT 1 -- :a\n FROM t",
        "SELECT 1 /* :a ' */ FROM t",
        "-- booking ':'\nSELECT 1",
        "SELECT $$ :a ' $$, $tag$ :b $$ $tag$ FROM t",
        "SELECT a::text, '5'::int FROM t",
        "SELECT a[1:2], x := 3, 10:30 FROM t",
        "SELECT data #>> '{a,b}', data ? 'k', tags @> '[1]' FROM t",
        "SELECT straße, \u{3b1} FROM t",
        "SELECT a[1 : b], ARRAY[1, 2], [my name] FROM t",
        "select 1;  -- done\n /* :a */ ",
    ] {
        assert_eq!(names(text), Vec::<String>::new(), "{text}");
    }
    assert_eq!(
        names("SELECT :a::text, :b :: int, ':c', x FROM t WHERE y=:d"),
        ["a", "b", "d"]
    );
    assert_eq!(
        names("WITH x AS (SELECT $a$ ' $a$) SELECT :_a1, price$ = :b FROM x"),
        ["_a1", "b"]
    );
    assert_eq!(names("SELECT 'x' -- it's\n, :a /* it's */ , :b"), ["a", "b"]);
}

#[test]
fn what_does_not_read_is_refused_with_what_to_write() {
    for (text, says) in [
        ("", "is empty"),
        (" -- nothing\n", "is empty"),
        ("SELCT 1", "did you mean \"SELECT\"?"),
        ("DELETE FROM t", "begins with \"DELETE\""),
        ("(SELECT 1)", "begins with \"(\""),
        ("/*x*/ UPDATE t SET a = 1", "begins with \"UPDATE\""),
        ("SELECT 1; DROP TABLE t", "several statements"),
        ("SELECT 1;;", "several statements"),
        ("SELECT * INTO copy FROM t", "INTO writes"),
        ("SELECT 1 INTO OUTFILE 'x'", "INTO writes"),
        ("SELECT 1 /*! INTO OUTFILE 'x' */", "`/*!`"),
        ("SELECT 'open", "' is not closed"),
        (
            "SELECT 1 # it's",
            "' is not closed; `#` begins a comment in MySQL alone",
        ),
        ("SELECT [it's]", "' is not closed; `[` quotes a name in SQLite alone"),
        ("SELECT \"open", "\" is not closed"),
        ("SELECT E'open\\'", "' is not closed"),
        ("SELECT $a$ open $$", "$a$ is not closed"),
        ("SELECT 1 /* open", "/* is not closed"),
        ("SELECT 1 /* a /* b */ */", "comment inside a comment"),
        ("SELECT 1 /* a /*/ b", "comment inside a comment"),
        ("SELECT 'it\\'s :a'", "write a quote inside of quotes as ''"),
        ("SELECT 5--3", "write `-- `"),
        ("SELECT a FROM t WHERE id = $1", "write parameters as `:name`"),
        ("SELECT '\u{1}', a\0", "U+0000"),
        ("SELECT 'a\0b'", "U+0000"),
        ("SELECT 1 -- a\r; DROP TABLE t", "carriage return"),
        ("SELECT 5 --\u{a0}3", "write `-- `"),
        ("\u{a0}SELECT 1", "begins with \"\u{a0}SELECT\""),
        ("SELECT a[:i] FROM t", "write a parameter as `(:i)`"),
        ("SELECT a[1:i] FROM t", "write a parameter as `(:i)`"),
        ("SELECT ARRAY[a[:i]] FROM t", "write a parameter as `(:i)`"),
        ("SELECT x:id FROM t", "put a space before `:id`"),
        ("SELECT $:id FROM t", "put a space before `:id`"),
        ("SELECT :e'x' FROM t", "put a space behind `:e`"),
        ("SELECT 5:id FROM t", "put a space before `:id`"),
        ("SELECT :n\u{e9} FROM t", "letters a to z"),
        ("SELECT :n$1 FROM t", "letters a to z"),
    ] {
        let reason = Statement::parse(text).expect_err(text);
        assert!(reason.contains(says), "{text}: {reason}");
    }
}

#[test]
fn in_a_statement_of_several_lines_the_line_is_named() {
    let reason = Statement::parse("SELECT a\nFROM t\nWHERE b = 'open\n").unwrap_err();
    assert!(reason.starts_with("line 3 of the statement: "), "{reason}");
}

#[test]
fn signs_that_are_placeholders_of_one_database_are_none_of_another() {
    let question = parsed("SELECT data ? 'k' FROM t WHERE id = :id");
    assert_eq!(question.fits(Dialect::Postgres), Ok(()));
    assert!(question.fits(Dialect::MySql).unwrap_err().contains("MySQL"));
    assert!(question.fits(Dialect::Sqlite).unwrap_err().contains("`:name`"));
    let variable = parsed("SELECT @x FROM t");
    assert_eq!(variable.fits(Dialect::MySql), Ok(()));
    assert!(variable.fits(Dialect::Sqlite).is_err());
    assert!(parsed("SELECT $x FROM t").fits(Dialect::Sqlite).is_err());
    assert_eq!(
        parsed("SELECT '?', \"@\" /* $x ? */ FROM t").fits(Dialect::Sqlite),
        Ok(())
    );
}

#[test]
fn what_one_database_reads_in_another_way_is_refused_for_it() {
    use Dialect::{MySql, Postgres, Sqlite};
    for (text, refused) in [
        (
            "SELECT data #>> '{a}' FROM t",
            vec![(MySql, "begins a comment"), (Sqlite, "placeholder of SQLite")],
        ),
        (
            "SELECT 1 # it's :a\n' FROM t",
            vec![(MySql, "begins a comment"), (Sqlite, "placeholder of SQLite")],
        ),
        ("SELECT `a` FROM t", vec![(Postgres, "quotes no name")]),
        (
            "SELECT $$;$$ FROM t",
            vec![(MySql, "not in MySQL"), (Sqlite, "not in SQLite")],
        ),
        (
            "SELECT E'\\'; DROP TABLE t --' FROM t",
            vec![(MySql, "of PostgreSQL"), (Sqlite, "of PostgreSQL")],
        ),
        ("SELECT a[1:2] FROM t", vec![(Sqlite, "quotes a name in SQLite")]),
        ("SELECT [a-b] FROM t", vec![(Sqlite, "quotes a name in SQLite")]),
        ("SELECT '10':30 FROM t", vec![(Sqlite, "placeholder of SQLite")]),
        (
            "SELECT id FROM t WHERE id = ANY(ARRAY[:a, :b])",
            vec![(Sqlite, "quotes a name in SQLite")],
        ),
        ("SELECT a[(:i)] FROM t", vec![(Sqlite, "quotes a name in SQLite")]),
        ("SELECT [order id], [b] FROM t WHERE id = :id", vec![]),
    ] {
        let statement = parsed(text);
        for dialect in DIALECTS {
            let said = statement.fits(dialect);
            match refused.iter().find(|(other, _)| *other == dialect) {
                Some((_, says)) => {
                    let said = said.expect_err(text);
                    assert!(said.contains(says), "{text}: {said}");
                }
                None => assert_eq!(said, Ok(()), "{text}: {dialect:?}"),
            }
        }
    }
}

#[test]
fn a_parameter_in_a_list_or_in_parentheses_is_none_of_a_subscript() {
    assert_eq!(
        names("SELECT ARRAY[:a, [:b], f(:c)], x[(:d)] FROM t"),
        ["a", "b", "c", "d"]
    );
    assert_eq!(names("SELECT array /* of */ [:a][1] FROM t"), ["a"]);
}

/// A piece of a statement, and the parameter that it is.
fn piece() -> impl Strategy<Value = (String, Option<String>)> {
    let inside = "[a-z :;?@$*-]{0,12}";
    let text = |text: String| (text, None);
    prop_oneof![
        "[a-z_][a-z0-9_]{0,6}".prop_map(|name| (format!(":{name} "), Some(name))),
        inside.prop_map(move |inside| text(format!("'{inside}''{inside}'"))),
        inside.prop_map(move |inside| text(format!("\"{inside}\""))),
        inside.prop_map(move |inside| text(format!("`{inside}`"))),
        inside.prop_map(move |inside| text(format!("-- {inside}\n"))),
        "[a-z :;'\"`]{0,12}".prop_map(move |inside| text(format!("/* {inside}*/"))),
        "[a-z :;'\"`-]{0,12}".prop_map(move |inside| text(format!(" $q${inside}$q$ "))),
        "[a-z :;\"-]{0,12}".prop_map(move |inside| text(format!(" E'{inside}\\'{inside}'"))),
        "[a-z]{1,5}"
            .prop_filter("it writes", |word| word != "into")
            .prop_map(move |word| text(format!(" x::{word} "))),
        Just(text(" = ( 1 + 2.5 ), ".to_owned())),
    ]
}

/// Something that some database quotes, or comments out.
fn quoted() -> impl Strategy<Value = String> {
    let inside = "(:x|;| |a|--|/|\\*|\\\\|'|\"|`|\\$|\\]|\n){0,6}";
    (0_usize..12, inside).prop_map(|(kind, inside)| match kind {
        0 => format!("'{inside}'"),
        1 => format!("\"{inside}\""),
        2 => format!("`{inside}`"),
        3 => format!("[{inside}]"),
        4 => format!("E'{inside}'"),
        5 => format!("$${inside}$$"),
        6 => format!("$t${inside}$t$"),
        7 => format!("-- {inside}\n"),
        8 => format!("# {inside}\n"),
        9 => format!("/* {inside} */"),
        10 => format!("/*! {inside} */"),
        _ => format!("/* {inside} /* {inside} */ {inside} */"),
    })
}

fn is_read_alike(text: &str) -> Result<(), TestCaseError> {
    let Ok(statement) = Statement::parse(text) else {
        return Ok(());
    };
    let mut ours = Vec::new();
    let mut at = 0;
    for part in &statement.parts {
        match part {
            Part::Text(text) => at += text.len(),
            Part::Parameter(name) => {
                ours.push((at, name.clone()));
                at += 1 + name.len();
            }
        }
    }
    for dialect in DIALECTS {
        if statement.fits(dialect).is_err() {
            continue;
        }
        match look(dialect, text) {
            Seen::Read { parameters, statements } => {
                prop_assert_eq!(&parameters, &ours, "{:?}: {}", dialect, text);
                prop_assert_eq!(statements, 1, "{:?}: {}", dialect, text);
            }
            Seen::Open => prop_assert!(false, "{dialect:?}: {text}: something is not closed"),
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn parameters_are_found_among_everything_that_looks_like_one(pieces in prop::collection::vec(piece(), 0..20)) {
        let text: String = pieces.iter().map(|(text, _)| text.as_str()).collect();
        let expected: Vec<String> = pieces.into_iter().filter_map(|(_, name)| name).collect();
        prop_assert_eq!(names(&format!("SELECT {text}")), expected);
    }

    #[test]
    fn nothing_but_the_parameters_is_changed(pieces in prop::collection::vec(piece(), 0..20)) {
        let text: String = pieces.iter().map(|(text, _)| text.as_str()).collect();
        let text = format!("WITH {text}");
        let statement = parsed(&text);
        let names: Vec<&str> = statement.parameters().collect();
        prop_assert_eq!(statement.with_placeholders(|number| format!(":{}", names[number - 1])), text.clone());
    }

    /// Where we take a text for a database, we read it as that database does: no more and no fewer parameters, and one statement.
    #[test]
    fn what_is_sent_to_a_database_is_read_as_it_reads_it(
        text in "SELECT (:a|[a:;'\"`$#/*\\\\?@\\[\\]!()\\-eE1 \n\r\u{a0}]|-- |/\\*|\\*/|'|E'|\\$\\$|::|ARRAY\\[){0,16}"
    ) {
        is_read_alike(&text)?;
    }

    #[test]
    fn in_what_a_database_quotes_nothing_is_a_parameter_and_no_statement_ends(
        quoted in quoted(),
        behind in "( :b)?(;| ;-- \n)?",
    ) {
        let text = format!("SELECT :a, {quoted}{behind}");
        is_read_alike(&text)?;
    }

    #[test]
    fn a_second_statement_is_refused(quoted in quoted(), blank in "[ \n]{0,2}", second in "(DELETE|SELECT|x|;|:a|'|1)") {
        let text = format!("SELECT :a, {quoted};{blank}{second}");
        for dialect in DIALECTS {
            if let Seen::Read { statements, .. } = look(dialect, &text) && statements > 1 {
                let taken = Statement::parse(&text).and_then(|statement| statement.fits(dialect));
                prop_assert!(taken.is_err(), "{dialect:?}: {}", text);
            }
        }
    }

    #[test]
    fn no_text_makes_it_give_up(text in "(SELECT )?[-a-z0-9 \\n:;'\"`$/*\\\\?@é\u{0}]{0,40}") {
        let _ = Statement::parse(&text);
    }
}
