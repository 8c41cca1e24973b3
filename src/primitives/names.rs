//! Names that people and credentials use: registers, coupons, origins.

use std::fmt;

use super::limits;

/// Why a name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not 1 to 19 characters of printable ASCII.
    #[error("a register is named by 1 to {max} characters of printable ASCII without spaces at its ends", max = limits::REGISTER_CHARS_MAX)]
    Register,
    /// Not `{list}-{index}`.
    #[error("a coupon's name is its list and index in decimal, such as 0-4711")]
    Coupon,
    /// Not `https://host[:port]`, or `http://` on a loopback host.
    #[error(
        "a base URL is https://HOST or https://HOST:PORT without a path (http only for loopback hosts): {0}"
    )]
    Origin(String),
}

/// A till's place in a shop: 1 to 19 characters of printable ASCII.
///
/// It is kept in place: every receipt and redemption copies it a few times.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Register {
    /// The name and zeros behind it, so that registers sort as their names do.
    bytes: [u8; limits::REGISTER_CHARS_MAX],
    length: u8,
}

impl Register {
    /// Checks and takes a register's name.
    ///
    /// # Errors
    /// [`NameError::Register`] when it is empty, too long or not printable ASCII.
    pub fn new(name: impl AsRef<str>) -> Result<Self, NameError> {
        let name = name.as_ref();
        let fits = (1..=limits::REGISTER_CHARS_MAX).contains(&name.len())
            && name.bytes().all(|b| (0x20..=0x7e).contains(&b))
            && !name.starts_with(' ')
            && !name.ends_with(' ');
        if !fits {
            return Err(NameError::Register);
        }
        let mut bytes = [0; limits::REGISTER_CHARS_MAX];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        let length = u8::try_from(name.len()).expect("some characters");
        Ok(Self { bytes, length })
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).expect("printable ASCII")
    }
}

impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Register({})", self.as_str())
    }
}

/// A coupon's place in the one durable counter of its node. Positions fill
/// status list after status list; a keyed permutation turns the place within
/// the list into the status index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// The status list this position falls into.
    #[must_use]
    pub fn list(self) -> u32 {
        u32::try_from(self.0 / u64::from(limits::STATUS_LIST_LEN)).unwrap_or(u32::MAX)
    }

    /// The place within that list, before the permutation.
    #[must_use]
    pub fn offset(self) -> u32 {
        u32::try_from(self.0 % u64::from(limits::STATUS_LIST_LEN)).unwrap_or(0)
    }

    /// The position at `offset` of `list`.
    #[must_use]
    pub fn at(list: u32, offset: u32) -> Self {
        Self(u64::from(list) * u64::from(limits::STATUS_LIST_LEN) + u64::from(offset))
    }
}

/// What a coupon is called in office work: its status list and index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CouponName {
    /// Number of the status list.
    pub list: u32,
    /// Index in that list, below [`limits::STATUS_LIST_LEN`].
    pub index: u32,
}

impl CouponName {
    /// Reads `{list}-{index}`: decimals without leading zeros.
    ///
    /// # Errors
    /// [`NameError::Coupon`] for anything else, and for an index out of bounds.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (list, index) = text.split_once('-').ok_or(NameError::Coupon)?;
        let name = Self {
            list: parse_decimal(list).ok_or(NameError::Coupon)?,
            index: parse_decimal(index).ok_or(NameError::Coupon)?,
        };
        if name.index < limits::STATUS_LIST_LEN {
            Ok(name)
        } else {
            Err(NameError::Coupon)
        }
    }
}

impl fmt::Display for CouponName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.list, self.index)
    }
}

fn parse_decimal(text: &str) -> Option<u32> {
    let plain = !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

/// A node's base URL: an origin without a path. `https`, or `http` on a
/// loopback host. It fixes links, status uris, did:web and the log's origin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    https: bool,
    authority: String,
}

impl Origin {
    /// Reads `https://host[:port]`; a trailing slash is cut off, case of scheme
    /// and host is folded to lower case, a default port is left out.
    ///
    /// # Errors
    /// [`NameError::Origin`] with the reason.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let refuse = |why: &str| NameError::Origin(why.to_owned());
        let lower = text.to_ascii_lowercase();
        let (https, rest) = match (lower.strip_prefix("https://"), lower.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(refuse("it has to begin with https:// or http://")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) =
            split_port(authority).ok_or_else(|| refuse("the port is not a number from 1 to 65535"))?;
        if host.is_empty() || authority.len() > limits::AUTHORITY_CHARS_MAX {
            return Err(refuse("the host is missing or too long"));
        }
        let named = host
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'));
        let bracketed = host.starts_with('[')
            && host.ends_with(']')
            && host[1..host.len() - 1].parse::<std::net::Ipv6Addr>().is_ok();
        if !named && !bracketed {
            return Err(refuse("it is an origin: no path, user, query or fragment"));
        }
        if !https && !is_loopback(host) {
            return Err(refuse("plain http is for loopback hosts only"));
        }
        let default_port = if https { 443 } else { 80 };
        let authority = match port {
            Some(port) if port != default_port => format!("{host}:{port}"),
            _ => host.to_owned(),
        };
        Ok(Self { https, authority })
    }

    /// Host and port: the log's origin and the name of its key.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// `did:web` of this origin (the port's colon percent-encoded).
    #[must_use]
    pub fn did_web(&self) -> String {
        format!("did:web:{}", self.authority.replace(':', "%3A"))
    }

    /// The uri of status list `list`: `{origin}/s/{list}`.
    #[must_use]
    pub fn status_uri(&self, list: u32) -> String {
        format!("{self}/s/{list}")
    }

    /// The list number, if `uri` is exactly this origin, `/s/` and a decimal
    /// without leading zeros.
    #[must_use]
    pub fn status_list_of(&self, uri: &str) -> Option<u32> {
        let scheme = if self.https { "https://" } else { "http://" };
        let authority = uri.strip_prefix(scheme)?;
        let list = authority
            .strip_prefix(self.authority.as_str())?
            .strip_prefix("/s/")?;
        parse_decimal(list)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let after_host = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after_host..].rfind(':') {
        None => Some((authority, None)),
        Some(colon) => {
            let (host, port) = authority.split_at(after_host + colon);
            let port = parse_decimal(&port[1..]).and_then(|p| u16::try_from(p).ok())?;
            (port != 0).then_some((host, Some(port)))
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_folded_to_one_spelling() {
        for (text, shown) in [
            ("https://Coop.Example/", "https://coop.example"),
            ("https://coop.example:443", "https://coop.example"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:9", "http://[::1]:9"),
        ] {
            assert_eq!(Origin::parse(text).unwrap().to_string(), shown);
        }
        for text in [
            "coop.example",
            "http://coop.example",
            "https://coop.example/shop",
            "https://user@coop.example",
            "https://coop.example:0",
            "https://coop.example:99999",
            "https://",
            "ftp://coop.example",
        ] {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn status_uris_are_compared_whole() {
        let origin = Origin::parse("https://coop.example").unwrap();
        assert_eq!(origin.status_list_of("https://coop.example/s/12"), Some(12));
        for uri in [
            "https://coop.example/s/012",
            "https://coop.example/s/",
            "https://coop.example/s/1/",
            "https://coop.example.evil/s/1",
            "http://coop.example/s/1",
            "https://coop.example/s/+1",
        ] {
            assert_eq!(origin.status_list_of(uri), None, "{uri}");
        }
    }

    #[test]
    fn registers_and_coupon_names() {
        assert!(Register::new("shop1-lane3").is_ok());
        assert!(Register::new("a".repeat(19)).is_ok());
        for bad in ["", "a".repeat(20).as_str(), "kasse-ä", "a\tb", " a", "a "] {
            assert_eq!(Register::new(bad), Err(NameError::Register), "{bad}");
        }
        let mut names = ["lane-2", "lane", "lane-10", "a", "z", "lane 1", "lane-1"];
        let mut registers = names.map(|name| Register::new(name).unwrap());
        names.sort_unstable();
        registers.sort_unstable();
        assert_eq!(registers.each_ref().map(Register::as_str), names);
        assert_eq!(
            CouponName::parse("2-131071"),
            Ok(CouponName {
                list: 2,
                index: 131_071
            })
        );
        for bad in ["2-131072", "02-1", "2-", "2", "-1-2", "2-1 "] {
            assert!(CouponName::parse(bad).is_err(), "{bad}");
        }
    }
}
