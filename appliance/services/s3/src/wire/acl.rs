//! AccessControlPolicy documents.
//! Invariant: a parsed list names known accounts and groups only.

use aws::account::{CanonicalId, Directory};
use aws::acl::{Acl, GRANT_COUNT_MAX, Grant, Grantee, Group, Permission, unresolvable_email};
use aws::xml::{Document, Element, Writer, XmlError};

use super::error::{Code, Error};
use crate::model::XML_BODY_BYTES_MAX;

/// Reads a document. The owner in it must be the resource's.
pub fn parse(body: &[u8], owner: CanonicalId, directory: &dyn Directory) -> Result<Vec<Grant>, Error> {
    let document = Document::parse(body, XML_BODY_BYTES_MAX)?;
    let root =
        document.root_named("AccessControlPolicy").map_err(|_| Error::from(Code::MalformedAclError))?;
    let named = root.child("Owner").and_then(|owner| owner.child_text("ID"));
    let named = named.ok_or_else(|| Error::from(Code::MalformedAclError))?;
    if CanonicalId::parse(named) != Some(owner) {
        return Err(Code::AccessDenied.into());
    }
    let list = root.child("AccessControlList").ok_or_else(|| Error::from(Code::MalformedAclError))?;
    let mut grants = Vec::new();
    for grant in list.children_named("Grant") {
        if grants.len() == GRANT_COUNT_MAX {
            return Err(Code::MalformedAclError.into());
        }
        grants.push(parse_grant(grant, directory)?);
    }
    Ok(grants)
}

fn parse_grant(grant: Element<'_, '_>, directory: &dyn Directory) -> Result<Grant, Error> {
    let permission = grant.child("Permission").and_then(|text| Permission::parse(text.trimmed()));
    let permission = permission.ok_or_else(|| Error::from(Code::MalformedAclError))?;
    let grantee = grant.child("Grantee").ok_or_else(|| Error::from(Code::MalformedAclError))?;
    let grantee = match grantee.attribute("type") {
        Some("CanonicalUser") => {
            let text = grantee.child("ID").ok_or(XmlError::Malformed)?.trimmed();
            let known = CanonicalId::parse(text).filter(|id| directory.by_canonical_id(id).is_some());
            let id = known.ok_or_else(|| Error::argument("CanonicalUser/ID", text, "Invalid id"))?;
            Grantee::Account(id)
        }
        Some("Group") => {
            let text = grantee.child("URI").ok_or(XmlError::Malformed)?.trimmed();
            let group = Group::parse(text);
            Grantee::Group(group.ok_or_else(|| Error::argument("Group/URI", text, "Invalid group uri"))?)
        }
        Some("AmazonCustomerByEmail") => {
            let text = grantee.child("EmailAddress").ok_or(XmlError::Malformed)?.trimmed();
            let account = directory.by_email(text).ok_or_else(|| Error::from(unresolvable_email(text)))?;
            Grantee::Account(account.canonical_id)
        }
        _ => return Err(Code::MalformedAclError.into()),
    };
    Ok(Grant { grantee, permission })
}

/// Writes a document.
#[must_use]
pub fn write(acl: &Acl, directory: &dyn Directory) -> Vec<u8> {
    let mut writer = Writer::s3("AccessControlPolicy", 1024);
    write_account(&mut writer, "Owner", acl.owner, directory);
    writer.open("AccessControlList");
    // Groups first: clients that sort or show accounts by name meet those without one before the others.
    let is_group = |grant: &&Grant| matches!(grant.grantee, Grantee::Group(_));
    let (groups, accounts): (Vec<&Grant>, Vec<&Grant>) = acl.grants.iter().partition(is_group);
    for grant in groups.into_iter().chain(accounts) {
        writer.open("Grant");
        let kind = match grant.grantee {
            Grantee::Account(_) => "CanonicalUser",
            Grantee::Group(_) => "Group",
        };
        let namespace = ("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance");
        writer.open_with("Grantee", &[namespace, ("xsi:type", kind)]);
        match grant.grantee {
            Grantee::Account(id) => write_id(&mut writer, id, directory),
            Grantee::Group(group) => writer.text("URI", group.uri()),
        }
        writer.close("Grantee");
        writer.text("Permission", grant.permission.name());
        writer.close("Grant");
    }
    writer.close("AccessControlList");
    writer.close("AccessControlPolicy");
    writer.into_bytes()
}

/// Writes `<element><ID/><DisplayName/></element>`, as owners and initiators are named everywhere.
pub fn write_account(writer: &mut Writer, element: &str, id: CanonicalId, directory: &dyn Directory) {
    writer.open(element);
    write_id(writer, id, directory);
    writer.close(element);
}

fn write_id(writer: &mut Writer, id: CanonicalId, directory: &dyn Directory) {
    writer.text("ID", id.as_str());
    writer
        .text_if("DisplayName", directory.by_canonical_id(&id).map(|account| account.display_name.as_str()));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aws::account::{Account, AccountId, KeyRing};
    use aws::acl::CannedAcl;

    use super::*;

    fn directory() -> (KeyRing, CanonicalId) {
        let mut ring = KeyRing::default();
        let mut account = Account::new(AccountId::parse("111111111111").expect("digits"), "alt");
        account.email = Some("alt@example.test".into());
        let id = account.canonical_id;
        ring.add_account(Arc::new(account));
        (ring, id)
    }

    #[test]
    fn a_list_round_trips() {
        let (ring, id) = directory();
        let acl = CannedAcl::PublicReadWrite.to_acl(id, id);
        let xml = write(&acl, &ring);
        let mut grants = parse(&xml, id, &ring).expect("valid");
        assert!(matches!(grants[0].grantee, Grantee::Group(_)), "the owner, who was granted first, is last");
        grants.rotate_right(1);
        assert_eq!(grants, acl.grants);
        let text = String::from_utf8(xml).expect("UTF-8");
        assert!(text.contains("xsi:type=\"Group\"") && text.contains("<DisplayName>alt</DisplayName>"));
    }

    #[test]
    fn foreign_owners_unknown_grantees_and_bad_shapes_are_refused() {
        let (ring, id) = directory();
        let document = |owner: &str, grantee: &str| {
            format!(
                "<AccessControlPolicy><Owner><ID>{owner}</ID></Owner><AccessControlList><Grant>{grantee}\
                 <Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>"
            )
        };
        let code = |xml: String| parse(xml.as_bytes(), id, &ring).expect_err("refused").reply.code;
        let mail =
            "<Grantee type='AmazonCustomerByEmail'><EmailAddress>ALT@example.test</EmailAddress></Grantee>";
        let grants = parse(document(id.as_str(), mail).as_bytes(), id, &ring).expect("valid");
        assert_eq!(grants[0].grantee, Grantee::Account(id));
        assert_eq!(code(document(&"0".repeat(64), mail)), "AccessDenied");
        let unknown = mail.replace("ALT", "x");
        assert_eq!(code(document(id.as_str(), &unknown)), "UnresolvableGrantByEmailAddress");
        let stranger = "<Grantee type='CanonicalUser'><ID>abc</ID></Grantee>";
        assert_eq!(code(document(id.as_str(), stranger)), "InvalidArgument");
        assert_eq!(code(document(id.as_str(), "")), "MalformedACLError");
        assert_eq!(code("<AccessControlPolicy/>".into()), "MalformedACLError");
    }
}
