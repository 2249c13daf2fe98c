//! The configuration as a whole: precedence, faults with their lines, and that the template tells the truth.

use std::{path::PathBuf, time::Duration};

use super::*;
use crate::domain::webhook::Shape;

fn no_env(_: &str) -> Option<String> {
    None
}

fn read(text: &str) -> Result<Config, ConfigErrors> {
    parse(
        Some(PathBuf::from("conf/aftercall.toml")),
        text,
        &no_env,
        Overrides::default(),
    )
}

fn faults(text: &str) -> Vec<String> {
    let errors = read(text).expect_err("the text has faults");
    errors.faults.iter().map(ToString::to_string).collect()
}

/// The template with every setting switched on.
fn template_switched_on() -> String {
    let setting = |line: &str| {
        let rest = line.strip_prefix('#')?;
        let first = rest.chars().next()?;
        (first == '[' || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))).then(|| rest.to_owned())
    };
    let lines: Vec<String> = TEMPLATE
        .lines()
        .map(|line| setting(line).unwrap_or_else(|| line.to_owned()))
        .collect();
    lines.join("\n")
}

#[test]
fn everything_works_without_a_file() {
    assert_eq!(parse(None, "", &no_env, Overrides::default()), Ok(Config::default()));
}

#[test]
fn the_template_as_it_is_changes_nothing() {
    assert_eq!(read(TEMPLATE), Ok(Config::default()));
}

/// What the template's references lead to.
fn template_env(name: &str) -> Option<String> {
    let value = match name {
        "TWILIO_AUTH_TOKEN" => "0123456789abcdef0123456789abcdef",
        "OPENAI_API_KEY" => "k",
        "RECORDS_SECRET" => "s",
        "DATABASE_PASSWORD" | "RECORDS_PASSWORD" => "pw",
        _ if name.starts_with("LANGFUSE_") => "lf",
        _ if name.ends_with("_TOKEN") || name.starts_with("CLOUD9_") => "t",
        _ => return None,
    };
    Some(value.to_owned())
}

#[test]
fn every_default_that_the_template_shows_is_the_default() {
    let shown = parse(
        Some(PathBuf::from("aftercall.toml")),
        &template_switched_on(),
        &template_env,
        Overrides {
            webhook_secrets: true,
            ..Overrides::default()
        },
    )
    .unwrap();
    let mut llm = LlmConfig::new("https://api.openai.com/v1", "gpt-4o-mini");
    llm.api_key = Some(Secret::new("env:OPENAI_API_KEY", "k"));
    let mut practice = RecordsConfig::http("practice", "https://records.example/api");
    let RecordsKind::Http { headers, .. } = &mut practice.kind else {
        panic!("a records server is of kind http")
    };
    headers.insert("Authorization".to_owned(), Secret::new("env:RECORDS_TOKEN", "Bearer t"));
    let mut ehr = RecordsConfig::http("ehr", "https://ehr.example/fhir");
    let RecordsKind::Http { more, .. } = &mut ehr.kind else {
        panic!("an EHR is of kind http")
    };
    // Examples, not defaults, but for `method`.
    more.preset = Some("fhir-r4".to_owned());
    more.auth = Some(HttpAuthConfig::OAuth2 {
        token_url: "https://login.example/oauth2/token".to_owned(),
        client_id: Secret::new("the configuration", "aftercall"),
        client_secret: Secret::new("env:RECORDS_SECRET", "s"),
        scope: Some("system/Appointment.read system/Patient.read".to_owned()),
        method: ClientAuthMethod::default(),
    });
    more.values = [("subdomain".to_owned(), "example-practice".to_owned())].into();
    let orthodontics = PlaybookName::BuiltIn("orthodontics".to_owned());
    let cloud9_secret = |name: &str| Secret::new(format!("env:CLOUD9_{name}"), "t");
    let clinic = Cloud9Config {
        // Examples, not defaults.
        timezone: Some(chrono_tz::America::New_York),
        allowed_hours: Some(DailyWindow { from: 120, to: 360 }),
        procedure_pace: [("GetAppointmentListByPatient".to_owned(), Duration::from_secs(2))].into(),
        ..Cloud9Config::new(
            "https://cloud9.example/GetData.ashx",
            cloud9_secret("CLIENT_ID"),
            cloud9_secret("USER"),
            cloud9_secret("PASSWORD"),
        )
    };
    let shop = SqlConfig {
        password: Some(Secret::new("env:RECORDS_PASSWORD", "pw")),
        ..SqlConfig::new(Secret::new(
            "the configuration",
            "postgres://reader@db.example:5432/shop?sslmode=verify-full",
        ))
    };
    let expected = Config {
        sources: vec![
            SourceConfig {
                artifacts: Some(PathBuf::from("agent")),
                ..SourceConfig::bundle("calls", "observations.jsonl", orthodontics.clone())
            },
            SourceConfig {
                kind: SourceKind::Langfuse(Box::new(LangfuseSource::new(
                    "https://cloud.langfuse.com",
                    Secret::new("env:LANGFUSE_PUBLIC_KEY", "lf"),
                    Secret::new("env:LANGFUSE_SECRET_KEY", "lf"),
                    Duration::from_mins(5),
                ))),
                // Examples, not defaults.
                webhooks: vec![WebhookConfig {
                    shape: Shape::Twilio,
                    secrets: vec![Secret::new("env:TWILIO_AUTH_TOKEN", "0123456789abcdef0123456789abcdef")],
                    session_id: Some("/session_id".parse().unwrap()),
                    url: Some("https://aftercall.example/api/v1/sources/langfuse/webhooks/twilio".to_owned()),
                }],
                ..SourceConfig::bundle("langfuse", "", orthodontics)
            },
        ],
        records: vec![
            practice,
            ehr,
            RecordsConfig::cloud9("clinic", clinic),
            RecordsConfig::sql("shop", shop),
        ],
        llm: Some(llm),
        database: Database {
            url: Some(Secret::new(
                "the configuration",
                "postgres://aftercall@db.example:5432/aftercall?sslmode=require",
            )),
            password: Some(Secret::new("env:DATABASE_PASSWORD", "pw")),
            ..Database::default()
        },
        queue: QueueConfig {
            poll: Some(Duration::from_millis(100)),
            ..QueueConfig::default()
        },
        telemetry: TelemetryConfig {
            otlp_endpoint: Some("http://127.0.0.1:4318".to_owned()),
            otlp_headers: [("Authorization".to_owned(), Secret::new("env:OTLP_TOKEN", "Bearer t"))].into(),
            ..TelemetryConfig::default()
        },
        ..Config::default()
    };
    assert_eq!(shown, expected);
}

#[test]
fn every_setting_is_in_the_template() {
    // A key that is read but not documented would be missing from this list of what a typo is compared with.
    for (section, typo) in [
        ("[database]", "zz"),
        ("[llm]\nbase_url = \"http://h\"\nmodel = \"m\"", "zz"),
        ("[schedule]", "zz"),
        ("[limits]", "zz"),
        ("[verification]", "zz"),
        ("[queue]", "zz"),
        ("[retention]", "zz"),
        ("[telemetry]", "zz"),
        ("[[source]]\nname = \"a\"\npath = \"b\"", "zz"),
        (
            "[[source]]\nname = \"a\"\nkind = \"langfuse\"\nbase_url = \"http://h\"",
            "zz",
        ),
        ("[[records]]\nname = \"a\"\nbase_url = \"http://h\"", "zz"),
        (
            "[[records]]\nname = \"a\"\nkind = \"cloud9\"\nurl = \"http://h\"\nclient_id = \"file:Cargo.toml\"",
            "zz",
        ),
        (
            "[[source]]\nname = \"a\"\npath = \"b\"\n[[source.webhook]]\nsecrets = [\"env:A\"]",
            "zz",
        ),
        (
            "[[alert]]\nname = \"a\"\nmetric = \"error_rate\"\nop = \"gt\"\nthreshold = 1",
            "zz",
        ),
    ] {
        let fault = faults(&format!("{section}\n{typo} = 1")).pop().unwrap();
        let (_, known) = fault.split_once("known here: ").unwrap();
        for key in known.split(", ") {
            let documented = TEMPLATE.contains(&format!("\n#{key} = "))
                || TEMPLATE.contains(&format!("#[[source.{key}]]"))
                || TEMPLATE.contains(&format!("#[records.{key}]"))
                || TEMPLATE.contains(&format!("#[telemetry.{key}]"));
            assert!(documented, "{section}: {key} is not in the template");
        }
    }
}

#[test]
fn the_environment_overrides_the_file_and_flags_override_both() {
    let env = |name: &str| match name {
        "AFTERCALL_QUEUE_LEASE" => Some("20s".to_owned()),
        "AFTERCALL_DATABASE_PATH" => Some("from-env.db".to_owned()),
        "AFTERCALL_LIMITS_ANALYZE_SESSION" => Some("5".to_owned()),
        "AFTERCALL_RECORDS_AIR_LINE_BASE_URL" => Some("http://other".to_owned()),
        "AFTERCALL_VERIFICATION_LOOK_AGAIN" => Some("1s,2s".to_owned()),
        _ => None,
    };
    let text = "[database]\npath = \"from-file.db\"\n[queue]\nlease = \"16s\"\n\
                [[records]]\nname = \"air-line\"\nbase_url = \"http://one\"";
    let overrides = Overrides {
        database: Some(PathBuf::from("from-flag.db")),
        ..Overrides::default()
    };
    let config = parse(None, text, &env, overrides).unwrap();
    assert_eq!(config.queue.lease, Duration::from_secs(20));
    assert_eq!(config.database.path, PathBuf::from("from-flag.db"));
    assert_eq!(config.limits.analyze_session, 5);
    assert_eq!(
        config.system("air-line").unwrap(),
        &RecordsConfig::http("air-line", "http://other")
    );
    assert_eq!(config.verification.look_again, [1, 2].map(Duration::from_secs));
    assert_eq!(
        parse(None, text, &env, Overrides::default()).unwrap().database.path,
        PathBuf::from("from-env.db")
    );
}

#[test]
fn paths_in_the_file_are_relative_to_the_file() {
    let config =
        read("[database]\npath = \"data/x.db\"\n[[source]]\nname = \"a\"\npath = \"s.jsonl\"\nplaybook = \"p.toml\"");
    let config = config.unwrap();
    assert_eq!(config.database.path, PathBuf::from("conf/data/x.db"));
    assert_eq!(
        config.sources,
        [SourceConfig::bundle(
            "a",
            "conf/s.jsonl",
            PlaybookName::File(PathBuf::from("conf/p.toml"))
        )]
    );
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known_key() {
    assert_eq!(
        faults("[queue]\n# a comment\nheart_beat = \"3s\""),
        ["conf/aftercall.toml:3: queue.heart_beat: unknown key; did you mean `heartbeat`?"]
    );
    assert_eq!(
        faults("\n[qeue]\nlease = \"3s\""),
        ["conf/aftercall.toml:2: qeue: unknown key; did you mean `queue`?"]
    );
}

#[test]
fn all_faults_are_reported_at_once_each_with_its_line() {
    let found = faults(
        "[database]\ndurability = \"sometimes\"\n[limits]\nanalyze_session = 0\n[queue]\nlease = 12\ngrace = \"soon\"\n\
         [[source]]\nname = \"a b\"\n[[source]]\nname = \"c\"\npath = 7\n[[alert]]\nname = \"x\"\nmetric = \"speed\"\nop = \"lt\"\n\
         [llm]\nbase_url = \"not an address\"\n[schedule]\nreconcile = \"often\"",
    );
    for expected in [
        "conf/aftercall.toml:2: database.durability: should be \"normal\" or \"full\"",
        "conf/aftercall.toml:4: limits.analyze_session: should be a whole number from 1 to 10000",
        "conf/aftercall.toml:6: queue.lease: should be a duration in quotes",
        "conf/aftercall.toml:7: queue.grace: `soon` is not a duration",
        "conf/aftercall.toml:9: source.name: should be at most 64 characters",
        "conf/aftercall.toml:8: source.path: is missing",
        "conf/aftercall.toml:12: source.c.path: should be text, not a whole number",
        "conf/aftercall.toml:15: alert.x.metric: should be \"fulfilment_rate\" or \"error_rate\"",
        "conf/aftercall.toml:13: alert.x.threshold: is missing",
        "conf/aftercall.toml:18: llm.base_url: should be an address",
        "conf/aftercall.toml:17: llm.model: is missing",
        "conf/aftercall.toml:20: schedule.reconcile: should have five fields",
    ] {
        assert!(
            found.iter().any(|fault| fault.starts_with(expected)),
            "{expected}\nnot in\n{}",
            found.join("\n")
        );
    }
    assert_eq!(found.len(), 12, "{}", found.join("\n"));
}

#[test]
fn what_is_not_toml_is_reported_with_its_line() {
    let found = faults("[queue]\nlease = \n");
    assert!(
        found[0].starts_with("conf/aftercall.toml:2: this is not TOML"),
        "{found:?}"
    );
}

#[test]
fn a_secret_in_the_file_is_refused_with_advice_and_not_repeated() {
    let found = faults(
        "[llm]\nbase_url = \"http://h\"\nmodel = \"m\"\napi_key = \"sk-very-secret\"\n\
         [[records]]\nname = \"r\"\nbase_url = \"http://h\"\n[records.headers]\nAuthorization = \"Bearer very-secret\"\nAccept = \"application/json\"",
    );
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].contains(":9: records.r.headers.Authorization") && found[0].contains("env:NAME"),
        "{found:?}"
    );
    assert!(
        found[1].contains(":4: llm.api_key") && found[1].contains("env:NAME"),
        "{found:?}"
    );
    assert!(!found.join("").contains("very-secret"), "{found:?}");
}

#[test]
fn an_llm_can_be_described_by_the_environment_alone() {
    let env = |name: &str| match name {
        "AFTERCALL_LLM_BASE_URL" => Some("http://127.0.0.1:11434/v1".to_owned()),
        "AFTERCALL_LLM_MODEL" => Some("small".to_owned()),
        "AFTERCALL_LLM_API_KEY" => Some("sk-very-secret".to_owned()),
        _ => None,
    };
    let config = parse(None, "", &env, Overrides::default()).unwrap();
    let llm = config.llm.as_ref().unwrap();
    assert_eq!(
        (llm.model.as_str(), llm.base_url.as_str()),
        ("small", "http://127.0.0.1:11434/v1")
    );
    assert_eq!(llm.api_key.as_ref().unwrap().expose(), "sk-very-secret");
    assert!(!format!("{config:?}").contains("very-secret"));
    assert!(!serde_json::to_string(&config).unwrap().contains("very-secret"));
}

#[test]
fn secrets_are_not_followed_for_commands_that_call_nothing() {
    let text = "[llm]\nbase_url = \"http://h\"\nmodel = \"m\"\napi_key = \"env:NOT_SET_HERE\"";
    assert!(faults(text)[0].contains("NOT_SET_HERE is not set"));
    let overrides = Overrides {
        without_secrets: true,
        ..Overrides::default()
    };
    assert!(parse(None, text, &no_env, overrides).is_ok());
}

#[test]
fn names_that_occur_twice_are_refused() {
    let found = faults("[[source]]\nname = \"a\"\npath = \"x\"\n[[source]]\nname = \"a\"\npath = \"y\"");
    assert!(found[0].contains("source.a: this name is given twice"), "{found:?}");
}

#[test]
fn a_source_of_the_flags_takes_the_place_of_a_configured_one() {
    let airline = PlaybookName::BuiltIn("airline".to_owned());
    let overrides = Overrides {
        source: Some(SourceConfig::bundle("a", "flag.jsonl", airline.clone())),
        records: vec![RecordsConfig::http("r", "http://flag")],
        ..Overrides::default()
    };
    let text = "[[source]]\nname = \"a\"\npath = \"x\"\n[[records]]\nname = \"r\"\nbase_url = \"http://file\"";
    let config = parse(None, text, &no_env, overrides).unwrap();
    assert_eq!(config.sources, [SourceConfig::bundle("a", "flag.jsonl", airline)]);
    assert_eq!(config.records, [RecordsConfig::http("r", "http://flag")]);
}

#[test]
fn a_named_file_that_is_not_there_is_a_fault_and_the_default_file_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let errors = load(Some(&folder.path().join("no.toml")), &no_env, Overrides::default()).unwrap_err();
    assert!(errors.to_string().contains("aftercall init"), "{errors}");
}

#[test]
fn a_heartbeat_that_would_lose_leases_is_refused() {
    assert!(faults("[queue]\nlease = \"4s\"\nheartbeat = \"2s\"")[0].contains(":3: queue.heartbeat"));
}

#[test]
fn a_langfuse_source_needs_its_address_and_keys_and_an_overlap_that_covers_late_data() {
    let found = faults("[[source]]\nname = \"a\"\nkind = \"langfuse\"");
    for missing in [
        "base_url: is missing",
        "public_key: is missing",
        "secret_key: is missing",
    ] {
        assert!(
            found.iter().any(|fault| fault.contains(missing)),
            "{missing}: {found:?}"
        );
    }
    let keys = "public_key = \"file:a\"\nsecret_key = \"sk-lf-very-secret\"";
    let text = format!("[[source]]\nname = \"a\"\nkind = \"langfuse\"\nbase_url = \"http://h\"\n{keys}");
    let found = faults(&text).join("\n");
    assert!(
        found.contains("cannot read the secret") && found.contains("a secret is not written here"),
        "{found}"
    );
    assert!(!found.contains("very-secret"), "{found}");

    let env = |name: &str| name.starts_with("KEY").then(|| "lf".to_owned());
    let with = |settings: &str| {
        let text = format!(
            "[[source]]\nname = \"a\"\nkind = \"langfuse\"\nbase_url = \"http://h\"\npublic_key = \"env:KEY1\"\n\
             secret_key = \"env:KEY2\"\n{settings}"
        );
        parse(None, &text, &env, Overrides::default())
    };
    for (settings, fault) in [
        ("overlap = \"19m\"", "overlap: should be at least 20m"),
        (
            "settle_after = \"10m\"\noverlap = \"24m\"",
            "overlap: should be at least 25m",
        ),
        ("rescan = \"20m\"", "rescan: should not be shorter than `overlap`"),
        (
            "end_metadata = [\"ended\"]",
            "end_metadata: should be a list of keys and values",
        ),
        ("end_tags = \"ended\"", "end_tags: should be a list of texts"),
        ("path = \"x\"", "path: unknown key"),
    ] {
        let errors = with(settings).unwrap_err().to_string();
        assert!(errors.contains(fault), "{settings}: {errors}");
    }
    let config = with("settle_after = \"10m\"\nend_tags = [\"call-ended\"]\nrequests_per_minute = 14").unwrap();
    let SourceKind::Langfuse(langfuse) = &config.sources[0].kind else {
        panic!("it is a Langfuse source");
    };
    assert_eq!(langfuse.overlap, Duration::from_mins(35));
    assert_eq!(langfuse.end_tags, ["call-ended"]);
    assert_eq!(langfuse.requests_per_minute, Some(14));
}

#[test]
fn a_daily_budget_needs_prices() {
    let text = |llm: &str, budget: &str| {
        format!(
            "[[source]]\nname = \"a\"\npath = \"b\"\ndaily_budget = {budget}\n[llm]\nbase_url = \"http://h\"\nmodel = \"m\"\n{llm}"
        )
    };
    assert_eq!(
        faults(&text("", "2.5")),
        [
            "conf/aftercall.toml:4: source.a.daily_budget: can never be spent: set `price_prompt` and `price_completion` in [llm]"
        ]
    );
    assert_eq!(
        faults(&text("price_prompt = 1", "-1")),
        ["conf/aftercall.toml:4: source.a.daily_budget: should be a number from 0 to 1000000000"]
    );
    let config = read(&text("price_prompt = 1", "2.5")).unwrap();
    assert_eq!(config.sources[0].daily_budget_micros(), Some(2_500_000));
    assert_eq!(read(&text("", "0")).unwrap().sources[0].daily_budget_micros(), None);
}

#[test]
fn a_database_of_records_is_named_by_an_address_without_a_password() {
    let text = |settings: &str| format!("[[records]]\nname = \"shop\"\nkind = \"sql\"\n{settings}");
    for (settings, fault) in [
        ("", ":1: records.shop.url: is missing: the address of the database"),
        (
            "url = \"postgress://h/db\"",
            ":4: records.shop.url: should be the address of a database",
        ),
        ("url = \"postgress://h/db\"", "did you mean `postgres:`?"),
        (
            "url = \"mysql://u:very-secret@h/db\"",
            ":4: records.shop.url: a password is not written here",
        ),
        (
            "url = \"postgres://h/db?password=very-secret\"",
            "a password is not written here",
        ),
        ("url = \"very-secret\"", "should be the address of a database"),
        ("url = \"env:NOT_SET\"", "NOT_SET is not set"),
        (
            "url = \"sqlite:shop.db?mode=rwc\"",
            "conf/aftercall.toml:4: records.shop.url: `mode=rwc` would make the file",
        ),
        (
            "url = \"sqlite::memory:\"",
            "conf/aftercall.toml:4: records.shop.url: `:memory:` is a new and empty database",
        ),
        (
            "url = \"env:RECORDS_MEMORY\"",
            ":4: records.shop.url: `mode=memory` is a new and empty database",
        ),
        (
            "url = \"sqlite:shop.db\"\npassword = \"env:RECORDS_SECRET\"",
            ":5: records.shop.password: an SQLite file has no password",
        ),
        ("url = \"env:RECORDS_SECRET\"", "should be the address of a database"),
        (
            "url = \"sqlite:shop.db\"\nbase_url = \"http://h\"",
            ":5: records.shop.base_url: unknown key",
        ),
        (
            "url = \"sqlite:shop.db\"\ntimeout = \"1ms\"",
            ":5: records.shop.timeout: should be at least 100ms",
        ),
    ] {
        let env = |name: &str| match name {
            "RECORDS_SECRET" => Some("very-secret".to_owned()),
            "RECORDS_MEMORY" => Some("sqlite:very-secret.db?mode=memory".to_owned()),
            _ => None,
        };
        let file = Some(PathBuf::from("conf/aftercall.toml"));
        let found = parse(file, &text(settings), &env, Overrides::default())
            .unwrap_err()
            .to_string();
        assert!(found.contains(fault), "{settings}: {found}");
        assert!(!found.contains("very-secret"), "{found}");
    }
    let env = |name: &str| (name == "URL").then(|| "mariadb://u:very-secret@h/db".to_owned());
    let file = Some(PathBuf::from("conf/aftercall.toml"));
    let config = parse(file, &text("url = \"env:URL\""), &env, Overrides::default()).unwrap();
    let RecordsKind::Sql(sql) = &config.records[0].kind else {
        panic!("it is of kind sql")
    };
    assert_eq!(sql.url.expose(), "mariadb://u:very-secret@h/db");
    assert_eq!(sql.folder, PathBuf::from("conf"));
    let shown = format!("{config:?}{}", serde_json::to_string(&config).unwrap());
    assert!(!shown.contains("very-secret"), "{shown}");
}

#[test]
fn spans_go_where_the_section_says_or_else_where_every_program_sends_them() {
    let read = |text: &str, overrides: Overrides| {
        let env = |name: &str| match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("http://collector:4318/".to_owned()),
            "OTEL_SERVICE_NAME" => Some("night shift".to_owned()),
            "KNOWN" => Some("k".to_owned()),
            _ => None,
        };
        parse(None, text, &env, overrides).map(|config| config.telemetry)
    };
    let usual = read("", Overrides::default()).unwrap();
    assert_eq!(
        usual.traces_endpoint().as_deref(),
        Some("http://collector:4318/v1/traces")
    );
    assert_eq!((usual.service_name.as_str(), usual.sample_ratio), ("night shift", 1.0));
    let text = "[telemetry]\notlp_endpoint = \"https://h/api/public/otel\"\nservice_name = \"ours\"\nsample_ratio = 0.25\n\
                [telemetry.otlp_headers]\nAuthorization = \"Basic env:KNOWN\"\nX-Other = \"env:NOBODY\"";
    assert!(
        read(text, Overrides::default())
            .unwrap_err()
            .to_string()
            .contains("NOBODY is not set")
    );
    // A process that needs no secret takes what there is.
    let looks = Overrides {
        without_secrets: true,
        ..Overrides::default()
    };
    let ours = read(text, looks).unwrap();
    assert_eq!(
        ours.traces_endpoint().as_deref(),
        Some("https://h/api/public/otel/v1/traces")
    );
    assert_eq!((ours.service_name.as_str(), ours.sample_ratio), ("ours", 0.25));
    let headers: Vec<&str> = ours.otlp_headers.values().map(Secret::expose).collect();
    assert_eq!(headers, ["Basic k", ""]);
    assert_eq!(
        parse(None, "", &no_env, Overrides::default())
            .unwrap()
            .telemetry
            .traces_endpoint(),
        None
    );
}

/// A source with this webhook, as who is sent its requests reads it.
fn webhook(settings: &str) -> Result<Config, Vec<String>> {
    let env = |name: &str| match name {
        "LONG" | "LONG_TOO" => Some("0123456789abcdef0123456789abcdef".to_owned()),
        "SHORT" => Some("hunter2-hunter2-hunter2-hunter2".to_owned()),
        _ => None,
    };
    let text = format!("[[source]]\nname = \"calls\"\npath = \"b\"\n{settings}");
    let overrides = Overrides {
        webhook_secrets: true,
        ..Overrides::default()
    };
    let read = parse(Some(PathBuf::from("aftercall.toml")), &text, &env, overrides);
    read.map_err(|errors| errors.faults.iter().map(ToString::to_string).collect())
}

#[test]
fn a_webhook_has_secrets_that_are_long_enough_and_its_shape_says_what_else() {
    let config = webhook("[source.webhook]\nsecrets = [\"env:LONG\", \"env:LONG_TOO\"]").unwrap();
    let generic = config.sources[0].webhook(Shape::Generic).unwrap();
    assert_eq!(generic.secrets.len(), 2);
    assert!(config.sources[0].webhook(Shape::Vapi).is_none());
    let both = "[[source.webhook]]\nsecrets = [\"env:LONG\"]\n[[source.webhook]]\nshape = \"vapi\"\nsecrets = [\"env:LONG\"]\n";
    assert_eq!(webhook(both).unwrap().sources[0].webhooks.len(), 2);
    for (settings, says) in [
        ("", "is missing: references to the secrets"),
        ("secrets = []", "should name at least one secret"),
        ("secrets = [\"env:SHORT\"]", "at least 32 bytes"),
        ("secrets = [\"hunter2-hunter2-hunter2-hunter2-hunter2\"]", "env:NAME"),
        ("secrets = [\"env:NOBODY\"]", "NOBODY is not set"),
        ("secrets = \"env:LONG\"", "should be a list of texts"),
        ("secret = [\"env:LONG\"]", "did you mean `secrets`?"),
        (
            "shape = \"vappi\"\nsecrets = [\"env:LONG\"]",
            "should be \"generic\" or \"vapi\"",
        ),
        (
            "shape = \"twilio\"\nsecrets = [\"env:LONG\"]",
            "is missing: where Twilio sends its requests",
        ),
        (
            "url = \"https://h/p\"\nsecrets = [\"env:LONG\"]",
            "for shape = \"twilio\" alone",
        ),
        (
            "session_id = \"/a\"\nsecrets = [\"env:LONG\"]",
            "names its session in the path",
        ),
        (
            "shape = \"vapi\"\nsession_id = \"a.b\"\nsecrets = [\"env:LONG\"]",
            "should be a JSON pointer",
        ),
        (
            "shape = \"twilio\"\nurl = \"https://h/p\"\nsession_id = \"/a/b\"\nsecrets = [\"env:LONG\"]",
            "should name a parameter",
        ),
        (
            "secrets = [\"env:LONG\"]\n[[source.webhook]]\nsecrets = [\"env:LONG\"]",
            "is given twice",
        ),
    ] {
        let faults = webhook(&format!("[[source.webhook]]\n{settings}")).unwrap_err();
        assert!(
            faults.iter().any(|fault| fault.contains(says)),
            "{settings}: {faults:?}"
        );
        assert!(!faults.iter().any(|fault| fault.contains("hunter2")), "{faults:?}");
        assert!(
            faults.iter().all(|fault| fault.contains("aftercall.toml:")),
            "{faults:?}"
        );
    }
    assert!(webhook("webhook = 1").unwrap_err()[0].contains("should be a table: [[source.calls.webhook]]"));
}

#[test]
fn only_who_is_sent_requests_follows_the_references_of_webhooks() {
    let text = "[[source]]\nname = \"calls\"\npath = \"b\"\n[[source.webhook]]\nsecrets = [\"env:NOBODY\"]";
    let config = read(text).unwrap();
    assert_eq!(config.sources[0].webhooks[0].secrets[0].expose(), "");
    assert!(read(&text.replace("env:NOBODY", "literal")).is_err());
}
