//! What the dashboard and the alert rules ask for is there, and whatever is there is documented.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use regex::Regex;
use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

use crate::support::{
    Engine, bakery,
    child::Child,
    engine,
    http::get,
    until,
    world::{Plan, World},
};

fn document(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Every metric that is served, and whether it is a histogram.
async fn served(world: &World) -> BTreeMap<String, bool> {
    let api = Child::start(world, &["api", "--listen", "127.0.0.1:0"], &[]);
    let url = format!("{}/metrics", api.url().await);
    let metrics = RefCell::new(String::new());
    // It listens before it has a connection to its database.
    until("it has figures", async || {
        let (status, answer) = get(&url).await;
        metrics.replace(answer);
        status == 200
    })
    .await;
    metrics
        .into_inner()
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), kind == "histogram"))
        .collect()
}

/// The metrics of an expression, each with the labels that it is chosen by, and those that it is summed by.
fn asked_for(expression: &str) -> Vec<(String, BTreeSet<String>)> {
    let metric = Regex::new(r"(aftercall_[a-z_]+)(?:\{([^}]*)\})?").unwrap();
    let label = Regex::new(r#"([a-z_]+)\s*(?:=~|!~|!=|=)\s*""#).unwrap();
    metric
        .captures_iter(expression)
        .map(|found| {
            let matchers = found.get(2).map_or("", |matchers| matchers.as_str());
            let labels = label.captures_iter(matchers).map(|found| found[1].to_owned());
            (found[1].to_owned(), labels.collect())
        })
        .collect()
}

/// Metrics and their labels as the operations manual has them.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let form = Regex::new(r"`(aftercall_[a-z_]+)(?:\{([a-z_,]+)\})?`").unwrap();
    let manual = document("docs/operations.md");
    let table = manual.lines().filter(|line| line.starts_with("| `aftercall_"));
    let table = table.collect::<Vec<_>>().join("\n");
    form.captures_iter(&table)
        .map(|found| {
            let labels = found.get(2).map_or("", |labels| labels.as_str()).split(',');
            let labels = labels.filter(|label| !label.is_empty()).map(str::to_owned);
            (found[1].to_owned(), labels.collect())
        })
        .collect()
}

fn texts<'a>(value: &'a Value, key: &str, into: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == key => into.push(text),
                    other => texts(other, key, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, key, into)),
        _ => {}
    }
}

fn rules(alerts: &Yaml) -> Vec<&Yaml> {
    let groups = alerts["groups"].as_vec().unwrap();
    groups
        .iter()
        .flat_map(|group| group["rules"].as_vec().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dashboard_and_the_alert_rules_ask_for_what_is_served_and_all_of_it_is_documented() {
    engine::on(Engine::Sqlite, async {
        let world = Plan::of(&[bakery::ordered("s-1")]).start().await;
        let served = served(&world).await;
        let documented = documented();
        let names: BTreeSet<&String> = served.keys().collect();
        assert_eq!(names, documented.keys().collect(), "docs/operations.md");

        let dashboard: Value = serde_json::from_str(&document("docs/grafana/aftercall.json")).unwrap();
        let mut expressions = Vec::new();
        texts(&dashboard, "expr", &mut expressions);
        assert!(expressions.len() > 30, "{expressions:?}");
        let alerts = YamlLoader::load_from_str(&document("docs/prometheus/alerts.yml")).unwrap();
        let rules = rules(&alerts[0]);
        assert!(rules.len() > 15);
        expressions.extend(rules.iter().map(|rule| rule["expr"].as_str().unwrap()));

        let mut used = BTreeSet::new();
        for expression in expressions {
            let asked = asked_for(expression);
            assert!(!asked.is_empty(), "{expression}");
            for (name, labels) in asked {
                let part = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|part| name.strip_suffix(part));
                let metric = match (part, served.get(&name)) {
                    (_, Some(is_histogram)) => {
                        assert!(!is_histogram, "{expression}: a histogram has only parts");
                        name.as_str()
                    }
                    (Some(histogram), None) if served.get(histogram) == Some(&true) => histogram,
                    _ => panic!("{expression}: {name} is not served"),
                };
                let unknown: Vec<&String> = labels
                    .difference(&documented[metric])
                    .filter(|label| *label != "le")
                    .collect();
                assert!(unknown.is_empty(), "{expression}: {metric} has no label {unknown:?}");
                used.insert(metric.to_owned());
            }
        }
        let unused: Vec<&String> = served.keys().filter(|name| !used.contains(*name)).collect();
        assert!(unused.is_empty(), "nobody looks at {unused:?}");
    })
    .await;
}

#[test]
fn every_alert_says_how_bad_it_is_what_is_wrong_and_what_to_run() {
    let alerts = YamlLoader::load_from_str(&document("docs/prometheus/alerts.yml")).unwrap();
    let label = Regex::new(r"\$labels\.([a-z_]+)").unwrap();
    let mut names = BTreeSet::new();
    for rule in rules(&alerts[0]) {
        let name = rule["alert"].as_str().unwrap();
        assert!(name.starts_with("Aftercall") && names.insert(name), "{name}");
        assert!(
            rule["for"].as_str().is_some_and(|wait| wait.ends_with(['m', 'h'])),
            "{name}"
        );
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}");
        assert!(
            rule["annotations"]["summary"]
                .as_str()
                .is_some_and(|text| text.ends_with(['.', '?'])),
            "{name}"
        );
        let runbook = rule["annotations"]["runbook"].as_str().unwrap();
        assert!(runbook.contains("`aftercall "), "{name}: {runbook}");
        // Of what a label is named in words, the expression must keep it.
        let expression = rule["expr"].as_str().unwrap();
        let summary = rule["annotations"]["summary"].as_str().unwrap();
        for found in label.captures_iter(&format!("{summary} {runbook}")) {
            let kept = !expression.contains("sum") || expression.contains(&format!("by ({}", &found[1]));
            assert!(kept, "{name}: {} is gone in {expression}", &found[1]);
        }
    }
}
