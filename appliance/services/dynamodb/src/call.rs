//! One request on its way through the service: who asks, in which form the answer goes out, and what the configuration
//! says.
//! Invariant: a table that is handed out exists, is the one that the request names, and belongs to the caller.
//! Leaves to ops: what the operation does.

use std::rc::Rc;
use std::sync::Arc;

use aws::account::Account;
use plan::{Plan, Reply};
use store::Timestamp;

use crate::Config;
use crate::router::Operation;
use crate::wire::error::Error;
use crate::wire::reply::Form;

/// One request.
pub struct Call {
    /// The service's configuration.
    pub config: Rc<Config>,
    /// Who asks.
    pub account: Arc<Account>,
    /// When the request began.
    pub now: Timestamp,
    /// What is asked.
    pub operation: &'static Operation,
    /// The host that the request was sent to, with its port.
    pub authority: Option<String>,
    /// In which form the answer goes out.
    pub form: Form,
}

/// A call that a plan's closures share.
pub type Shared = Rc<Call>;

impl Call {
    /// The twelve digits of the caller's account, which its tables belong to.
    #[must_use]
    pub fn account_id(&self) -> &str {
        self.account.id.as_str()
    }

    /// Answers with a document.
    #[must_use]
    pub fn document(&self, body: Vec<u8>) -> Plan {
        Plan::Reply(self.form.document(body))
    }

    /// Answers without a body.
    #[must_use]
    pub fn nothing(&self) -> Plan {
        Plan::Reply(self.form.nothing())
    }

    /// The reply for an error.
    #[must_use]
    pub fn fail(&self, error: &Error) -> Reply {
        self.form.error(error)
    }
}

/// Turns the outcome of a closure into a plan.
pub fn settle(call: &Shared, outcome: Result<Plan, Error>) -> Plan {
    match outcome {
        Ok(plan) => plan,
        Err(error) => Plan::Reply(call.fail(&error)),
    }
}
