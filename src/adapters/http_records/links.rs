//! Addresses of further pages: the same with another parameter, or the one that an answer names, which is somebody else's
//! word and counts only below the base address.

use reqwest::{
    Url,
    header::{HeaderMap, LINK},
};

use crate::adapters::percent;

/// The address with this parameter, in place of one of the same name.
pub(super) fn with_parameter(address: &Url, name: &str, value: &str) -> Url {
    let mine = percent::encode(name);
    let is_mine = |pair: &str| {
        let key = pair.split('=').next().unwrap_or_default();
        key == name || key == mine
    };
    let mut query: Vec<String> = address
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty() && !is_mine(pair))
        .map(str::to_owned)
        .collect();
    query.push(format!("{mine}={}", percent::encode(value)));
    let mut address = address.clone();
    address.set_query(Some(&query.join("&")));
    address
}

/// The address that an answer names, where it is below the base address; `from` is what a relative one is relative to.
pub(super) fn below(base: &Url, from: &Url, link: &str) -> Result<Url, String> {
    let leads_away = || "the next page of the list is not below base_url, and is not asked for".to_owned();
    let mut address = from.join(link).map_err(|_| leads_away())?;
    address.set_fragment(None);
    let same_origin =
        address.origin() == base.origin() && address.username().is_empty() && address.password().is_none();
    // `/v1` is not below `/v10`, nor the other way round.
    let root = base.path().trim_end_matches('/');
    let inside = address
        .path()
        .strip_prefix(root)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if !same_origin || !inside || climbs(address.path()) {
        return Err(leads_away());
    }
    Ok(address)
}

/// Whether a segment is `..` once a server has decoded what is inside it, slashes included.
fn climbs(path: &str) -> bool {
    let Some(decoded) = percent::decode(path) else {
        return true;
    };
    decoded.split(['/', '\\']).any(|segment| matches!(segment, "." | ".."))
}

/// The target of `rel="next"` (RFC 8288). Addresses stand between angle brackets, so commas in them separate nothing.
pub(super) fn next_link(headers: &HeaderMap) -> Option<String> {
    for value in headers.get_all(LINK) {
        let mut rest = value.to_str().ok()?;
        while let Some((_, after)) = rest.split_once('<') {
            let (target, after) = after.split_once('>')?;
            let (parameters, following) = match after.find('<') {
                Some(at) => after.split_at(at),
                None => (after, ""),
            };
            let is_next = parameters.split([';', ',']).any(|parameter| {
                let Some((name, value)) = parameter.split_once('=') else {
                    return false;
                };
                let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
                name.trim().eq_ignore_ascii_case("rel") && relations.any(|word| word.eq_ignore_ascii_case("next"))
            });
            if is_next {
                return Some(target.trim().to_owned());
            }
            rest = following;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(link: &str) -> Option<String> {
        let base = Url::parse("https://ehr.example/fhir").unwrap();
        let from = Url::parse("https://ehr.example/fhir/Patient?name=a").unwrap();
        below(&base, &from, link).ok().map(|url| url.to_string())
    }

    #[test]
    fn an_answer_leads_nowhere_but_below_the_base_address() {
        for (link, to) in [
            (
                "https://ehr.example/fhir?_getpages=7&x=1#y",
                "https://ehr.example/fhir?_getpages=7&x=1",
            ),
            (
                "https://ehr.example:443/fhir/Patient?page=2",
                "https://ehr.example/fhir/Patient?page=2",
            ),
            ("?page=2", "https://ehr.example/fhir/Patient?page=2"),
            (
                "/fhir/Patient/s%2F1?page=2",
                "https://ehr.example/fhir/Patient/s%2F1?page=2",
            ),
        ] {
            assert_eq!(leads(link).as_deref(), Some(to), "{link}");
        }
        for link in [
            "https://evil.example/fhir/Patient?page=2",
            "//evil.example/fhir",
            "http://ehr.example/fhir/Patient?page=2",
            "https://ehr.example:8443/fhir",
            "https://user:pw@ehr.example/fhir",
            "https://ehr.example@evil.example/fhir",
            "https://ehr.example/admin",
            "https://ehr.example/fhir2/Patient",
            "../admin",
            "/fhir/%2e%2e/admin",
            "/fhir/..%2f..%2fadmin",
            "/fhir/..%5cadmin",
            "\\\\evil.example\\fhir",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "https://",
        ] {
            assert_eq!(leads(link), None, "{link}");
        }
    }

    #[test]
    fn the_next_link_is_found_among_others() {
        let found = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, text.parse().unwrap());
            next_link(&headers)
        };
        assert_eq!(
            found(r#"<https://h/a?p=1,2>; rel="prev", <https://h/a?p=3>; rel="next""#).as_deref(),
            Some("https://h/a?p=3")
        );
        assert_eq!(found("</a?p=3>; title=x; REL=next").as_deref(), Some("/a?p=3"));
        assert_eq!(found(r#"</a>; rel="last next""#).as_deref(), Some("/a"));
        for none in [r#"</a>; rel="nextish""#, "</a", "next", r#"</a>; title="next""#] {
            assert_eq!(found(none), None, "{none}");
        }
    }

    #[test]
    fn a_parameter_takes_the_place_of_its_namesake_and_is_escaped() {
        let address = Url::parse("https://h/list?page=1&q=a%20b").unwrap();
        assert_eq!(
            with_parameter(&address, "page", "2&admin=1#x").as_str(),
            "https://h/list?q=a%20b&page=2%26admin%3D1%23x"
        );
    }
}
