//! Reading of what claims to be a signature: the Authorization header, the presigned query, the credential
//! scope.
//!
//! Invariant: what leaves this file has all its parts, each once, in their right form; whether it is true is
//! decided in `mod.rs`. Nothing here looks at keys or the clock.

use std::borrow::Cow;

use super::keys::TERMINAL;
use super::refusal::{self, Place};
use crate::error::ErrorReply;
use crate::uri;

/// Day, region and service that a signing key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    /// Eight digits.
    pub date: &'a str,
    /// Such as `us-east-1`.
    pub region: &'a str,
    /// Such as `s3`.
    pub service: &'a str,
}

/// `access key/date/region/service/aws4_request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential<'a> {
    /// The whole.
    pub text: &'a str,
    /// Not empty; may contain `/`.
    pub access_key: &'a str,
    /// The parts behind it.
    pub scope: Scope<'a>,
}

impl<'a> Credential<'a> {
    /// The scope as it stands in a string to sign.
    pub fn scope_text(&self) -> &'a str {
        &self.text[self.access_key.len() + 1..]
    }

    /// Reads a credential; `None` unless it has all five parts, a date of eight digits and the terminal
    /// string.
    pub fn parse(text: &'a str) -> Option<Credential<'a>> {
        let (rest, terminal) = last_piece(text)?;
        if terminal != TERMINAL {
            return None;
        }
        let (rest, service) = last_piece(rest)?;
        let (rest, region) = last_piece(rest)?;
        let (access_key, date) = last_piece(rest)?;
        let in_form = !service.is_empty()
            && !region.is_empty()
            && !access_key.is_empty()
            && access_key.len() <= ACCESS_KEY_BYTES_MAX
            && date.len() == 8
            && date.bytes().all(|byte| byte.is_ascii_digit());
        in_form.then_some(Credential { text, access_key, scope: Scope { date, region, service } })
    }

    pub(crate) fn parse_at(place: Place, text: &'a str) -> Result<Credential<'a>, ErrorReply> {
        Credential::parse(text).ok_or_else(|| {
            refusal::malformed(
                place,
                "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".",
            )
        })
    }
}

/// The parts of an Authorization header of version 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthorizationHeader<'a> {
    /// Who signed and for what.
    pub credential: Credential<'a>,
    /// Names joined by `;`, as the client wrote them.
    pub signed_headers: &'a str,
    /// Hexadecimal, not yet decoded.
    pub signature: &'a str,
}

impl<'a> AuthorizationHeader<'a> {
    /// Reads what follows the algorithm in the header. Missing, repeated or malformed parts are
    /// `AuthorizationHeaderMalformed`; unknown parts are too, since nothing would tell what they mean.
    pub fn parse(parameters: &'a str) -> Result<AuthorizationHeader<'a>, ErrorReply> {
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for part in pieces(parameters, b',') {
            let (name, value) = first_piece(part.trim_ascii(), b'=').ok_or_else(malformed_header)?;
            let slot = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => return Err(malformed_header()),
            };
            if slot.replace(value).is_some() {
                return Err(malformed_header());
            }
        }
        let (Some(credential), Some(signed_headers), Some(signature)) =
            (credential, signed_headers, signature)
        else {
            return Err(malformed_header());
        };
        check_signed_headers(Place::Header, signed_headers)?;
        let credential = Credential::parse_at(Place::Header, credential)?;
        Ok(AuthorizationHeader { credential, signed_headers, signature })
    }
}

fn malformed_header() -> ErrorReply {
    refusal::malformed(
        Place::Header,
        "the authorization header requires three components: Credential, SignedHeaders, and Signature.",
    )
}

/// The parts of a presigned URL, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PresignedQuery<'a> {
    /// `X-Amz-Algorithm`.
    pub algorithm: Cow<'a, str>,
    /// `X-Amz-Credential`, not yet taken apart.
    pub credential: Cow<'a, str>,
    /// `X-Amz-Date`.
    pub date: Cow<'a, str>,
    /// `X-Amz-Expires`, seconds as text.
    pub expires: Cow<'a, str>,
    /// `X-Amz-SignedHeaders`.
    pub signed_headers: Cow<'a, str>,
    /// `X-Amz-Signature`.
    pub signature: Cow<'a, str>,
    /// `X-Amz-Security-Token`, for temporary keys.
    pub security_token: Option<Cow<'a, str>>,
    /// `X-Amz-Content-Sha256`, where the client signed the body's digest.
    pub content_sha256: Option<Cow<'a, str>>,
}

impl<'a> PresignedQuery<'a> {
    /// Reads a query. `None` if it has none of the parameters that make a presigned URL;
    /// `AuthorizationQueryParametersError` if it has some but not all, or one twice.
    pub fn parse(query: &'a str) -> Result<Option<PresignedQuery<'a>>, ErrorReply> {
        let mut found: [Option<Cow<'a, str>>; PARAMETERS.len()] = Default::default();
        for (name, value) in uri::query_pairs(query) {
            let Some(index) = parameter_index(name) else { continue };
            let value = uri::decode_query(value)
                .map_err(|_| refusal::malformed(Place::Query, "A query parameter is not valid UTF-8"))?;
            if found[index].replace(value).is_some() {
                let text = format!("{} must be given once", PARAMETERS[index]);
                return Err(refusal::malformed(Place::Query, &text));
            }
        }
        if found[..REQUIRED_COUNT].iter().all(Option::is_none) {
            return Ok(None);
        }
        let [algorithm, credential, date, expires, signed_headers, signature, security_token, content_sha256] =
            found;
        let required = (algorithm, credential, date, expires, signed_headers, signature);
        let (
            Some(algorithm),
            Some(credential),
            Some(date),
            Some(expires),
            Some(signed_headers),
            Some(signature),
        ) = required
        else {
            return Err(refusal::malformed(
                Place::Query,
                "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
                 X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
            ));
        };
        check_signed_headers(Place::Query, &signed_headers)?;
        Ok(Some(PresignedQuery {
            algorithm,
            credential,
            date,
            expires,
            signed_headers,
            signature,
            security_token,
            content_sha256,
        }))
    }

    /// The lifetime in seconds, 0 to 604,800.
    pub fn expires_seconds(&self) -> Result<u32, ErrorReply> {
        let text: &str = &self.expires;
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refusal::malformed(Place::Query, "X-Amz-Expires should be a number"));
        }
        if digits.len() < text.len() {
            return Err(refusal::malformed(Place::Query, "X-Amz-Expires must be non-negative"));
        }
        // A number too long for its type is too large as well.
        text.parse().ok().filter(|seconds| *seconds <= EXPIRES_SECONDS_MAX).ok_or_else(|| {
            refusal::malformed(
                Place::Query,
                "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less \
                 than 604800 seconds",
            )
        })
    }
}

/// Whether a raw query name is `X-Amz-Signature`, which no signature covers.
pub(crate) fn is_signature(raw_name: &str) -> bool {
    parameter_index(raw_name) == Some(SIGNATURE_INDEX)
}

/// Which of [`PARAMETERS`] a raw query name is. Names are compared decoded, so that an escaped spelling
/// cannot smuggle one past us.
fn parameter_index(raw_name: &str) -> Option<usize> {
    // Every spelling of the names starts with this, escaped or not.
    if !raw_name.starts_with(['X', '%']) {
        return None;
    }
    let name = uri::decode_query(raw_name).ok()?;
    PARAMETERS.iter().position(|known| *known == name)
}

/// A list of signed headers names `host`, which binds a signature to this server, and is not absurdly long.
fn check_signed_headers(place: Place, names: &str) -> Result<(), ErrorReply> {
    let (mut count, mut has_host) = (0, false);
    for name in pieces(names, b';') {
        count += 1;
        has_host |= name == "host";
    }
    if count > SIGNED_HEADER_COUNT_MAX {
        return Err(refusal::malformed(place, "there are too many SignedHeaders"));
    }
    if !has_host {
        return Err(refusal::malformed(place, "'host' must be one of the SignedHeaders"));
    }
    Ok(())
}

/// The pieces of `text` between bytes `by`, as `str::split` gives them. `by` is ASCII. The standard library's search
/// is made for long texts, and these are short.
pub(crate) fn pieces(text: &str, by: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || match first_piece(rest?, by) {
        Some((piece, behind)) => {
            rest = Some(behind);
            Some(piece)
        }
        None => rest.take(),
    })
}

fn first_piece(text: &str, by: u8) -> Option<(&str, &str)> {
    let end = find_byte(text.as_bytes(), by)?;
    Some((&text[..end], &text[end + 1..]))
}

/// Where `by` stands first. Eight bytes at a time: a byte of `word` is zero where it stands.
fn find_byte(text: &[u8], by: u8) -> Option<usize> {
    const LOW_BITS: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGH_BITS: u64 = u64::from_le_bytes([0x80; 8]);
    let (words, rest) = text.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word) ^ (LOW_BITS * u64::from(by));
        // Of the zero bytes the lowest is marked right; those above it may be marked without being zero.
        let zeros = word.wrapping_sub(LOW_BITS) & !word & HIGH_BITS;
        if zeros != 0 {
            return Some(number * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    let in_rest = rest.iter().position(|byte| *byte == by)?;
    Some(text.len() - rest.len() + in_rest)
}

/// What stands before and behind the last slash.
fn last_piece(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().rposition(|byte| byte == b'/')?;
    Some((&text[..end], &text[end + 1..]))
}

const PARAMETERS: [&str; 8] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
    "X-Amz-Content-Sha256",
];
/// So many of [`PARAMETERS`] are required, the first.
const REQUIRED_COUNT: usize = 6;
const SIGNATURE_INDEX: usize = 5;

/// A presigned URL lives at most a week.
pub const EXPIRES_SECONDS_MAX: u32 = 604_800;
/// So many headers may be signed; HTTP heads are bounded before, but the list is walked more than once.
const SIGNED_HEADER_COUNT_MAX: usize = 128;
/// Amazon's ids have at most 128 characters.
const ACCESS_KEY_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_found_where_it_stands_first() {
        let mut text = [0_u8; 40];
        for (place, byte) in text.iter_mut().enumerate() {
            *byte = [b'a', 0x80, b';' + 1, b';' ^ 0x80, 0, 0xff][place % 6];
        }
        for length in 0..text.len() {
            assert_eq!(find_byte(&text[..length], b';'), None, "{length}");
            for place in 0..length {
                let mut with = text;
                with[place] = b';';
                with[length - 1] = b';';
                assert_eq!(find_byte(&with[..length], b';'), Some(place), "{length}");
            }
        }
        for list in ["", ";", "a", "a;b", ";a;;b;", "host;x-amz-content-sha256;x-amz-date"] {
            assert!(pieces(list, b';').eq(list.split(';')), "{list}");
        }
    }

    const HEADER: &str =
        "Credential=AK/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range,Signature=00";

    #[test]
    fn a_header_is_read_in_any_order_and_spacing() {
        let parsed = AuthorizationHeader::parse(HEADER).unwrap();
        assert_eq!(parsed.credential.access_key, "AK");
        assert_eq!(parsed.credential.scope_text(), "20130524/us-east-1/s3/aws4_request");
        assert_eq!(parsed.signed_headers, "host;range");
        let other =
            "  Signature=00 ,  SignedHeaders=host;range,Credential=AK/20130524/us-east-1/s3/aws4_request";
        assert_eq!(AuthorizationHeader::parse(other), Ok(parsed));
    }

    #[test]
    fn access_keys_may_contain_slashes() {
        let credential = Credential::parse("a/b/c/20130524/r/s3/aws4_request").unwrap();
        assert_eq!(credential.access_key, "a/b/c");
        assert_eq!(credential.scope, Scope { date: "20130524", region: "r", service: "s3" });
    }

    #[test]
    fn broken_headers_are_malformed() {
        let long_key = format!("{}/20130524/r/s3/aws4_request", "A".repeat(ACCESS_KEY_BYTES_MAX + 1));
        let replaced = |from: &str, to: &str| HEADER.replace(from, to);
        for text in [
            String::new(),
            "Credential".into(),
            replaced("Credential=", "Credentials="),
            replaced(",Signature=00", ""),
            replaced("Signature=00", "Signature=00,Signature=00"),
            replaced("Signature=00", "Signature=00,More=1"),
            replaced("host;range", "range"),
            replaced("host;range", &format!("host;{}", "a;".repeat(SIGNED_HEADER_COUNT_MAX))),
            replaced("AK/", "/"),
            replaced("AK/", ""),
            replaced("20130524", "2013052"),
            replaced("20130524", "2013-5-4"),
            replaced("/s3/", "//"),
            replaced("us-east-1", ""),
            replaced("aws4_request", "aws3_request"),
            replaced("AK/20130524/us-east-1/s3/aws4_request", &long_key),
        ] {
            let error = AuthorizationHeader::parse(&text).unwrap_err();
            assert_eq!((error.code, error.status), ("AuthorizationHeaderMalformed", 400), "{text}");
        }
    }

    const QUERY: &str = "X-Amz-Algorithm=A&X-Amz-Credential=AK%2F1&X-Amz-Date=D&X-Amz-Expires=5&\
                         X-Amz-SignedHeaders=host&X-Amz-Signature=00";

    #[test]
    fn a_presigned_query_is_read_decoded() {
        let query = format!("prefix=x&{QUERY}&X-Amz-Security-Token=t%2B&x-id=GetObject");
        let parsed = PresignedQuery::parse(&query).unwrap().unwrap();
        assert_eq!(parsed.credential, "AK/1");
        assert_eq!(parsed.security_token.as_deref(), Some("t+"));
        assert_eq!(PresignedQuery::parse("prefix=x&X=1"), Ok(None));
        let escaped = QUERY.replace("X-Amz-Date", "X%2DAmz%2dDate");
        assert_eq!(PresignedQuery::parse(&escaped).unwrap().unwrap().date, "D");
    }

    #[test]
    fn incomplete_and_repeated_parameters_are_refused() {
        for part in QUERY.split('&') {
            let without = QUERY.replace(part, "");
            let twice = format!("{QUERY}&{part}");
            for query in [without, twice] {
                let error = PresignedQuery::parse(&query).unwrap_err();
                assert_eq!(error.code, "AuthorizationQueryParametersError", "{query}");
            }
        }
    }

    #[test]
    fn lifetimes_are_numbers_up_to_a_week() {
        let seconds = |text: &'static str| {
            let query = PresignedQuery { expires: text.into(), ..PresignedQuery::default() };
            query.expires_seconds().map_err(|error| error.message)
        };
        assert_eq!(seconds("0"), Ok(0));
        assert_eq!(seconds("604800"), Ok(EXPIRES_SECONDS_MAX));
        assert!(seconds("604801").unwrap_err().contains("less than a week"));
        assert!(seconds("99999999999999999999999").unwrap_err().contains("less than a week"));
        assert!(seconds("-1").unwrap_err().contains("non-negative"));
        for text in ["", "-", "+1", "1s", "0x1", " 1"] {
            assert!(seconds(text).unwrap_err().contains("number"), "{text}");
        }
    }
}
