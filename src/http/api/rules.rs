//! What each route needs: read from the document, so that a route and its rule cannot differ. What is not in the document is
//! not there: nobody gets to a route without a rule.

use std::collections::{BTreeMap, HashMap};

use axum::http::Method;
use serde_json::Value;

use crate::domain::api_token::Scope;

/// Name of the security scheme of tokens in the document.
pub(super) const SCHEME: &str = "token";
/// Name of the security scheme of webhooks.
pub(super) const SIGNATURE: &str = "signature";

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// A token of this scope, or one that holds it.
    Scope(Scope),
    /// The signature of a webhook, and no token.
    Signature,
}

impl Need {
    /// Of an operation; `None` where it does not say.
    fn of(operation: &Value) -> Option<Self> {
        let security = &operation["security"][0];
        match (&security[SCHEME], &security[SIGNATURE]) {
            (scopes, Value::Null) => scopes[0].as_str().and_then(Scope::parse).map(Self::Scope),
            (Value::Null, Value::Array(_)) => Some(Self::Signature),
            _ => None,
        }
    }
}

/// By path, as the router has it, then by method.
#[derive(Debug, Default)]
pub(super) struct Rules(HashMap<String, BTreeMap<String, Need>>);

impl Rules {
    /// Of all operations that say what they need.
    pub(super) fn of(document: &Value) -> Self {
        let mut rules: HashMap<String, BTreeMap<String, Need>> = HashMap::new();
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                if let Some(need) = Need::of(operation) {
                    let methods = rules.entry(path.clone()).or_default();
                    methods.insert(method.to_uppercase(), need);
                }
            }
        }
        Self(rules)
    }

    /// What this needs; `None`: there is no such thing.
    pub(super) fn needed(&self, path: &str, method: &Method) -> Option<Need> {
        // A server answers HEAD as GET without the body.
        let method = if method == Method::HEAD { &Method::GET } else { method };
        self.0.get(path)?.get(method.as_str()).copied()
    }

    /// For the header `Allow`.
    pub(super) fn methods(&self, path: &str) -> String {
        let mut methods: Vec<&str> = self
            .0
            .get(path)
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_str())
            .collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_say_what_it_needs_is_not_there() {
        let rules = Rules::of(&json!({"paths": {"/a": {
            "get": {"security": [{"token": ["read"]}]},
            "post": {"security": [{"token": ["operate"]}]},
            "put": {},
            "delete": {"security": [{}]},
            "patch": {"security": [{"token": ["nonsense"]}]},
        }}}));
        let token = |scope| Some(Need::Scope(scope));
        assert_eq!(rules.needed("/a", &Method::GET), token(Scope::Read));
        assert_eq!(rules.needed("/a", &Method::HEAD), token(Scope::Read));
        assert_eq!(rules.needed("/a", &Method::POST), token(Scope::Operate));
        for method in [Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
            assert_eq!(rules.needed("/a", &method), None);
        }
        assert_eq!(rules.needed("/b", &Method::GET), None);
        assert_eq!(rules.methods("/a"), "GET, POST, HEAD");

        let signed = Rules::of(&json!({"paths": {"/w": {
            "post": {"security": [{"signature": []}]},
            "put": {"security": [{"signature": [], "token": ["read"]}]},
            "patch": {"security": [{"signature": "x"}]},
        }}}));
        assert_eq!(signed.needed("/w", &Method::POST), Some(Need::Signature));
        for method in [Method::PUT, Method::PATCH, Method::GET] {
            assert_eq!(signed.needed("/w", &method), None);
        }
    }
}
