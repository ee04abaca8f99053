//! Deletions: one object, and many in batches of 1,000, of which each key that was not deleted is told.

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use cloudkit_core::common::{CloudError, Failure};

use super::S3Storage;
use super::blank::taken;
use super::text::{can_stand_in_xml, check_bucket, check_object};
use crate::fault::PROVIDER;
use crate::operation::Operation;

/// A key that is still there, and why.
#[derive(Debug)]
struct Left {
    key: String,
    code: String,
    message: String,
}

impl S3Storage {
    /// Deletes one object, or one version of it.
    pub(super) async fn delete_one(
        &self,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
    ) -> Result<(), Failure> {
        let operation = Operation::inside("DeleteObject", bucket, key);
        check_object(bucket, key).map_err(|kind| self.caller.refusal(&operation, kind))?;
        let call = self.s3().delete_object().bucket(bucket).key(taken(key));
        self.caller.run(&operation, call.set_version_id(version_id.map(String::from)).send()).await.map(drop)
    }

    /// Deletes all of these. A key that breaks a rule is refused before anything is deleted.
    pub(super) async fn delete_many(&self, bucket: &str, keys: &[&str]) -> Result<(), Failure> {
        let operation = Operation::on("DeleteObjects", bucket);
        let refuse = |kind: CloudError| self.caller.refusal(&operation, kind);
        check_bucket(bucket).map_err(refuse)?;
        keys.iter().try_for_each(|key| check_object(bucket, key)).map_err(refuse)?;
        // What no document can hold goes by itself, in the address.
        let (in_batches, alone): (Vec<&str>, Vec<&str>) = keys.iter().partition(|key| can_stand_in_xml(key));
        let mut left = Vec::new();
        for keys in in_batches.chunks(BATCH_COUNT_MAX) {
            left.extend(self.delete_batch(&operation, keys).await?);
        }
        for key in alone {
            self.delete_one(bucket, key, None).await?;
        }
        if left.is_empty() { Ok(()) } else { Err(refuse(told(&left))) }
    }

    async fn delete_batch(&self, operation: &Operation<'_>, keys: &[&str]) -> Result<Vec<Left>, Failure> {
        let invalid = |_| self.caller.invalid(operation, "a key is missing");
        let keys = keys.iter().map(|key| ObjectIdentifier::builder().key(*key).build());
        let keys = keys.collect::<Result<Vec<_>, _>>().map_err(invalid)?;
        let delete = Delete::builder().set_objects(Some(keys)).quiet(true).build().map_err(invalid)?;
        let call = self.s3().delete_objects().bucket(operation.outer()).delete(delete).send();
        let output = self.caller.run(operation, call).await?;
        let text = |text: Option<&str>| text.unwrap_or_default().to_string();
        let left = output.errors().iter().map(|error| Left {
            key: text(error.key()),
            code: text(error.code()),
            message: text(error.message()),
        });
        Ok(left.collect())
    }
}

/// One failure for all keys that are left: how many, and the first of them by name.
fn told(left: &[Left]) -> CloudError {
    let mut message = format!("{} of the keys are not deleted: ", left.len());
    for (index, Left { key, code, message: words }) in left.iter().take(TOLD_COUNT_MAX).enumerate() {
        let separator = if index == 0 { "" } else { "; " };
        message.push_str(&format!("{separator}{key:?}: {code}: {words}"));
    }
    if left.len() > TOLD_COUNT_MAX {
        message.push_str("; ..");
    }
    let code = left.first().map(|left| left.code.clone()).unwrap_or_default();
    CloudError::Provider { provider: PROVIDER.into(), code, message }
}

/// Keys of one request, as S3 has it.
const BATCH_COUNT_MAX: usize = 1_000;
const TOLD_COUNT_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_left_are_told_up_to_ten() {
        let left: Vec<Left> = (0..12)
            .map(|index| Left { key: format!("k{index}"), code: "AccessDenied".into(), message: "no".into() })
            .collect();
        let CloudError::Provider { code, message, .. } = told(&left) else { panic!("it is the provider's") };
        assert_eq!(code, "AccessDenied");
        assert!(message.contains("\"k9\"") && !message.contains("\"k10\""), "{message}");
    }
}
