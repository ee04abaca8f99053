//! What an object carries beside its bytes: system headers, user metadata, tags, class, owner and access list.
//! Invariant: metadata names are lower case and unique, and all sizes are within the limits of `model`.

use aws::account::CanonicalId;
use aws::acl::Grant;
use http_types::{HeaderName, header};

use super::tags::Tags;

/// A header of the request that is stored with the object and given back on reads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SystemHeader {
    /// Content-Type.
    ContentType,
    /// Cache-Control.
    CacheControl,
    /// Content-Disposition.
    ContentDisposition,
    /// Content-Encoding, without `aws-chunked`.
    ContentEncoding,
    /// Content-Language.
    ContentLanguage,
    /// Expires, as the client wrote it.
    Expires,
    /// x-amz-website-redirect-location.
    WebsiteRedirect,
}

impl SystemHeader {
    /// Each with its header name and the query parameter that overrides it in a reply ("" where none does).
    pub const ALL: [(SystemHeader, &'static str, &'static str); 7] = [
        (SystemHeader::ContentType, "content-type", "response-content-type"),
        (SystemHeader::CacheControl, "cache-control", "response-cache-control"),
        (SystemHeader::ContentDisposition, "content-disposition", "response-content-disposition"),
        (SystemHeader::ContentEncoding, "content-encoding", "response-content-encoding"),
        (SystemHeader::ContentLanguage, "content-language", "response-content-language"),
        (SystemHeader::Expires, "expires", "response-expires"),
        (SystemHeader::WebsiteRedirect, "x-amz-website-redirect-location", ""),
    ];

    /// The byte that stands for it in a record; an index into `ALL`.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            SystemHeader::ContentType => 0,
            SystemHeader::CacheControl => 1,
            SystemHeader::ContentDisposition => 2,
            SystemHeader::ContentEncoding => 3,
            SystemHeader::ContentLanguage => 4,
            SystemHeader::Expires => 5,
            SystemHeader::WebsiteRedirect => 6,
        }
    }

    /// The inverse of `code`.
    #[must_use]
    pub fn from_code(code: u8) -> Option<SystemHeader> {
        SystemHeader::ALL.get(usize::from(code)).map(|(header, ..)| *header)
    }

    /// The header's name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        SystemHeader::ALL[usize::from(self.code())].1
    }

    /// The same as a type, which costs no parsing.
    #[must_use]
    pub fn header_name(self) -> &'static HeaderName {
        &HEADER_NAMES[usize::from(self.code())]
    }
}

/// In the order of `SystemHeader::ALL`.
static HEADER_NAMES: [HeaderName; 7] = [
    header::CONTENT_TYPE,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::EXPIRES,
    HeaderName::from_static("x-amz-website-redirect-location"),
];

/// The storage class that objects have unless the request names another.
pub const STORAGE_CLASS_DEFAULT: &str = "STANDARD";
/// The Content-Type of an object that was put without one.
pub const CONTENT_TYPE_DEFAULT: &str = "binary/octet-stream";

/// Everything that a request sets on an object beside its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attributes {
    /// Stored headers; each at most once.
    pub headers: Vec<(SystemHeader, Vec<u8>)>,
    /// User metadata, names in lower case without their prefix.
    pub metadata: Vec<(String, Vec<u8>)>,
    /// Tags.
    pub tags: Tags,
    /// Storage class, one of the configured ones.
    pub storage_class: String,
    /// The owner; `None`: the bucket's owner.
    pub owner: Option<CanonicalId>,
    /// The access list; `None`: private to the owner.
    pub grants: Option<Vec<Grant>>,
}

impl Default for Attributes {
    fn default() -> Attributes {
        Attributes {
            headers: Vec::new(),
            metadata: Vec::new(),
            tags: Tags::default(),
            storage_class: STORAGE_CLASS_DEFAULT.to_owned(),
            owner: None,
            grants: None,
        }
    }
}

impl Attributes {
    /// The value of a stored header.
    #[must_use]
    pub fn header(&self, header: SystemHeader) -> Option<&[u8]> {
        self.headers.iter().find(|(name, _)| *name == header).map(|(_, value)| value.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_codes_round_trip() {
        for (header, name, _) in SystemHeader::ALL {
            assert_eq!(SystemHeader::from_code(header.code()), Some(header));
            assert_eq!((header.name(), header.header_name().as_str()), (name, name));
        }
        assert_eq!(SystemHeader::from_code(7), None);
    }
}
