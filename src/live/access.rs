//! Who may look: names of this machine, the token, and what a browser is told to keep away.
//!
//! Pure. Refuses to know what is shown.

use std::net::SocketAddr;

/// What a browser is told with every answer.
pub(super) const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
];

/// The fewest characters of a token.
pub const TOKEN_MIN: usize = 16;

/// Who may look at a page.
#[derive(Debug, Clone)]
pub struct Access {
    /// Only a hash is kept: comparing hashes takes the same time wherever they differ.
    token: Option<blake3::Hash>,
    is_loopback: bool,
    /// Browsers send a cookie to every port of a host, so its name tells pages apart.
    cookie: String,
}

/// What of a request decides whether it is answered.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked<'a> {
    pub(super) host: Option<&'a str>,
    pub(super) query: Option<&'a str>,
    pub(super) cookies: Option<&'a str>,
    pub(super) authorization: Option<&'a str>,
}

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It came under a name that is not this machine's: somebody's page made a browser ask.
    Host,
    /// It brought no token, or another.
    Token,
}

/// Whether a token can stand in an address as it is, and is too long to be guessed.
pub fn is_good_token(token: &str) -> bool {
    token.len() >= TOKEN_MIN && token.chars().all(|c| c.is_ascii_alphanumeric() || "-._~".contains(c))
}

impl Access {
    /// The access of a page at `address`.
    pub fn new(address: SocketAddr, token: Option<&str>) -> Self {
        Self {
            token: token.map(|token| blake3::hash(token.as_bytes())),
            is_loopback: address.ip().to_canonical().is_loopback(),
            cookie: format!("sandbox_{}", address.port()),
        }
    }

    /// Whether a request is answered, and the cookie that its answer sets.
    pub(super) fn admit(&self, asked: Asked<'_>) -> Result<Option<String>, Refusal> {
        if self.is_loopback && !asked.host.is_some_and(is_name_of_loopback) {
            return Err(Refusal::Host);
        }
        if self.token.is_none() {
            return Ok(None);
        }
        let bearer = asked.authorization.and_then(|text| text.strip_prefix("Bearer "));
        let cookies = asked.cookies.unwrap_or_default().split("; ");
        let kept = cookies
            .filter_map(|pair| pair.split_once('='))
            .find(|(name, _)| *name == self.cookie);
        if bearer.is_some_and(|token| self.is_right(token)) || kept.is_some_and(|(_, token)| self.is_right(token)) {
            return Ok(None);
        }
        let mut given = asked.query.unwrap_or_default().split('&');
        match given.find_map(|pair| pair.strip_prefix("token=")) {
            Some(token) if self.is_right(token) => {
                let name = &self.cookie;
                Ok(Some(format!(
                    "{name}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000"
                )))
            }
            _ => Err(Refusal::Token),
        }
    }

    fn is_right(&self, token: &str) -> bool {
        self.token
            .is_some_and(|right| right == blake3::hash(token.trim().as_bytes()))
    }
}

/// Whether a `Host` names this machine from inside; the port may be that of a tunnel.
fn is_name_of_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let ip: Option<std::net::IpAddr> = name.parse().ok();
    name.eq_ignore_ascii_case("localhost") || ip.is_some_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn access(address: &str, token: Option<&str>) -> Access {
        Access::new(address.parse().expect("an address"), token)
    }

    fn host(host: &str) -> Asked<'_> {
        Asked {
            host: Some(host),
            ..Asked::default()
        }
    }

    #[test]
    fn a_name_that_is_not_of_this_machine_is_refused_on_loopback() {
        let access = access("127.0.0.1:7878", None);
        for good in [
            "localhost",
            "LocalHost:9000",
            "127.0.0.1:7878",
            "127.0.0.1",
            "[::1]:7878",
        ] {
            assert_eq!(access.admit(host(good)), Ok(None), "{good}");
        }
        for bad in [
            "evil.example:7878",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.168.0.7:7878",
            "",
        ] {
            assert_eq!(access.admit(host(bad)), Err(Refusal::Host), "{bad}");
        }
        assert_eq!(access.admit(Asked::default()), Err(Refusal::Host));
    }

    #[test]
    fn a_token_comes_once_in_the_address_and_then_as_a_cookie_or_in_a_header() {
        let access = access("0.0.0.0:7878", Some(TOKEN));
        let asked = host("gpu7.lan:7878");
        assert_eq!(access.admit(asked), Err(Refusal::Token));
        let query = format!("a=b&token={TOKEN}");
        let set = access
            .admit(Asked {
                query: Some(&query),
                ..asked
            })
            .expect("right")
            .expect("a cookie");
        assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict"), "{set}");
        let kept = format!("other=1; {}", set.split(';').next().expect("a pair"));
        assert_eq!(
            access.admit(Asked {
                cookies: Some(&kept),
                ..asked
            }),
            Ok(None)
        );
        let bearer = format!("Bearer {TOKEN}");
        assert_eq!(
            access.admit(Asked {
                authorization: Some(&bearer),
                ..asked
            }),
            Ok(None)
        );
        let wrong = "token=0123456789abcdeX";
        assert_eq!(
            access.admit(Asked {
                query: Some(wrong),
                ..asked
            }),
            Err(Refusal::Token)
        );
        let of_another_page = format!("sandbox_1={TOKEN}");
        assert_eq!(
            access.admit(Asked {
                cookies: Some(&of_another_page),
                ..asked
            }),
            Err(Refusal::Token)
        );
    }

    #[test]
    fn a_token_on_loopback_does_not_lift_the_check_of_the_name() {
        let access = access("[::1]:7878", Some(TOKEN));
        let query = format!("token={TOKEN}");
        let asked = Asked {
            query: Some(&query),
            ..host("evil.example")
        };
        assert_eq!(access.admit(asked), Err(Refusal::Host));
        assert_eq!(access.admit(host("localhost")), Err(Refusal::Token));
    }

    #[test]
    fn a_token_must_be_long_and_fit_into_an_address() {
        assert!(is_good_token(TOKEN));
        assert!(!is_good_token("short"));
        assert!(!is_good_token("0123456789abcdef&x"));
    }
}
