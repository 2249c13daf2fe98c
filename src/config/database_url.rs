//! The address of a database: written without its password, or named as a secret.

use super::{
    fault::Place,
    secret::Secret,
    section::{Given, Section},
};

/// An address that is written in the file, with where it stands; a reference to one is none.
fn literal(section: &mut Section<'_>) -> Option<(String, Place)> {
    let (Given::File(value), place) = section.given("url")? else {
        return None;
    };
    let text = value.as_str()?;
    let is_reference = text.starts_with("env:") || text.starts_with("file:");
    (!is_reference).then(|| (text.to_owned(), place))
}

/// Reads `url`. `check` says why a text is no address of the right kind, without repeating it; `named` is a variable to keep the
/// whole address in; `refer` follows a reference.
pub(super) fn read(
    section: &mut Section<'_>,
    named: &str,
    check: impl Fn(&str) -> Result<(), String>,
    refer: impl FnOnce(&mut Section<'_>) -> Option<Secret>,
) -> Option<Secret> {
    if let Some((text, place)) = literal(section) {
        section.know("url");
        let held = if holds_password(&text) {
            Err(format!(
                "a password is not written here: take it out and write password = \"env:NAME\", or name the whole address: \
                 url = \"env:{named}\""
            ))
        } else {
            check(&text)
        };
        if let Err(reason) = held {
            section.fault(place, "url", reason);
            return None;
        }
        return Some(Secret::new("the configuration", text));
    }
    let url = refer(section)?;
    // Where secrets are left alone there is nothing to look at.
    if !url.expose().is_empty()
        && let Err(reason) = check(url.expose())
    {
        section.fault_at("url", reason);
        return None;
    }
    Some(url)
}

/// Whether an address has a password in it: between the user and the host, or as a parameter.
fn holds_password(address: &str) -> bool {
    let Some((_, rest)) = address.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    user.contains(':') || rest.contains("?password=") || rest.contains("&password=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_found_wherever_an_address_may_hold_one() {
        for (address, holds) in [
            ("postgres://user@host/db", false),
            ("postgres://user:pw@host/db", true),
            ("postgres://user@host:5432/db?sslmode=require", false),
            ("postgres://host/db?user=a&password=b", true),
            ("postgres://host/db?password=b", true),
            ("postgres:///db?host=/run/postgresql", false),
            ("mysql://user:pw@host/db", true),
            ("sqlite:a:b@c.db", false),
        ] {
            assert_eq!(holds_password(address), holds, "{address}");
        }
    }
}
