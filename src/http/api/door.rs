//! Who is let in.
//!
//! A good token is let in wherever it comes from. Without one, only reads are answered, only on loopback, and only as long as
//! nobody ever made a token: then it is this machine that asks. A page in a browser of this machine is not this machine: one
//! that made its own name lead here (DNS rebinding) still asks for that name, and is refused by it. Nor is a request that a
//! proxy passed on.
//!
//! A webhook shows no token: its requests are signed ([`signed`]).

use std::net::IpAddr;

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, Method, header, uri::Authority},
    middleware::Next,
    response::Response,
};

use super::{
    Api, Reach,
    problem::{Code, Problem},
    rules::Need,
    signed,
    verify::Bearer,
};
use crate::{domain::api_token::Scope, store::tokens};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Caller {
    /// Somebody on this machine, who may look.
    ThisMachine,
    /// Whoever has the token.
    Token(Bearer),
}

impl Caller {
    fn scope(&self) -> Scope {
        match self {
            Self::ThisMachine => Scope::Read,
            Self::Token(bearer) => bearer.scope,
        }
    }

    fn bucket(&self) -> &str {
        match self {
            Self::ThisMachine => "",
            Self::Token(bearer) => &bearer.id,
        }
    }
}

/// Lets a request to a route in, or not.
pub(super) async fn guard(State(api): State<Api>, mut request: Request, next: Next) -> Result<Response, Problem> {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let Some(path) = path else {
        return Err(Problem::no_route(request.uri().path()));
    };
    let Some(needed) = api.rules.needed(path, request.method()) else {
        return Err(match api.rules.methods(path).as_str() {
            "" => Problem::no_route(request.uri().path()),
            methods => Problem::method(methods),
        });
    };
    let needed = match needed {
        Need::Scope(scope) => scope,
        Need::Signature => return signed::let_in(&api, request, next).await,
    };
    let caller = caller(&api, request.headers(), needed).await?;
    let taken = api.requests.take(caller.bucket());
    let answered = async {
        if !taken.may {
            return Err(Problem::new(Code::TooManyRequests, "this token asks too often").after(taken.reset));
        }
        if caller.scope() < needed {
            return Err(Problem::new(Code::ScopeTooSmall, "it needs the scope `operate`"));
        }
        request.extensions_mut().insert(caller);
        Ok(next.run(request).await)
    };
    let mut response = axum::response::IntoResponse::into_response(answered.await);
    taken.write(response.headers_mut());
    Ok(response)
}

/// Lets a question about health in: where other machines reach it that are not all our own, what says more than that the
/// process lives needs a token.
pub(super) async fn guard_health(State(api): State<Api>, request: Request, next: Next) -> Result<Response, Problem> {
    let is_open = api.reach != Reach::Public || request.uri().path() == "/healthz";
    if !is_open {
        let caller = caller(&api, request.headers(), Scope::Read).await?;
        let taken = api.requests.take(caller.bucket());
        if !taken.may {
            return Err(Problem::new(Code::TooManyRequests, "this token asks too often").after(taken.reset));
        }
    }
    Ok(next.run(request).await)
}

async fn caller(api: &Api, headers: &HeaderMap, needed: Scope) -> Result<Caller, Problem> {
    if let Some(authorization) = headers.get(header::AUTHORIZATION) {
        let presented = authorization.to_str().ok().and_then(bearer);
        let presented =
            presented.ok_or_else(|| Problem::new(Code::InvalidToken, "Authorization is not `Bearer TOKEN`"))?;
        return Ok(Caller::Token(api.tokens.bearer(api.db().await?, presented).await?));
    }
    let Reach::Loopback { hosts } = &api.reach else {
        return Err(Problem::new(
            Code::NoToken,
            "other machines reach this address: nobody is answered without a token",
        ));
    };
    if needed != Scope::Read {
        return Err(Problem::new(Code::NoToken, "changes need a token"));
    }
    if tokens::was_any(api.db().await?).await? {
        return Err(Problem::new(
            Code::NoToken,
            "since there are tokens, nobody is answered without one",
        ));
    }
    if PASSED_ON.iter().any(|name| headers.contains_key(*name)) {
        return Err(Problem::new(
            Code::NoToken,
            "a proxy passed the request on: who asks is not known without a token",
        ));
    }
    if !is_trusted(headers, hosts) {
        return Err(Problem::new(
            Code::UntrustedHost,
            "the header Host does not name this machine",
        ));
    }
    Ok(Caller::ThisMachine)
}

/// What proxies add.
const PASSED_ON: [&str; 6] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "via",
];

/// `Bearer TOKEN`: the scheme in any case.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether the request asks for this machine by a name that nobody else can have: there is one `Host`, of loopback or given
/// by `--host`.
fn is_trusted(headers: &HeaderMap, hosts: &[String]) -> bool {
    let mut named = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (named.next(), named.next()) else {
        return false;
    };
    let Some(authority) = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()) else {
        return false;
    };
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.is_loopback())
        || hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
}

/// Whether a method changes something.
pub(super) fn is_write(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        is_trusted(&headers, &["api.internal".to_owned()])
    }

    #[test]
    fn only_names_of_this_machine_are_trusted() {
        for host in [
            "127.0.0.1:7700",
            "127.9.9.9",
            "localhost:1",
            "LOCALHOST",
            "[::1]:7700",
            "api.internal:443",
        ] {
            assert!(trusted(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:7700",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.0.2.1",
            "[::]",
            "0.0.0.0",
            "user@localhost:1/",
            "",
        ] {
            assert!(!trusted(host), "{host}");
        }
        assert!(!is_trusted(&HeaderMap::new(), &[]));
        let mut two = HeaderMap::new();
        two.append(header::HOST, "localhost".parse().unwrap());
        two.append(header::HOST, "evil.example".parse().unwrap());
        assert!(!is_trusted(&two, &[]));
    }

    #[test]
    fn the_scheme_is_read_in_any_case_and_no_other_is() {
        assert_eq!(bearer("Bearer x"), Some("x"));
        assert_eq!(bearer("bEARER  x "), Some("x"));
        for other in ["Basic x", "Bearer", "", "x"] {
            assert_eq!(bearer(other), None);
        }
    }
}
