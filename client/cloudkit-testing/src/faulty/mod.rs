//! Services that fail as they are told: [`Faulty`] wraps one and implements its trait.
//!
//! Invariant: what it does follows from the plan, its seed and the order of calls alone, and each thing it did is in its log,
//! so that a test can be held to it.

mod calls;
mod plan;

pub use plan::{Fault, FaultPlan, Happened, When};

use cloudkit_core::api::Message;
use cloudkit_core::common::CloudError;
use plan::Course;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A service that fails as its plan says, and else is the service inside. Its clones share the plan's course.
///
/// Methods that consist of others (`list_stream`, `receive_stream`, `publish_json`) meet the faults of those.
#[derive(Debug)]
pub struct Faulty<T> {
    inner: Arc<T>,
    course: Arc<Mutex<Course>>,
    again: Arc<Mutex<BTreeMap<String, VecDeque<Message>>>>,
}

impl<T> Clone for Faulty<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), course: self.course.clone(), again: self.again.clone() }
    }
}

impl<T> Faulty<T> {
    /// The service with the faults of the plan.
    pub fn new(inner: T, plan: FaultPlan) -> Self {
        let course = Arc::new(Mutex::new(Course::new(plan)));
        Self { inner: Arc::new(inner), course, again: Arc::default() }
    }

    /// The service inside.
    pub fn inner(&self) -> &T {
        &self.inner
    }

    /// What it did so far, in order.
    pub fn log(&self) -> Vec<Happened> {
        locked(&self.course).log.clone()
    }

    /// How many calls were made so far.
    pub fn calls(&self) -> u64 {
        locked(&self.course).calls()
    }

    /// From now on there are no faults.
    pub fn heal(&self) {
        locked(&self.course).heal();
    }

    /// One call, with the faults that the plan has for it.
    async fn around<R, E: From<CloudError>>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<R, E>>,
    ) -> Result<R, E> {
        let (fault, number) = {
            let mut course = locked(&self.course);
            (course.next(operation), course.calls())
        };
        match fault {
            None | Some(Fault::Truncated(_) | Fault::Duplicate) => call.await,
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                call.await
            }
            Some(Fault::ReplyLost) => {
                // Only a reply that says yes is lost: of a refusal nothing has taken effect.
                call.await?;
                locked(&self.course).happened(number, operation, Fault::ReplyLost);
                Err(fault_error(&Fault::ReplyLost, operation).into())
            }
            Some(fault) => Err(fault_error(&fault, operation).into()),
        }
    }

    /// The cut of a body that this call must suffer, asked for after the call's other faults.
    fn cut(&self, operation: &'static str) -> Option<usize> {
        match locked(&self.course).taken(operation)? {
            Fault::Truncated(bytes) => Some(bytes),
            _ => None,
        }
    }
}

fn fault_error(fault: &Fault, operation: &'static str) -> CloudError {
    plan::error(fault, operation)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can panic half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
