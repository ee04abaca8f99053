//! Access control lists: canned names, grants, and the `x-amz-grant-*` headers.
//!
//! Invariant: a list names accounts by canonical id only; e-mail addresses and unknown ids are resolved or
//! refused before a list exists. Where lists are kept and which operations ask for which permission belongs
//! to the service.

use http_types::HeaderMap;

use crate::account::{CanonicalId, Directory};
use crate::error::ErrorReply;

/// The lists that have names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CannedAcl {
    /// The owner alone.
    #[default]
    Private,
    /// Everyone may read.
    PublicRead,
    /// Everyone may read and write.
    PublicReadWrite,
    /// Every signed request may read.
    AuthenticatedRead,
    /// The bucket's owner may read the object.
    BucketOwnerRead,
    /// The bucket's owner may do everything with the object.
    BucketOwnerFullControl,
    /// Log delivery may write and read the list.
    LogDeliveryWrite,
}

impl CannedAcl {
    /// Reads the value of `x-amz-acl`; anything unknown is `InvalidArgument`.
    pub fn parse(name: &[u8]) -> Result<CannedAcl, ErrorReply> {
        CANNED_NAMES.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, acl)| *acl).ok_or_else(
            || {
                ErrorReply::invalid_argument(
                    "The canned ACL is unknown",
                    "x-amz-acl",
                    String::from_utf8_lossy(name),
                )
            },
        )
    }

    /// The value of `x-amz-acl` that means this list.
    pub fn name(self) -> &'static str {
        match self {
            CannedAcl::Private => "private",
            CannedAcl::PublicRead => "public-read",
            CannedAcl::PublicReadWrite => "public-read-write",
            CannedAcl::AuthenticatedRead => "authenticated-read",
            CannedAcl::BucketOwnerRead => "bucket-owner-read",
            CannedAcl::BucketOwnerFullControl => "bucket-owner-full-control",
            CannedAcl::LogDeliveryWrite => "log-delivery-write",
        }
    }

    /// The list itself, for a resource of `owner` in a bucket of `bucket_owner`; on a bucket both are the
    /// same, and the two bucket-owner lists then mean `private`.
    pub fn to_acl(self, owner: CanonicalId, bucket_owner: CanonicalId) -> Acl {
        let mut grants =
            vec![Grant { grantee: Grantee::Account(owner), permission: Permission::FullControl }];
        let mut group = |group, permission| grants.push(Grant { grantee: Grantee::Group(group), permission });
        match self {
            CannedAcl::Private => {}
            CannedAcl::PublicRead => group(Group::AllUsers, Permission::Read),
            CannedAcl::PublicReadWrite => {
                group(Group::AllUsers, Permission::Read);
                group(Group::AllUsers, Permission::Write);
            }
            CannedAcl::AuthenticatedRead => group(Group::AuthenticatedUsers, Permission::Read),
            CannedAcl::LogDeliveryWrite => {
                group(Group::LogDelivery, Permission::Write);
                group(Group::LogDelivery, Permission::ReadAcp);
            }
            CannedAcl::BucketOwnerRead | CannedAcl::BucketOwnerFullControl => {
                let permission = match self {
                    CannedAcl::BucketOwnerRead => Permission::Read,
                    _ => Permission::FullControl,
                };
                if owner != bucket_owner {
                    grants.push(Grant { grantee: Grantee::Account(bucket_owner), permission });
                }
            }
        }
        Acl { owner, grants }
    }
}

/// What a grant allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// All of the others.
    FullControl,
    /// List a bucket, read an object.
    Read,
    /// Create, overwrite and delete objects of a bucket.
    Write,
    /// Read the list.
    ReadAcp,
    /// Change the list.
    WriteAcp,
}

impl Permission {
    /// The text in XML.
    pub fn name(self) -> &'static str {
        match self {
            Permission::FullControl => "FULL_CONTROL",
            Permission::Read => "READ",
            Permission::Write => "WRITE",
            Permission::ReadAcp => "READ_ACP",
            Permission::WriteAcp => "WRITE_ACP",
        }
    }

    /// Reads the text of XML.
    pub fn parse(name: &str) -> Option<Permission> {
        GRANT_HEADERS.iter().map(|(_, permission)| *permission).find(|permission| permission.name() == name)
    }
}

/// Groups that a grant may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Everyone, signed or not.
    AllUsers,
    /// Everyone who signed.
    AuthenticatedUsers,
    /// The writer of access logs.
    LogDelivery,
}

impl Group {
    /// The group's URI.
    pub fn uri(self) -> &'static str {
        match self {
            Group::AllUsers => "http://acs.amazonaws.com/groups/global/AllUsers",
            Group::AuthenticatedUsers => "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
            Group::LogDelivery => "http://acs.amazonaws.com/groups/s3/LogDelivery",
        }
    }

    /// Reads a group's URI.
    pub fn parse(uri: &str) -> Option<Group> {
        [Group::AllUsers, Group::AuthenticatedUsers, Group::LogDelivery]
            .into_iter()
            .find(|group| group.uri() == uri)
    }
}

/// To whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grantee {
    /// One account.
    Account(CanonicalId),
    /// One group.
    Group(Group),
}

/// One line of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// To whom.
    pub grantee: Grantee,
    /// What.
    pub permission: Permission,
}

/// A list and its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    /// May always read and change the list, whatever it says.
    pub owner: CanonicalId,
    /// At most [`GRANT_COUNT_MAX`].
    pub grants: Vec<Grant>,
}

impl Acl {
    /// Whether the list grants `permission` to `caller`; `None` is an anonymous caller.
    pub fn allows(&self, caller: Option<&CanonicalId>, permission: Permission) -> bool {
        let of_owner = matches!(permission, Permission::ReadAcp | Permission::WriteAcp)
            && caller.is_some_and(|caller| *caller == self.owner);
        of_owner
            || self.grants.iter().any(|grant| {
                let reaches = match grant.grantee {
                    Grantee::Account(id) => caller.is_some_and(|caller| *caller == id),
                    Grantee::Group(Group::AllUsers) => true,
                    Grantee::Group(Group::AuthenticatedUsers) => caller.is_some(),
                    Grantee::Group(Group::LogDelivery) => false,
                };
                reaches && (grant.permission == permission || grant.permission == Permission::FullControl)
            })
    }

    /// Whether the list opens anything to everyone or to every signed caller, which public access blocks
    /// forbid.
    pub fn is_public(&self) -> bool {
        self.grants.iter().any(|grant| {
            matches!(
                grant.grantee,
                Grantee::Group(Group::AllUsers) | Grantee::Group(Group::AuthenticatedUsers)
            )
        })
    }
}

/// What the headers of a request say about the list of the resource it makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AclHeaders {
    /// Nothing: the default of the resource holds.
    Absent,
    /// A name in `x-amz-acl`.
    Canned(CannedAcl),
    /// Grants in `x-amz-grant-*`, in the order of [`GRANT_HEADERS`]. The owner has what they give and no
    /// more.
    Grants(Vec<Grant>),
}

impl AclHeaders {
    /// Reads `x-amz-acl` and `x-amz-grant-*`. Both at once are `InvalidRequest`; an unknown name, id or group
    /// is `InvalidArgument`; an unknown e-mail address is `UnresolvableGrantByEmailAddress`; more than
    /// [`GRANT_COUNT_MAX`] grants are `MalformedACLError`.
    pub fn parse(headers: &HeaderMap, directory: &dyn Directory) -> Result<AclHeaders, ErrorReply> {
        let mut grants = Vec::new();
        for (name, permission) in GRANT_HEADERS {
            for value in headers.get_all(name) {
                parse_grant_header(&mut grants, name, value.as_bytes(), permission, directory)?;
            }
        }
        match (headers.get("x-amz-acl"), grants.is_empty()) {
            (None, true) => Ok(AclHeaders::Absent),
            (None, false) => Ok(AclHeaders::Grants(grants)),
            (Some(name), true) => CannedAcl::parse(name.as_bytes()).map(AclHeaders::Canned),
            (Some(_), false) => Err(ErrorReply::new(
                "InvalidRequest",
                400,
                "Specifying both Canned ACLs and Header Grants is not allowed",
            )),
        }
    }
}

/// `id="...", uri="...", emailAddress="..."`; quotes may be missing.
fn parse_grant_header(
    grants: &mut Vec<Grant>,
    header: &'static str,
    value: &[u8],
    permission: Permission,
    directory: &dyn Directory,
) -> Result<(), ErrorReply> {
    let malformed = |text: &str| ErrorReply::invalid_argument("Argument format not recognized", header, text);
    let text = std::str::from_utf8(value).map_err(|_| malformed(&String::from_utf8_lossy(value)))?;
    for item in text.split(',') {
        let (kind, name) = item.split_once('=').ok_or_else(|| malformed(item))?;
        let name = name.trim();
        let name = match name.strip_prefix('"') {
            Some(rest) => rest.strip_suffix('"').ok_or_else(|| malformed(item))?,
            None => name,
        };
        let kind = kind.trim();
        let grantee = if kind.eq_ignore_ascii_case("id") {
            let known = CanonicalId::parse(name).filter(|id| directory.by_canonical_id(id).is_some());
            Grantee::Account(known.ok_or_else(|| ErrorReply::invalid_argument("Invalid id", header, item))?)
        } else if kind.eq_ignore_ascii_case("uri") {
            let group = Group::parse(name);
            Grantee::Group(
                group.ok_or_else(|| ErrorReply::invalid_argument("Invalid group uri", header, item))?,
            )
        } else if kind.eq_ignore_ascii_case("emailAddress") {
            let account = directory.by_email(name).ok_or_else(|| unresolvable_email(name))?;
            Grantee::Account(account.canonical_id)
        } else {
            return Err(malformed(item));
        };
        if grants.len() == GRANT_COUNT_MAX {
            return Err(ErrorReply::new(
                "MalformedACLError",
                400,
                "The ACL you provided has too many grants",
            ));
        }
        grants.push(Grant { grantee, permission });
    }
    Ok(())
}

/// 400 UnresolvableGrantByEmailAddress, for a grant to `email`.
pub fn unresolvable_email(email: &str) -> ErrorReply {
    ErrorReply::new(
        "UnresolvableGrantByEmailAddress",
        400,
        "The e-mail address you provided does not match any account on record.",
    )
    .with("Email", email)
}

/// A list holds at most so many grants.
pub const GRANT_COUNT_MAX: usize = 100;

/// The grant headers and what each gives.
pub const GRANT_HEADERS: [(&str, Permission); 5] = [
    ("x-amz-grant-full-control", Permission::FullControl),
    ("x-amz-grant-read", Permission::Read),
    ("x-amz-grant-write", Permission::Write),
    ("x-amz-grant-read-acp", Permission::ReadAcp),
    ("x-amz-grant-write-acp", Permission::WriteAcp),
];

const CANNED_NAMES: [(&str, CannedAcl); 7] = [
    ("private", CannedAcl::Private),
    ("public-read", CannedAcl::PublicRead),
    ("public-read-write", CannedAcl::PublicReadWrite),
    ("authenticated-read", CannedAcl::AuthenticatedRead),
    ("bucket-owner-read", CannedAcl::BucketOwnerRead),
    ("bucket-owner-full-control", CannedAcl::BucketOwnerFullControl),
    ("log-delivery-write", CannedAcl::LogDeliveryWrite),
];

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_types::{HeaderName, HeaderValue};

    use super::*;
    use crate::account::{Account, AccountId, KeyRing};

    fn id(digit: char) -> CanonicalId {
        CanonicalId::parse(&digit.to_string().repeat(64)).unwrap()
    }

    fn ring() -> KeyRing {
        let mut ring = KeyRing::default();
        let mut alt = Account::new(AccountId::parse("111111111111").unwrap(), "alt");
        alt.canonical_id = id('a');
        alt.email = Some("Alt@example.test".into());
        ring.add_account(Arc::new(alt));
        ring
    }

    fn parse(headers: &[(&'static str, &str)]) -> Result<AclHeaders, &'static str> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        AclHeaders::parse(&map, &ring()).map_err(|error| error.code)
    }

    #[test]
    fn canned_names_read_back_as_themselves() {
        for (name, acl) in CANNED_NAMES {
            assert_eq!(CannedAcl::parse(name.as_bytes()), Ok(acl));
            assert_eq!(acl.name(), name);
        }
        assert_eq!(CannedAcl::parse(b"Private").unwrap_err().code, "InvalidArgument");
        for (_, permission) in GRANT_HEADERS {
            assert_eq!(Permission::parse(permission.name()), Some(permission));
        }
    }

    #[test]
    fn canned_lists_open_what_their_names_say() {
        use Permission::{FullControl, Read, ReadAcp, Write, WriteAcp};
        let (owner, bucket_owner, other) = (id('0'), id('1'), id('2'));
        let rows: [(CannedAcl, [bool; 5]); 7] = [
            // anonymous read, anonymous write, other's read, bucket owner's read, bucket owner's write of the
            // list
            (CannedAcl::Private, [false, false, false, false, false]),
            (CannedAcl::PublicRead, [true, false, true, true, false]),
            (CannedAcl::PublicReadWrite, [true, true, true, true, false]),
            (CannedAcl::AuthenticatedRead, [false, false, true, true, false]),
            (CannedAcl::BucketOwnerRead, [false, false, false, true, false]),
            (CannedAcl::BucketOwnerFullControl, [false, false, false, true, true]),
            (CannedAcl::LogDeliveryWrite, [false, false, false, false, false]),
        ];
        for (canned, expected) in rows {
            let acl = canned.to_acl(owner, bucket_owner);
            let found = [
                acl.allows(None, Read),
                acl.allows(None, Write),
                acl.allows(Some(&other), Read),
                acl.allows(Some(&bucket_owner), Read),
                acl.allows(Some(&bucket_owner), WriteAcp),
            ];
            assert_eq!(found, expected, "{canned:?}");
            assert!(acl.allows(Some(&owner), FullControl));
            assert_eq!(acl.is_public(), expected[2], "{canned:?}");
        }
        let empty = Acl { owner, grants: Vec::new() };
        assert!(empty.allows(Some(&owner), ReadAcp) && empty.allows(Some(&owner), WriteAcp));
        assert!(!empty.allows(Some(&owner), Read));
    }

    #[test]
    fn grant_headers_name_accounts_and_groups() {
        let a = "a".repeat(64);
        let value = format!(
            "id=\"{a}\", uri=http://acs.amazonaws.com/groups/global/AllUsers , emailAddress=\"alt@EXAMPLE.test\""
        );
        let account = Grant { grantee: Grantee::Account(id('a')), permission: Permission::ReadAcp };
        let all = Grant { grantee: Grantee::Group(Group::AllUsers), permission: Permission::ReadAcp };
        assert_eq!(
            parse(&[("x-amz-grant-read-acp", &value)]),
            Ok(AclHeaders::Grants(vec![account, all, account]))
        );
        assert_eq!(parse(&[]), Ok(AclHeaders::Absent));
        assert_eq!(parse(&[("x-amz-acl", "public-read")]), Ok(AclHeaders::Canned(CannedAcl::PublicRead)));
    }

    #[test]
    fn unknown_grantees_and_mixed_headers_are_refused() {
        let a = format!("id={}", "a".repeat(64));
        let refused = |value: &str| parse(&[("x-amz-grant-read", value)]).unwrap_err();
        assert_eq!(refused(&format!("id={}", "b".repeat(64))), "InvalidArgument");
        assert_eq!(refused("id=bob"), "InvalidArgument");
        assert_eq!(refused("uri=http://example.test/group"), "InvalidArgument");
        assert_eq!(refused("emailAddress=nobody@example.test"), "UnresolvableGrantByEmailAddress");
        assert_eq!(refused("phone=1"), "InvalidArgument");
        assert_eq!(refused("id=\"unclosed"), "InvalidArgument");
        assert_eq!(refused(""), "InvalidArgument");
        assert_eq!(parse(&[("x-amz-grant-read", &a), ("x-amz-acl", "private")]), Err("InvalidRequest"));
        let many = vec![a.as_str(); GRANT_COUNT_MAX + 1].join(",");
        assert_eq!(refused(&many), "MalformedACLError");
    }
}
