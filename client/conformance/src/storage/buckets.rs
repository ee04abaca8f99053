//! Buckets as such.

use super::bucket;
use crate::case::{Shown, refused};
use crate::subject::Subject;
use cloudkit_core::api::{ListOptions, ObjectStorage, PutOptions};

pub(super) async fn a_bucket_is_there_from_its_making_to_its_deletion<
    S: ObjectStorage + ?Sized,
    U: Subject,
>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = subject.fresh("bucket");
    let listed = async || -> Result<bool, crate::case::Wrong> {
        Ok(service.list_buckets().await?.iter().any(|bucket| bucket.name == name))
    };
    same!("before", (service.bucket_exists(&name).await?, listed().await?), (false, false));
    service.create_bucket(&name).await?;
    same!("between", (service.bucket_exists(&name).await?, listed().await?), (true, true));
    service.delete_bucket(&name).await?;
    same!("after", (service.bucket_exists(&name).await?, listed().await?), (false, false));
    refused("deleted again", service.delete_bucket(&name).await, "NotFound Bucket")
}

pub(super) async fn making_ones_own_bucket_again_leaves_it_as_it_is<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    service.put_object(&name, "key", b"body").await?;
    service.create_bucket(&name).await?;
    same!("the object", service.get_object(&name, "key").await?, "body");
    Ok(())
}

pub(super) async fn a_bucket_with_objects_is_not_deleted<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    service.put_object(&name, "key", b"").await?;
    refused("a full bucket", service.delete_bucket(&name).await, "Conflict")?;
    same!("the object", service.object_exists(&name, "key").await?, true);
    service.delete_object(&name, "key").await?;
    Ok(service.delete_bucket(&name).await?)
}

pub(super) async fn names_that_no_bucket_may_have_are_refused<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    _: &U,
) -> Shown {
    let long = "b".repeat(64);
    for name in ["ab", "Upper", "under_score", "-edge", "edge-", "two..dots", "192.168.5.4", "xn--a", &long] {
        refused(name, service.create_bucket(name).await, "Validation")?;
    }
    Ok(())
}

pub(super) async fn whatever_is_asked_of_a_missing_bucket_is_not_found<
    S: ObjectStorage + ?Sized,
    U: Subject,
>(
    service: &S,
    subject: &U,
) -> Shown {
    let none = subject.fresh("none");
    let some = bucket(service, subject).await?;
    service.put_object(&some, "key", b"x").await?;
    let wanted = "NotFound Bucket";
    refused("delete_bucket", service.delete_bucket(&none).await, wanted)?;
    refused("put_object", service.put_object(&none, "k", b"").await, wanted)?;
    let put = service.put_object_with_options(&none, "k", b"", PutOptions::new()).await;
    refused("put_object_with_options", put, wanted)?;
    refused("get_object", service.get_object(&none, "k").await, wanted)?;
    refused("delete_object", service.delete_object(&none, "k").await, wanted)?;
    refused("delete_objects", service.delete_objects(&none, &["k"]).await, wanted)?;
    refused("list_objects", service.list_objects(&none, ListOptions::new()).await, wanted)?;
    refused("copy_object from it", service.copy_object(&none, "k", &some, "k").await, wanted)?;
    refused("copy_object to it", service.copy_object(&some, "key", &none, "k").await, wanted)?;
    // A HEAD's answer has no body to tell what is missing.
    holds!("head_object", service.head_object(&none, "k").await.is_err_and(|error| error.is_not_found()));
    same!("object_exists", service.object_exists(&none, "k").await?, false);
    Ok(())
}
