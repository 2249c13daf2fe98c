//! The one place that builds an HTTP client, and the one way to read an answer: bounded in time and size.
//!
//! A body that trickles for ever, a bomb of compressed zeros or a gigabyte of HTML must not hold a worker; a redirect must
//! not carry our headers to somebody else; a proxy named by an environment variable must not see what is asked.

use std::{error::Error as _, fmt::Write as _, sync::Once, time::Duration};

use chrono::{DateTime, NaiveDateTime, Utc};
use reqwest::{
    Client, RequestBuilder, StatusCode,
    header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER},
    redirect::Policy,
};

use super::plain_text::one_line;
use crate::ports::{UpstreamError, UpstreamReason};

/// An upstream that asks for a longer pause is asked again after this one.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(24);

/// How a client connects.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// Follow redirects, at most this many. A system of record follows none: the answer would be somebody else's.
    pub redirects: usize,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            redirects: 0,
        }
    }
}

/// Bounds of one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// From sending the request to the last byte of the answer.
    pub timeout: Duration,
    /// Largest body, after decompression.
    pub max_bytes: usize,
}

/// An answer that was read to its end.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// How long the server asks us to wait.
    pub retry_after: Option<Duration>,
    /// The server's own clock as it answered.
    pub date: Option<DateTime<Utc>>,
    /// Its media type, in lower case, without parameters.
    pub media_type: String,
    /// All of its headers.
    pub headers: HeaderMap,
    /// Its body, decompressed.
    pub body: Vec<u8>,
}

impl Reply {
    /// A 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body is a page for people: a proxy's or a login's, never an API's answer.
    pub fn is_html(&self) -> bool {
        let start: Vec<u8> = self
            .body
            .iter()
            .copied()
            .skip_while(u8::is_ascii_whitespace)
            .take(9)
            .collect();
        let start = String::from_utf8_lossy(&start).to_ascii_lowercase();
        self.media_type == "text/html" || start.starts_with("<!doctype") || start.starts_with("<html")
    }
}

/// Builds a client.
///
/// # Errors
/// When TLS cannot be set up at all.
pub fn build(settings: &ClientSettings) -> Result<Client, reqwest::Error> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error means that somebody installed one before: just as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let builder = || {
        let redirects = match settings.redirects {
            0 => Policy::none(),
            limit => Policy::limited(limit),
        };
        #[expect(clippy::disallowed_methods, reason = "this is the one place that builds clients")]
        Client::builder()
            .user_agent(concat!("aftercall/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.connect_timeout)
            .redirect(redirects)
            .referer(false)
            .no_proxy()
    };
    builder().build().or_else(|error| {
        // A machine without root certificates can still speak to loopback; an https address then fails by itself.
        tracing::warn!(error = %error, "no root certificates were found: https addresses will be refused");
        builder().tls_certs_only([]).build()
    })
}

/// Sends a request and reads its answer within the bounds. Every status is an answer; see [`refusal`].
///
/// # Errors
/// No connection, a time-out, an answer that is too large or breaks off.
pub async fn exchange(upstream: &str, request: RequestBuilder, bounds: Bounds) -> Result<Reply, UpstreamError> {
    let fault = |reason, detail| UpstreamError {
        upstream: upstream.to_owned(),
        reason,
        detail,
        retry_after: None,
    };
    let whole = async {
        let mut response = request
            .send()
            .await
            .map_err(|error| fault(UpstreamReason::Unreachable, describe(error)))?;
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let date = date(response.headers());
        let media_type = media_type(response.headers());
        let headers = response.headers().clone();
        let mut body = Vec::new();
        loop {
            let chunk = response.chunk().await.map_err(|error| {
                // A body that cannot be decoded is a bad answer; one that breaks off is a bad connection.
                let reason = if error.is_decode() && !error.is_timeout() {
                    UpstreamReason::BadAnswer
                } else {
                    UpstreamReason::Unreachable
                };
                fault(reason, format!("the answer ({status}) broke off: {}", describe(error)))
            })?;
            let Some(chunk) = chunk else { break };
            if body.len() + chunk.len() > bounds.max_bytes {
                return Err(fault(
                    UpstreamReason::BadAnswer,
                    format!("the answer ({status}) is larger than {} bytes", bounds.max_bytes),
                ));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply {
            status: status.as_u16(),
            retry_after,
            date,
            media_type,
            headers,
            body,
        })
    };
    match tokio::time::timeout(bounds.timeout, whole).await {
        Ok(reply) => reply,
        Err(_) => Err(fault(
            UpstreamReason::Unreachable,
            format!("no complete answer within {:?}", bounds.timeout),
        )),
    }
}

/// The error that a status stands for whatever was asked: credentials, money, rate, the server's own trouble. `None` for
/// a status that the adapter itself has to read.
pub fn refusal(upstream: &str, reply: &Reply, said: Option<&str>) -> Option<UpstreamError> {
    let (reason, what) = match reply.status {
        401 | 403 => (UpstreamReason::AuthInvalid, "refused our credentials"),
        402 => (UpstreamReason::BillingExhausted, "asks for payment"),
        429 => (UpstreamReason::RateLimited, "answers that there were too many requests"),
        408 | 500..=599 => (UpstreamReason::Unreachable, "is in trouble"),
        300..=399 => (
            UpstreamReason::BadAnswer,
            "answers with a redirect, which is not followed: check the configured address",
        ),
        _ => return None,
    };
    let mut detail = format!("the server {what} (status {})", reply.status);
    if let Some(said) = said {
        // Writing to a String cannot fail.
        let _ = write!(detail, ": {}", one_line(said, 200));
    }
    Some(UpstreamError {
        upstream: upstream.to_owned(),
        reason,
        detail,
        retry_after: reply.retry_after,
    })
}

/// A `reqwest` error in words, without the address: its path and query may hold a session's values.
fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !words.contains(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        cause = inner.source();
    }
    one_line(&words, 300)
}

fn media_type(headers: &HeaderMap) -> String {
    let text = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let text = headers.get(DATE)?.to_str().ok()?;
    http_date(text)
}

/// A date in one of the three forms that RFC 9110 (section 5.6.7) wants to be read; all are in UTC.
fn http_date(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(date) = DateTime::parse_from_rfc2822(text) {
        return Some(date.to_utc());
    }
    // Of RFC 850 and of C's `asctime`; `%y` has two digits and means 1970 to 2069.
    ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .map(|date| date.and_utc())
}

/// `Retry-After` (RFC 9110, section 10.2.3) in seconds, or as a date measured against the answer's own `Date`: the server's clock is the one that the
/// date was made by.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let wait = if is_number {
        // More digits than there are seconds: for ever.
        text.parse().map_or(LONGEST_RETRY_AFTER, Duration::from_secs)
    } else {
        // In the past is now.
        (http_date(text)? - date(headers)?).to_std().unwrap_or_default()
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

/// The name of a status, for texts.
pub(crate) fn status_name(status: u16) -> String {
    match StatusCode::from_u16(status)
        .ok()
        .and_then(|code| code.canonical_reason())
    {
        Some(name) => format!("{status} {name}"),
        None => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    fn headers(retry_after: &'static str, date: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static(retry_after));
        if let Some(date) = date {
            headers.insert(DATE, HeaderValue::from_static(date));
        }
        headers
    }

    /// A server that answers one connection with these bytes, then keeps it open or closes it.
    async fn answering(bytes: Vec<u8>, keep_open: bool) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            // The client may hang up first.
            let _ = stream.write_all(&bytes).await;
            if keep_open {
                std::future::pending::<()>().await;
            }
        });
        format!("http://{address}/secret-path?key=sk-1")
    }

    const BOUNDS: Bounds = Bounds {
        timeout: Duration::from_millis(500),
        max_bytes: 1_000,
    };

    async fn ask(bytes: &[u8], keep_open: bool) -> Result<Reply, UpstreamError> {
        let address = answering(bytes.to_vec(), keep_open).await;
        let client = build(&ClientSettings::default()).unwrap();
        exchange("records:x", client.get(address), BOUNDS).await
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date() {
        assert_eq!(retry_after(&headers("41", None)), Some(Duration::from_secs(41)));
        let date = headers("Thu, 20 Aug 2026 10:01:00 GMT", Some("Thu, 20 Aug 2026 10:00:30 GMT"));
        assert_eq!(retry_after(&date), Some(Duration::from_secs(30)));
        assert_eq!(retry_after(&headers("soon", None)), None);
        assert_eq!(
            retry_after(&headers("18446744073709551615", None)),
            Some(LONGEST_RETRY_AFTER)
        );
    }

    #[test]
    fn every_form_of_a_date_is_read() {
        // RFC 9110, section 5.6.7: the form in use, and two that are still to be read.
        for until in [
            "Thu, 20 Aug 2026 10:01:00 GMT",
            "Thursday, 20-Aug-26 10:01:00 GMT",
            "Thu Aug 20 10:01:00 2026",
        ] {
            let date = headers(until, Some("Thu, 20 Aug 2026 10:00:30 GMT"));
            assert_eq!(retry_after(&date), Some(Duration::from_secs(30)), "{until}");
        }
        let single_digit = headers("Sun Nov  6 08:49:37 1994", Some("Sunday, 06-Nov-94 08:49:30 GMT"));
        assert_eq!(retry_after(&single_digit), Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_hostile_retry_after_is_bounded_or_nothing() {
        let date = Some("Thu, 20 Aug 2026 10:00:30 GMT");
        for (text, expected) in [
            ("1000000000000000000", Some(LONGEST_RETRY_AFTER)),
            ("99999999999999999999999999999999", Some(LONGEST_RETRY_AFTER)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(LONGEST_RETRY_AFTER)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(Duration::ZERO)),
            ("Sat, 01 Jan 0000 00:00:00 GMT", Some(Duration::ZERO)),
            ("-5", None),
            ("+5", None),
            ("1e9", None),
            ("NaN", None),
            ("", None),
            ("Fri, 31 Dec 99999999 23:59:59 GMT", None),
            ("Fri, 32 Dec 2026 25:61:61 GMT", None),
        ] {
            assert_eq!(retry_after(&headers(text, date)), expected, "{text}");
        }
        // Without a date of the server's there is nothing to measure by.
        assert_eq!(retry_after(&headers("Fri, 31 Dec 9999 23:59:59 GMT", None)), None);
        assert_eq!(
            retry_after(&headers("Fri, 31 Dec 9999 23:59:59 GMT", Some("now"))),
            None
        );
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_cut_by_the_total_time() {
        let error = ask(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", true)
            .await
            .unwrap_err();
        assert_eq!(error.reason, UpstreamReason::Unreachable);
        assert!(error.detail.contains("within 500ms"), "{}", error.detail);
    }

    #[tokio::test]
    async fn a_giant_body_is_refused_without_reading_it() {
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".to_vec();
        answer.extend(vec![b'x'; 100_000]);
        let error = ask(&answer, true).await.unwrap_err();
        assert_eq!(error.reason, UpstreamReason::BadAnswer);
        assert!(error.detail.contains("larger than 1000 bytes"), "{}", error.detail);
    }

    #[tokio::test]
    async fn a_compressed_bomb_is_measured_after_decompression() {
        use std::io::Write as _;
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(&vec![b' '; 1_000_000]).unwrap();
        let packed = packed.finish().unwrap();
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            packed.len()
        )
        .into_bytes();
        answer.extend(packed);
        let error = ask(&answer, false).await.unwrap_err();
        assert_eq!(error.reason, UpstreamReason::BadAnswer);
    }

    #[tokio::test]
    async fn a_cut_answer_and_a_refused_connection_are_unreachable_and_name_no_address() {
        let error = ask(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", false)
            .await
            .unwrap_err();
        assert!(!error.to_string().contains("secret-path"), "{error}");

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = listener.local_addr().unwrap();
        drop(listener);
        let client = build(&ClientSettings::default()).unwrap();
        let error = exchange("records:x", client.get(format!("http://{closed}/secret-path")), BOUNDS)
            .await
            .unwrap_err();
        assert_eq!(error.reason, UpstreamReason::Unreachable);
        assert!(!error.to_string().contains("secret-path"), "{error}");
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let reply = ask(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            false,
        )
        .await
        .unwrap();
        let error = refusal("records:x", &reply, None).unwrap();
        assert_eq!(error.reason, UpstreamReason::BadAnswer);
        assert!(error.detail.contains("redirect"), "{}", error.detail);
    }
}
