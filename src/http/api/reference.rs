//! The document for people: one page, without a script or anything from elsewhere.

use std::fmt::Write as _;

use axum::{
    body::Bytes,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::problem::Code;

const STYLE: &str = "\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}\
h2{margin-top:3rem;border-bottom:1px solid #bbb}h3{margin-top:2rem;font:600 1rem ui-monospace,monospace;overflow-wrap:anywhere}\
code,pre{font:.9em ui-monospace,monospace;background:#f2f2f2;border-radius:.2rem}code{padding:.1em .3em}\
pre{padding:.8rem;overflow-x:auto}table{border-collapse:collapse;width:100%}\
td,th{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0;border-bottom:1px solid #ddd}\
.needs{font-weight:400;color:#5a5a5a}a{color:#0645ad}\
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}code,pre{background:#262626}\
td,th,h2{border-color:#444}.needs{color:#aaa}a{color:#8ab4f8}}";

/// The page, and what a browser may do with it.
#[derive(Debug)]
pub(super) struct Page {
    html: Bytes,
    policy: HeaderValue,
}

impl Page {
    pub(super) fn of(document: &Value) -> Self {
        let hash = STANDARD.encode(Sha256::digest(STYLE));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{hash}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        );
        Self {
            html: page(document).into(),
            // Letters, digits and what Base64 has beside them.
            policy: HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'")),
        }
    }

    pub(super) fn answer(&self) -> Response {
        let headers = [
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static("text/html; charset=utf-8"),
            ),
            (header::CONTENT_SECURITY_POLICY, self.policy.clone()),
        ];
        (headers, self.html.clone()).into_response()
    }
}

fn page(document: &Value) -> String {
    let info = &document["info"];
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{title} API</title>\
         <style>{STYLE}</style></head><body><h1>{title} {version}</h1><p>{about}</p>\
         <p>As OpenAPI 3.1: <a href=\"openapi.json\">openapi.json</a>. A first question:</p>\
         <pre>curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:7700/api/v1/queues</pre>",
        title = text(&info["title"]),
        version = text(&info["version"]),
        about = prose(&info["description"]),
    );
    for tag in document["tags"].as_array().into_iter().flatten() {
        let name = tag["name"].as_str().unwrap_or_default();
        let _ = write!(
            html,
            "<h2 id=\"{0}\">{0}</h2><p>{1}</p>",
            text(&tag["name"]),
            prose(&tag["description"])
        );
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                if operation["tags"][0] == name {
                    html.push_str(&shown(path, method, operation));
                }
            }
        }
    }
    html.push_str(&problems());
    html.push_str("<h2 id=\"schemas\">Schemas</h2>");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let json = serde_json::to_string_pretty(schema).unwrap_or_default();
        let name = escape(name);
        let _ = write!(
            html,
            "<details id=\"schema-{name}\"><summary><code>{name}</code></summary><pre>{}</pre></details>",
            escape(&json)
        );
    }
    html.push_str("</body></html>\n");
    html
}

fn shown(path: &str, method: &str, operation: &Value) -> String {
    let needs = operation["security"][0]["token"][0].as_str().unwrap_or_default();
    let mut html = format!(
        "<h3>{} {} <span class=\"needs\">{}</span></h3><p>{}</p>",
        escape(&method.to_uppercase()),
        escape(path),
        escape(needs),
        prose(&operation["summary"]),
    );
    if let Some(parameters) = operation["parameters"].as_array() {
        html.push_str("<table><tr><th>in</th><th>name</th><th></th></tr>");
        for parameter in parameters {
            let _ = write!(
                html,
                "<tr><td>{}</td><td><code>{}</code></td><td>{} {}</td></tr>",
                text(&parameter["in"]),
                text(&parameter["name"]),
                prose(&parameter["description"]),
                allowed(&parameter["schema"]),
            );
        }
        html.push_str("</table>");
    }
    if let Some(reference) = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str() {
        let _ = write!(html, "<p>Body: {}</p>", link(reference));
    }
    html.push_str("<table><tr><th>status</th><th></th><th></th></tr>");
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let content = response["content"]
            .as_object()
            .and_then(|content| content.values().next());
        let reference = content.and_then(|content| content["schema"]["$ref"].as_str());
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(status),
            prose(&response["description"]),
            reference.map(link).unwrap_or_default(),
        );
    }
    html + "</table>"
}

fn problems() -> String {
    let mut html =
        "<h2 id=\"problems\">Problems</h2><p>Every error is <code>application/problem+json</code> with one of \
                    these codes.</p><table><tr><th>status</th><th>code</th><th>what</th><th>next</th></tr>"
            .to_owned();
    for code in Code::ALL {
        let _ = write!(
            html,
            "<tr id=\"problem-{word}\"><td>{}</td><td><code>{word}</code></td><td>{}</td><td>{}</td></tr>",
            code.status().as_u16(),
            escape(code.title()),
            marked(code.next_step()),
            word = escape(&code.word()),
        );
    }
    html + "</table>"
}

/// The bounds of a value in a few words.
fn allowed(schema: &Value) -> String {
    let mut words = Vec::new();
    let items = if schema["items"].is_object() {
        &schema["items"]
    } else {
        schema
    };
    if let Some(values) = items["enum"].as_array() {
        let values = values
            .iter()
            .filter_map(Value::as_str)
            .map(|value| format!("<code>{}</code>", escape(value)));
        words.push(values.collect::<Vec<String>>().join(" "));
    }
    for (key, name) in [
        ("default", "default"),
        ("minimum", "from"),
        ("maximum", "to"),
        ("format", "as"),
    ] {
        if !schema[key].is_null() {
            words.push(format!("{name} {}", text(&schema[key])));
        }
    }
    words.join(", ")
}

fn link(reference: &str) -> String {
    let name = escape(reference.rsplit('/').next().unwrap_or_default());
    format!("<a href=\"#schema-{name}\">{name}</a>")
}

/// A value as text.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => escape(text),
        Value::Null => String::new(),
        other => escape(&other.to_string()),
    }
}

/// A sentence, with its `code`.
fn prose(value: &Value) -> String {
    marked(value.as_str().unwrap_or_default())
}

fn marked(sentence: &str) -> String {
    let parts = sentence.split('`').enumerate();
    let marked = parts.map(|(at, part)| match at % 2 {
        0 => escape(part),
        _ => format!("<code>{}</code>", escape(part)),
    });
    marked.collect()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whatever_the_document_says_is_text_on_the_page() {
        let hostile = "<script>alert(1)</script>\" onload='x' `<b>`";
        let document = json!({
            "info": {"title": hostile, "version": hostile, "description": hostile},
            "tags": [{"name": hostile, "description": hostile}],
            "paths": {hostile: {"get": {
                "tags": [hostile], "summary": hostile,
                "parameters": [{"in": hostile, "name": hostile, "schema": {"enum": [hostile], "default": hostile}}],
                "responses": {hostile: {"description": hostile, "content": {"x": {"schema": {"$ref": hostile}}}}}
            }}},
            "components": {"schemas": {hostile: {"description": hostile}}}
        });
        let html = page(&document);
        assert!(
            !html.contains("<script") && !html.contains("onload='") && !html.contains("<b>"),
            "{html}"
        );
        assert_eq!(html.matches("<style>").count(), 1);
    }
}
