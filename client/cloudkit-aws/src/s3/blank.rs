//! Keys of white space alone, which the SDK takes for none, though S3 does not.
//!
//! The SDK is given another key in their place, and the address is put right before it is signed. Invariant: only the address of a
//! call that is about such a key is touched, so that a key that looks like the other one stays what it is.

use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextMut;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use super::text::append_encoded;
use crate::attempt::blank_key;
use crate::operation::{Operation, Resource};

/// The key as the SDK takes it.
pub(super) fn taken(key: &str) -> &str {
    if key.trim().is_empty() { STAND_IN } else { key }
}

/// What an operation's key is in an address, if the SDK takes it for none.
pub(crate) fn blank_key_of(operation: &Operation<'_>) -> Option<String> {
    match operation.resource {
        Resource::Inside(_, key) if !key.is_empty() && key.trim().is_empty() => {
            let mut encoded = String::new();
            append_encoded(&mut encoded, key);
            Some(encoded)
        }
        Resource::Inside(..) | Resource::One(_) | Resource::Service => None,
    }
}

/// Puts the address right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlankKeys;

#[dyn_dispatch_hint]
impl Intercept for BlankKeys {
    fn name(&self) -> &'static str {
        "cloudkit blank keys"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(key) = blank_key()
            && let Some(address) = put_right(context.request().uri(), &key)
        {
            context.request_mut().set_uri(address)?;
        }
        Ok(())
    }
}

/// The address with the key in the place of the other one, which is the last part of its path.
fn put_right(address: &str, key: &str) -> Option<String> {
    let (path, query) = match address.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (address, None),
    };
    let front = path.strip_suffix(STAND_IN).filter(|front| front.ends_with('/'))?;
    Some(match query {
        Some(query) => format!("{front}{key}?{query}"),
        None => format!("{front}{key}"),
    })
}

const STAND_IN: &str = "white-space";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_white_space_finds_its_way_into_the_address() {
        let blank = |key| blank_key_of(&Operation::inside("GetObject", "b", key));
        assert_eq!(blank(" \t").as_deref(), Some("%20%09"));
        assert_eq!([blank(""), blank("a "), blank("/")], [None, None, None]);
        assert_eq!([taken(" "), taken("a"), taken(" a")], [STAND_IN, "a", " a"]);
        let of = |address: &str| put_right(address, "%20");
        assert_eq!(
            of("http://h/b/white-space?x-id=GetObject").as_deref(),
            Some("http://h/b/%20?x-id=GetObject")
        );
        assert_eq!(of("/b/white-space").as_deref(), Some("/b/%20"));
        assert_eq!([of("/b/a-white-space"), of("/b/k?white-space")], [None, None]);
    }
}
