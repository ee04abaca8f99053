//! Deletions of many objects: batches of 1,000, several at once, and each key that was not deleted is told.

use cloudkit_core::common::{CloudError, Failure};
use http_types::Method;
use tokio::task::JoinSet;

use super::{ZeroStore, read, request};
use crate::failure::PROVIDER;
use crate::service::Operation;
use crate::xml;

/// A key that is still there, and why.
#[derive(Debug)]
struct Left {
    key: String,
    code: String,
    message: String,
}

impl ZeroStore {
    /// Deletes one object, or one version of it.
    pub(super) async fn delete_one(
        &self,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
    ) -> Result<(), Failure> {
        let operation = Operation::inside("DeleteObject", bucket, key);
        request::check_object(bucket, key).map_err(|kind| self.client.refusal(&operation, kind))?;
        let mut request = request::of_object(Method::DELETE, bucket, key);
        if let Some(id) = version_id {
            request.query.push("versionId", id);
        }
        self.client.whole(&operation, request, crate::service::ANSWER_BYTES_MAX).await?;
        Ok(())
    }

    /// Deletes all of these. A key that breaks a rule is refused before anything is deleted.
    pub(super) async fn delete_many(&self, bucket: &str, keys: &[&str]) -> Result<(), Failure> {
        let operation = Operation::on("DeleteObjects", bucket);
        let refuse = |kind: CloudError| self.client.refusal(&operation, kind);
        request::check_bucket(bucket).map_err(refuse)?;
        keys.iter().try_for_each(|key| request::check_object(bucket, key)).map_err(refuse)?;
        // What no document can hold goes by itself, in the address.
        let (in_batches, alone): (Vec<&str>, Vec<&str>) = keys.iter().partition(|key| xml::can_hold(key));
        let mut tasks = JoinSet::new();
        let mut left = Vec::new();
        let works = in_batches
            .chunks(BATCH_COUNT_MAX)
            .map(|keys| (true, keys))
            .chain(alone.chunks(1).map(|keys| (false, keys)));
        for (is_batch, keys) in works {
            if tasks.len() >= PARALLEL_BATCHES {
                self.note(&operation, tasks.join_next().await, &mut left)?;
            }
            let (store, bucket) = (self.clone(), bucket.to_string());
            let keys: Vec<String> = keys.iter().map(|key| key.to_string()).collect();
            tasks.spawn(async move {
                if is_batch {
                    return store.delete_batch(&bucket, &keys).await;
                }
                for key in &keys {
                    store.delete_one(&bucket, key, None).await?;
                }
                Ok(Vec::new())
            });
        }
        while let Some(joined) = tasks.join_next().await {
            self.note(&operation, Some(joined), &mut left)?;
        }
        if left.is_empty() { Ok(()) } else { Err(refuse(told(&left))) }
    }

    fn note(
        &self,
        operation: &Operation<'_>,
        joined: Option<Result<Result<Vec<Left>, Failure>, tokio::task::JoinError>>,
        left: &mut Vec<Left>,
    ) -> Result<(), Failure> {
        match joined {
            None => {}
            Some(Ok(outcome)) => left.extend(outcome?),
            Some(Err(error)) => {
                let kind = CloudError::Internal(format!("a batch was not sent: {error}"));
                return Err(self.client.refusal(operation, kind));
            }
        }
        Ok(())
    }

    async fn delete_batch(&self, bucket: &str, keys: &[String]) -> Result<Vec<Left>, Failure> {
        let operation = Operation::on("DeleteObjects", bucket);
        let mut request = request::of_bucket(Method::POST, bucket);
        request.query.push("delete", "");
        request::set_document(&mut request, request::delete_document(keys.iter().map(String::as_str)))
            .map_err(|kind| self.client.refusal(&operation, kind))?;
        let root = self.document(&operation, request).await?;
        let left = read::delete_errors(&root).into_iter();
        Ok(left.map(|[key, code, message]| Left { key, code, message }).collect())
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
const PARALLEL_BATCHES: usize = 4;
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
        assert!(
            message.starts_with("12 of the keys are not deleted: \"k0\": AccessDenied: no; \"k1\""),
            "{message}"
        );
        assert!(message.contains("\"k9\"") && !message.contains("\"k10\""), "{message}");
    }
}
