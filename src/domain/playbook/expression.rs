//! The small languages of a playbook: conditions and computed values in CEL, paths in RFC 9535 `JSONPath`.
//!
//! Both are compiled once, when the playbook is read. What they are applied to is hostile: an expression that cannot be
//! evaluated there (a missing key, a type that does not fit) is false, or no value, and never an error of the session.

use std::{
    collections::BTreeSet,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, LazyLock},
};

use cel::{
    Context, Env, IdedExpr, Program,
    common::ast::{EntryExpr, Expr},
    objects::Key,
};
use serde_json::Value;
use serde_json_path::JsonPath;

/// The standard functions of CEL; building them for each evaluation would cost more than the evaluation.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A CEL expression.
#[derive(Clone)]
pub struct Expression {
    text: String,
    program: Arc<Program>,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.text)
    }
}

impl Expression {
    /// Compiles an expression over the variables named.
    ///
    /// # Errors
    /// The reason in words: a syntax error, or a variable that does not exist here.
    pub fn compile(text: &str, variables: &[&str]) -> Result<Self, String> {
        // The parser is somebody else's: if it panics on a playbook's text, that is a fault of this line, not of the process.
        let compiled = catch_unwind(AssertUnwindSafe(|| Program::compile(text)));
        let program = match compiled {
            Ok(Ok(program)) => program,
            Ok(Err(error)) => {
                let words = one_line(&error.to_string());
                // What follows draws the line again, with a mark below it.
                let words = words.split(" | ").next().unwrap_or_default();
                return Err(format!(
                    "not a CEL expression: {}",
                    words.trim_start_matches("ERROR: <input>:")
                ));
            }
            Err(_) => return Err("not a CEL expression: the parser gave up on it".into()),
        };
        let mut free = BTreeSet::new();
        free_variables(program.expression(), &mut Vec::new(), &mut free);
        if let Some(name) = free.iter().find(|name| !variables.contains(name)) {
            let hint = super::fault::suggestion(name, variables.iter().copied());
            return Err(format!("CEL variable \"{name}\" does not exist here{hint}"));
        }
        Ok(Self {
            text: text.to_owned(),
            program: Arc::new(program),
        })
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is true of the members of `variables`. False when it cannot be evaluated.
    pub fn holds(&self, variables: &Value) -> bool {
        matches!(self.evaluate(variables), Some(cel::Value::Bool(true)))
    }

    /// Its value over the members of `variables`; `None` when it cannot be evaluated or is null.
    pub fn value(&self, variables: &Value) -> Option<Value> {
        let value = self.evaluate(variables)?.json().ok()?;
        (!value.is_null()).then_some(value)
    }

    fn evaluate(&self, variables: &Value) -> Option<cel::Value> {
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        let references = self.program.references();
        for (name, value) in variables.as_object()? {
            if references.has_variable(name) {
                context.add_variable_from_value(name.clone(), to_cel(value));
            }
        }
        catch_unwind(AssertUnwindSafe(|| self.program.execute(&context).ok())).ok()?
    }
}

/// The variables that an expression takes from outside: not those that `exists`, `map` or `filter` bind inside it.
fn free_variables<'e>(expression: &'e IdedExpr, bound: &mut Vec<&'e str>, free: &mut BTreeSet<&'e str>) {
    match &expression.expr {
        Expr::Unspecified | Expr::Literal(_) => {}
        Expr::Ident(name) => {
            if !name.starts_with('@') && !bound.contains(&name.as_str()) {
                free.insert(name);
            }
        }
        Expr::Call(call) => {
            for part in call.target.iter().map(AsRef::as_ref).chain(&call.args) {
                free_variables(part, bound, free);
            }
        }
        Expr::Comprehension(comprehension) => {
            free_variables(&comprehension.iter_range, bound, free);
            free_variables(&comprehension.accu_init, bound, free);
            let depth = bound.len();
            bound.push(&comprehension.iter_var);
            bound.push(&comprehension.accu_var);
            bound.extend(comprehension.iter_var2.as_deref());
            free_variables(&comprehension.loop_cond, bound, free);
            free_variables(&comprehension.loop_step, bound, free);
            free_variables(&comprehension.result, bound, free);
            bound.truncate(depth);
        }
        Expr::List(list) => {
            for element in &list.elements {
                free_variables(element, bound, free);
            }
        }
        Expr::Select(select) => free_variables(&select.operand, bound, free),
        Expr::Map(map) => entries(map.entries.iter().map(|entry| &entry.expr), bound, free),
        Expr::Struct(members) => entries(members.entries.iter().map(|entry| &entry.expr), bound, free),
    }
}

fn entries<'e>(entries: impl Iterator<Item = &'e EntryExpr>, bound: &mut Vec<&'e str>, free: &mut BTreeSet<&'e str>) {
    for entry in entries {
        match entry {
            EntryExpr::StructField(field) => free_variables(&field.value, bound, free),
            EntryExpr::MapEntry(member) => {
                free_variables(&member.key, bound, free);
                free_variables(&member.value, bound, free);
            }
        }
    }
}

/// JSON as CEL sees it: whole numbers are `int` where they fit, so that `item.count == 1` means what it says.
fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(flag) => cel::Value::Bool(*flag),
        Value::Number(number) => {
            if let Some(whole) = number.as_i64() {
                cel::Value::Int(whole)
            } else if let Some(whole) = number.as_u64() {
                cel::Value::UInt(whole)
            } else {
                cel::Value::Float(number.as_f64().unwrap_or(f64::NAN))
            }
        }
        Value::String(text) => cel::Value::from(text.as_str()),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(members) => {
            let map: std::collections::HashMap<Key, cel::Value> = members
                .iter()
                .map(|(name, value)| (Key::from(name.as_str()), to_cel(value)))
                .collect();
            cel::Value::from(map)
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A `JSONPath`.
#[derive(Debug, Clone)]
pub struct Path {
    text: String,
    path: JsonPath,
}

impl Path {
    /// Compiles a path.
    ///
    /// # Errors
    /// The reason in words.
    pub fn compile(text: &str) -> Result<Self, String> {
        JsonPath::parse(text)
            .map(|path| Self {
                text: text.to_owned(),
                path,
            })
            .map_err(|error| {
                format!(
                    "not a JSONPath: {} at character {}",
                    one_line(error.message()),
                    error.position() + 1
                )
            })
    }

    /// The path as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first name after the root: `output` in `$.output.id`.
    pub fn first_name(&self) -> Option<&str> {
        let rest = self.text.strip_prefix("$.")?;
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        Some(&rest[..end])
    }

    /// Everything that it selects, in order.
    pub fn all<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        self.path.query(value).all()
    }

    /// The first value selected that is neither null nor an empty text.
    pub fn first<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.all(value).into_iter().find(|found| !is_blank(found))
    }
}

/// Null, or text of nothing but white space: tools write both for "none".
pub(crate) fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        _ => false,
    }
}

/// Where a value comes from: the computed value, else the first path that finds one.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// Tried in order.
    pub paths: Vec<Path>,
    /// A path that selects several nodes gives a list of them all, not the first of them.
    pub all: bool,
    /// CEL, tried first: where it cannot be evaluated the paths are asked.
    pub value: Option<Expression>,
}

impl Source {
    /// The value found in `document`, whose members are also the variables of the expression.
    pub fn get(&self, document: &Value) -> Option<Value> {
        let computed = self.value.as_ref().and_then(|expression| expression.value(document));
        if let Some(value) = computed.filter(|value| !is_blank(value)) {
            return Some(value);
        }
        for path in &self.paths {
            if self.all {
                let found = path.all(document);
                if !found.is_empty() {
                    return Some(Value::Array(found.into_iter().cloned().collect()));
                }
            } else if let Some(found) = path.first(document) {
                return Some(found.clone());
            }
        }
        None
    }

    /// The value as an id or a key: text, or a whole number above zero.
    pub fn get_id(&self, document: &Value) -> Option<String> {
        let computed = self.value.as_ref().and_then(|expression| expression.value(document));
        if let Some(id) = computed.as_ref().and_then(as_id) {
            return Some(id);
        }
        for path in &self.paths {
            for found in path.all(document) {
                if let Some(id) = as_id(found) {
                    return Some(id);
                }
            }
        }
        None
    }
}

/// An id is text or a positive whole number; an empty GUID is none.
pub(crate) fn as_id(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => {
            let text = text.trim();
            let empty_guid = !text.is_empty() && text.chars().all(|c| matches!(c, '0' | '-')) && text.contains('-');
            (!text.is_empty() && !empty_guid).then(|| text.to_owned())
        }
        Value::Number(number) => number
            .as_u64()
            .filter(|number| *number > 0)
            .map(|number| number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_expression_that_cannot_be_evaluated_is_false_and_no_value() {
        let expression = Expression::compile("item.a.b == 1", &["item"]).unwrap();
        assert!(expression.holds(&json!({"item": {"a": {"b": 1}}})));
        assert!(!expression.holds(&json!({"item": null})));
        assert!(!expression.holds(&json!({})));
        assert!(!expression.holds(&json!("text")));
        assert_eq!(
            Expression::compile("9223372036854775807 + item", &["item"])
                .unwrap()
                .value(&json!({"item": 1})),
            None
        );
    }

    #[test]
    fn an_unknown_variable_is_refused_with_the_near_name() {
        let error = Expression::compile("imput.x == 1", &["input", "output"]).unwrap_err();
        assert!(
            error.contains("\"imput\"") && error.contains("did you mean \"input\""),
            "{error}"
        );
        assert!(Expression::compile("a ==", &["a"]).is_err());
        assert!(Expression::compile("output.list.exists(x, x.y == 1)", &["output"]).is_ok());
    }

    #[test]
    fn an_id_is_text_or_a_positive_number_and_an_empty_guid_is_none() {
        assert_eq!(as_id(&json!(" A1 ")), Some("A1".into()));
        assert_eq!(as_id(&json!(17)), Some("17".into()));
        for none in [
            json!(0),
            json!(-3),
            json!(""),
            json!("00000000-0000-0000-0000-000000000000"),
            json!(null),
            json!([1]),
        ] {
            assert_eq!(as_id(&none), None, "{none}");
        }
    }

    #[test]
    fn a_huge_number_reaches_an_expression_without_panic() {
        let expression = Expression::compile("item > 5", &["item"]).unwrap();
        assert!(expression.holds(&json!({"item": u64::MAX})));
        assert!(!expression.holds(&serde_json::from_str(r#"{"item": -1e400}"#).unwrap_or(json!({}))));
    }
}
