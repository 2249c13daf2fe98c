//! Addresses of upstreams.

use super::section::Section;

/// Reads an address that must be there.
pub(super) fn read(section: &mut Section<'_>, key: &'static str) -> Option<String> {
    let text = section.required_text(key, "the address of the service, such as https://host/path")?;
    match check(&text) {
        Ok(url) => Some(url),
        Err(reason) => {
            section.fault_at(key, reason);
            None
        }
    }
}

/// Checks an address; answers it without a slash at its end.
pub(crate) fn check(text: &str) -> Result<String, String> {
    const SHAPE: &str = "should be an address such as https://host/path";
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .ok_or(SHAPE)?;
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err("should hold no user or password: send them as a header with a reference to a secret".to_owned());
    }
    if text.contains(['?', '#']) {
        return Err("should hold neither `?` nor `#`".to_owned());
    }
    let host = authority.rsplit_once(':').map_or(
        authority,
        |(host, port)| {
            if port.parse::<u16>().is_ok() { host } else { authority }
        },
    );
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_' | '[' | ']' | ':');
    if host.is_empty()
        || !host.chars().all(plain)
        || text.chars().any(|letter| letter.is_whitespace() || letter.is_control())
    {
        return Err(SHAPE.to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_before_anything_is_asked() {
        assert_eq!(check("http://127.0.0.1:8080/"), Ok("http://127.0.0.1:8080".to_owned()));
        assert_eq!(check("https://[::1]:8080/v1"), Ok("https://[::1]:8080/v1".to_owned()));
        for bad in [
            "host/path",
            "ftp://host",
            "http://",
            "http://a b/",
            "https://user:pw@host/",
            "https://h/?key=1",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_not_repeated() {
        assert!(!check("https://user:hunter2@host/").unwrap_err().contains("hunter2"));
    }
}
