//! `[[records]]` of kind `http`: any JSON API.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use serde_json_path::JsonPath;

use super::{
    duration,
    secret::Secret,
    section::{Section, unknown_key},
    url,
};

/// The presets that `preset` may name: what is known of a kind of API.
pub const HTTP_PRESETS: [&str; 2] = ["fhir-r4", "nexhealth"];

const AUTH_KINDS: [&str; 4] = ["bearer", "oauth2", "private_key_jwt", "api_key"];
const OAUTH2_METHODS: [&str; 2] = ["client_secret_basic", "client_secret_post"];

/// What `[[records]]` of kind `http` has beside its address and headers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpConfig {
    /// What is known of the API. Default: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// How it is signed in to. Default: by its headers, if at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<HttpAuthConfig>,
    /// What templates call `system.NAME`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
    /// Most pages that are read of one list. Default 20.
    pub max_pages: u32,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            preset: None,
            auth: None,
            values: BTreeMap::new(),
            max_pages: 20,
        }
    }
}

/// `[records.auth]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum HttpAuthConfig {
    /// A token that does not change.
    Bearer {
        /// The token.
        token: Secret,
    },
    /// OAuth 2.0 client credentials.
    #[serde(rename = "oauth2")]
    OAuth2 {
        /// Where tokens are fetched.
        token_url: String,
        /// The client's id.
        client_id: Secret,
        /// The client's secret.
        client_secret: Secret,
        /// What the token is for; default: what the server gives by itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        scope: Option<String>,
        /// How the server takes id and secret. Default `client_secret_basic`.
        method: ClientAuthMethod,
    },
    /// OAuth 2.0 client credentials of a client that signs with a private key: SMART Backend Services, RFC 7523.
    PrivateKeyJwt {
        /// Where tokens are fetched.
        token_url: String,
        /// The client's id.
        client_id: Secret,
        /// Its private key, as PEM: RSA signs by RS384, one on the curve P-384 by ES384.
        private_key: Secret,
        /// The name by which the server knows the public key (`kid`). Default: none is sent.
        #[serde(skip_serializing_if = "Option::is_none")]
        key_id: Option<String>,
        /// Whom the signed words are for (`aud`). Default: `token_url`.
        audience: String,
        /// What the token is for; default: what the server gives by itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        scope: Option<String>,
    },
    /// An API key is posted as `Authorization`, and the answer holds a token.
    ApiKey {
        /// Where tokens are fetched. Default: `/authenticates` below `base_url`.
        token_url: String,
        /// The key.
        api_key: Secret,
        /// `JSONPath` to the token. Default `$.data.token`.
        token: String,
        /// How long a token holds. Default 1h.
        #[serde(serialize_with = "duration::serialize")]
        lifetime: Duration,
    },
}

/// How a token server takes the client's id and secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthMethod {
    /// In the header `Authorization`.
    #[default]
    ClientSecretBasic,
    /// In the body.
    ClientSecretPost,
}

impl HttpConfig {
    pub(super) fn read(section: &mut Section<'_>, base_url: Option<&str>) -> Self {
        let preset = section.text("preset").and_then(|name| {
            let known = HTTP_PRESETS.contains(&name.as_str());
            if !known {
                section.fault_at("preset", unknown_word(&name, &HTTP_PRESETS));
            }
            known.then_some(name)
        });
        let auth = section.table("auth").and_then(|auth| read_auth(auth, base_url));
        let values = section.table("values").as_ref().map(values).unwrap_or_default();
        let default = Self::default();
        Self {
            preset,
            auth,
            values,
            max_pages: section.whole("max_pages", default.max_pages, 1, 1000),
        }
    }

    /// All secrets in it.
    pub(crate) fn secrets(&self) -> Vec<&Secret> {
        match &self.auth {
            None => Vec::new(),
            Some(HttpAuthConfig::Bearer { token }) => vec![token],
            Some(HttpAuthConfig::OAuth2 {
                client_id,
                client_secret,
                ..
            }) => vec![client_id, client_secret],
            Some(HttpAuthConfig::PrivateKeyJwt {
                client_id, private_key, ..
            }) => vec![client_id, private_key],
            Some(HttpAuthConfig::ApiKey { api_key, .. }) => vec![api_key],
        }
    }
}

fn read_auth(mut section: Section<'_>, base_url: Option<&str>) -> Option<HttpAuthConfig> {
    let kind = section.required_text("kind", "\"bearer\", \"oauth2\", \"private_key_jwt\" or \"api_key\"")?;
    let auth = match kind.as_str() {
        "bearer" => bearer(&mut section),
        "oauth2" => oauth2(&mut section),
        "private_key_jwt" => private_key_jwt(&mut section),
        "api_key" => api_key(&mut section, base_url),
        other => {
            section.fault_at("kind", unknown_word(other, &AUTH_KINDS));
            // What else stands there belongs to a kind that is not known.
            return None;
        }
    };
    section.finish();
    auth
}

fn bearer(section: &mut Section<'_>) -> Option<HttpAuthConfig> {
    let token = section.required_secret("token", "the token, without the word Bearer")?;
    Some(HttpAuthConfig::Bearer { token })
}

fn oauth2(section: &mut Section<'_>) -> Option<HttpAuthConfig> {
    let token_url = url::read(section, "token_url");
    let client_id = client_id(section);
    let client_secret = section.required_secret("client_secret", "the client's secret");
    let scope = section.text("scope");
    let method = match section.text("method").as_deref() {
        None | Some("client_secret_basic") => ClientAuthMethod::ClientSecretBasic,
        Some("client_secret_post") => ClientAuthMethod::ClientSecretPost,
        Some("private_key_jwt") => {
            section.fault_at(
                "method",
                "is a kind of its own: write kind = \"private_key_jwt\" and private_key",
            );
            ClientAuthMethod::default()
        }
        Some(other) => {
            section.fault_at("method", unknown_word(other, &OAUTH2_METHODS));
            ClientAuthMethod::default()
        }
    };
    Some(HttpAuthConfig::OAuth2 {
        token_url: token_url?,
        client_id: client_id?,
        client_secret: client_secret?,
        scope,
        method,
    })
}

fn private_key_jwt(section: &mut Section<'_>) -> Option<HttpAuthConfig> {
    let token_url = url::read(section, "token_url");
    let client_id = client_id(section);
    let private_key = section.required_lines(
        "private_key",
        "where the client's private key is, as PEM: \"file:PATH\" or \"env:NAME\"",
    );
    let key_id = section.text("key_id");
    let audience = section.text("audience");
    let scope = section.text("scope");
    let token_url = token_url?;
    Some(HttpAuthConfig::PrivateKeyJwt {
        audience: audience.unwrap_or_else(|| token_url.clone()),
        token_url,
        client_id: client_id?,
        private_key: private_key?,
        key_id,
        scope,
    })
}

/// A client's id is no secret: it may be written, or named like one.
fn client_id(section: &mut Section<'_>) -> Option<Secret> {
    let text = section.required_text("client_id", "the client's id")?;
    if text.starts_with("env:") || text.starts_with("file:") {
        return section.secret("client_id");
    }
    Some(Secret::new("the configuration", text))
}

fn api_key(section: &mut Section<'_>, base_url: Option<&str>) -> Option<HttpAuthConfig> {
    let api_key = section.required_secret("api_key", "the key that tokens are fetched with");
    let token_url = if section.is_set("token_url") {
        url::read(section, "token_url")
    } else {
        base_url.map(|base_url| format!("{base_url}/authenticates"))
    };
    let token = section.text("token").unwrap_or_else(|| "$.data.token".to_owned());
    if let Err(error) = JsonPath::parse(&token) {
        section.fault_at(
            "token",
            format!("should be a JSONPath such as \"$.data.token\": {error}"),
        );
    }
    let lifetime = section.duration("lifetime", Duration::from_hours(1), Duration::from_secs(1));
    Some(HttpAuthConfig::ApiKey {
        token_url: token_url?,
        api_key: api_key?,
        token,
        lifetime,
    })
}

fn values(section: &Section<'_>) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for name in section.free_keys() {
        let Some((text, place)) = section.free_text(&name) else {
            continue;
        };
        let is_name = !name.is_empty()
            && name
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        if !is_name {
            section.fault(
                place,
                &name,
                "should be a name of letters, digits and `_`: templates call it system.NAME",
            );
        } else if text.trim().is_empty() || text.starts_with("env:") || text.starts_with("file:") {
            section.fault(
                place,
                &name,
                "should be the value itself, and no secret: it is put into addresses, which are kept as evidence",
            );
        } else {
            values.insert(name, text);
        }
    }
    values
}

fn unknown_word(word: &str, known: &[&str]) -> String {
    let said = unknown_key(word, known);
    // The same words but for what it is.
    said.replacen("unknown key", &format!("there is no \"{word}\" here"), 1)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{Overrides, RecordsKind, parse};

    fn read(text: &str) -> Result<HttpConfig, Vec<String>> {
        let env = |name: &str| match name {
            "EHR_PEM" => Some("-----BEGIN PRIVATE KEY-----\nEHR-hidden\n-----END PRIVATE KEY-----\n".to_owned()),
            _ => name.starts_with("EHR_").then(|| format!("{name}-hidden")),
        };
        let text = format!("[[records]]\nname = \"ehr\"\nbase_url = \"https://ehr.example/fhir\"\n{text}");
        match parse(Some(PathBuf::from("a.toml")), &text, &env, Overrides::default()) {
            Ok(mut config) => match config.records.remove(0).kind {
                RecordsKind::Http { more, .. } => Ok(*more),
                RecordsKind::Cloud9(_) | RecordsKind::Sql(_) => panic!("it is of kind http"),
            },
            Err(errors) => Err(errors.faults.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn each_kind_of_credentials_is_read_and_none_prints() {
        let oauth2 = read(
            "preset = \"fhir-r4\"\n[records.auth]\nkind = \"oauth2\"\ntoken_url = \"https://id.example/token\"\nclient_id = \"aftercall\"\n\
             client_secret = \"env:EHR_SECRET\"\nscope = \"system/*.read\"\nmethod = \"client_secret_post\"\n",
        )
        .unwrap();
        assert_eq!(oauth2.preset.as_deref(), Some("fhir-r4"));
        let Some(HttpAuthConfig::OAuth2 { method, .. }) = &oauth2.auth else {
            panic!("{oauth2:?}")
        };
        assert_eq!(*method, ClientAuthMethod::ClientSecretPost);
        let nexhealth = read(
            "preset = \"nexhealth\"\n[records.auth]\nkind = \"api_key\"\napi_key = \"env:EHR_KEY\"\n[records.values]\nsubdomain = \"demo\"\n",
        )
        .unwrap();
        let Some(HttpAuthConfig::ApiKey {
            token_url, lifetime, ..
        }) = &nexhealth.auth
        else {
            panic!("{nexhealth:?}")
        };
        assert_eq!(token_url, "https://ehr.example/fhir/authenticates");
        assert_eq!(*lifetime, Duration::from_hours(1));
        assert_eq!(nexhealth.values["subdomain"], "demo");
        let smart = read(
            "[records.auth]\nkind = \"private_key_jwt\"\ntoken_url = \"https://id.example/token\"\nclient_id = \"aftercall\"\n\
             private_key = \"env:EHR_PEM\"\nkey_id = \"k1\"\n",
        )
        .unwrap();
        let Some(HttpAuthConfig::PrivateKeyJwt {
            audience, private_key, ..
        }) = &smart.auth
        else {
            panic!("{smart:?}")
        };
        assert_eq!(audience, "https://id.example/token");
        assert!(private_key.expose().contains('\n'), "a key has lines");
        let bearer = read("[records.auth]\nkind = \"bearer\"\ntoken = \"env:EHR_TOKEN\"\n").unwrap();
        for config in [oauth2, nexhealth, smart, bearer] {
            let shown = format!("{config:?}{}", serde_json::to_string(&config).unwrap());
            assert!(!shown.contains("-hidden") && shown.contains("env:EHR_"), "{shown}");
        }
    }

    #[test]
    fn faults_name_line_setting_and_what_was_probably_meant() {
        for (text, says) in [
            (
                "preset = \"fhir-r5\"\n",
                "a.toml:4: records.ehr.preset: there is no \"fhir-r5\" here; did you mean `fhir-r4`?",
            ),
            (
                "[records.auth]\nkind = \"oauth\"\n",
                "a.toml:5: records.ehr.auth.kind: there is no \"oauth\" here; did you mean `oauth2`?",
            ),
            (
                "[records.auth]\nkind = \"oauth2\"\n",
                "records.ehr.auth.token_url: is missing",
            ),
            (
                "[records.auth]\nkind = \"oauth2\"\n",
                "records.ehr.auth.client_secret: is missing",
            ),
            (
                "[records.auth]\nkind = \"private_key_jwt\"\ntoken_url = \"https://id.example\"\nclient_id = \"a\"\nprivate_key = \"-----BEGIN hidden\"\n",
                "a.toml:8: records.ehr.auth.private_key: a secret is not written here",
            ),
            (
                "[records.auth]\nkind = \"private_key_jwt\"\nclient_secret = \"env:EHR_S\"\n",
                "records.ehr.auth.private_key: is missing",
            ),
            (
                "[records.auth]\nkind = \"private_key_jwt\"\nclient_secret = \"env:EHR_S\"\n",
                "a.toml:6: records.ehr.auth.client_secret: unknown key",
            ),
            (
                "[records.auth]\nkind = \"oauth2\"\nmethod = \"private_key_jwt\"\n",
                "a.toml:6: records.ehr.auth.method: is a kind of its own",
            ),
            (
                "[records.auth]\nkind = \"bearer\"\ntoken = \"sk-hidden\"\n",
                "a.toml:6: records.ehr.auth.token: a secret is not written here",
            ),
            (
                "[records.auth]\nkind = \"bearer\"\ntoken = \"env:EHR_T\"\ntokn = \"x\"\n",
                "a.toml:7: records.ehr.auth.tokn: unknown key; did you mean `token`?",
            ),
            (
                "[records.auth]\nkind = \"oauth2\"\ntoken_url = \"id.example\"\nclient_id = \"a\"\nclient_secret = \"env:EHR_S\"\nmethod = \"client_secret_bsic\"\n",
                "a.toml:9: records.ehr.auth.method: there is no \"client_secret_bsic\" here; did you mean `client_secret_basic`?",
            ),
            (
                "[records.auth]\nkind = \"api_key\"\napi_key = \"env:EHR_K\"\ntoken = \"data[\"\n",
                "a.toml:7: records.ehr.auth.token: should be a JSONPath",
            ),
            (
                "[records.values]\n\"sub domain\" = \"x\"\n",
                "should be a name of letters",
            ),
            (
                "[records.values]\nsubdomain = \"env:EHR_X\"\n",
                "should be the value itself",
            ),
            (
                "[records.headers]\nauthorization = \"Bearer env:EHR_A\"\n[records.auth]\nkind = \"bearer\"\ntoken = \"env:EHR_T\"\n",
                "a.toml:4: records.ehr.headers: holds Authorization",
            ),
            (
                "max_pages = 0\n",
                "a.toml:4: records.ehr.max_pages: should be a whole number from 1 to 1000",
            ),
        ] {
            let faults = read(text).unwrap_err();
            assert!(faults.iter().any(|fault| fault.contains(says)), "{says}\nin {faults:?}");
            assert!(!faults.concat().contains("hidden"), "{faults:?}");
        }
    }
}
