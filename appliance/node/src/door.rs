//! A service and what stands in front of it on one core: who may enter, what is read before it is asked, how its replies
//! are named.
//! Invariant: a service is entered with the verifier of its own name, so a signature for one opens no other.
//! Leaves to services.rs: which services there are.

use std::cell::RefCell;
use std::rc::Rc;

use aws::account::KeyRing;
use aws::sigv4::{Dialect, Identity, SignedRequest, Verifier};
use plan::{Context, Service};
use store::Store;

use crate::core::Core;
use crate::drive::{Host, kept::Kept, lanes::Lanes};

/// One service of one core.
pub struct Door {
    /// The service's name in metrics and the access log.
    pub name: &'static str,
    /// The service.
    pub service: Box<dyn Service>,
    /// When its bodies are read.
    pub body: BodyPolicy,
    /// What its replies are called by.
    pub ids: IdForm,
    /// Who checks credentials.
    pub guard: Guard,
    verifier: RefCell<Verifier>,
}

/// When the body of a request is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyPolicy {
    /// While the service's plan asks for it; the head promises what it will be.
    Streamed,
    /// Before the service is asked, since the signature covers it and no header tells its digest.
    CollectFirst {
        /// A longer one is 413.
        limit_bytes: usize,
        /// The same for senders that sign nothing, whom a policy of the service may let in. None: they are refused here.
        anonymous_bytes: Option<usize>,
    },
}

/// Which headers name a request in its reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IdForm {
    /// `x-amz-request-id` and `x-amz-id-2`.
    S3,
    /// `x-amzn-RequestId`.
    Json,
    /// `x-amzn-RequestId`, a UUID.
    Uuid,
    /// `x-request-id`, a UUID.
    Plain,
}

/// Who says that a request's credential is right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guard {
    /// The node: every credential is a signature.
    Signatures,
    /// The service, by tokens. The node checks a signature where the request has one in its `Authorization`.
    Tokens,
}

impl Door {
    /// A door for a service that expects signatures of `dialect`.
    pub fn new(
        name: &'static str,
        service: Box<dyn Service>,
        body: BodyPolicy,
        ids: IdForm,
        dialect: Dialect,
    ) -> Door {
        let guard = Guard::Signatures;
        Door { name, service, body, ids, guard, verifier: RefCell::new(Verifier::new(dialect)) }
    }

    /// The same with a service that judges tokens.
    pub fn guarded_by_tokens(self) -> Door {
        Door { guard: Guard::Tokens, ..self }
    }

    /// Says who sent a request.
    pub fn authenticate(
        &self,
        request: &SignedRequest<'_>,
        accounts: &KeyRing,
        now: aws::Timestamp,
    ) -> Result<Identity, aws::ErrorReply> {
        self.verifier.borrow_mut().authenticate(request, accounts, now)
    }

    /// Judges a head before its body is read, see `Verifier::precheck`.
    pub fn precheck(
        &self,
        request: &SignedRequest<'_>,
        accounts: &KeyRing,
        now: aws::Timestamp,
    ) -> Result<bool, aws::ErrorReply> {
        self.verifier.borrow().precheck(request, accounts, now)
    }
}

/// Where the plans of one service are driven.
#[derive(Clone, Copy)]
pub struct Seat<'a> {
    /// The core.
    pub core: &'a Core,
    /// The service's door.
    pub door: &'a Door,
    /// Who waits for the answer; nobody behind work that nobody asked for.
    pub client: Option<&'a http::Responder>,
}

impl Host for Seat<'_> {
    fn store(&self) -> &Store {
        self.core.store_if_started().expect("plans are driven only once the core has its store")
    }

    fn lanes(&self) -> &Lanes {
        self.core.lanes()
    }

    fn kept(&self) -> &Kept {
        &self.core.kept
    }

    async fn client_gone(&self) {
        match self.client {
            Some(client) => client.client_gone().await,
            None => std::future::pending().await,
        }
    }

    fn with_context<R>(&self, run: impl FnOnce(&mut Context<'_>) -> R) -> R {
        let accounts: Rc<KeyRing> = self.core.accounts();
        let mut verifier = self.door.verifier.borrow_mut();
        let mut random = || self.core.random();
        run(&mut Context {
            store: Host::store(self),
            now: store::Timestamp::from_system_clock(),
            random: &mut random,
            accounts: &*accounts,
            verifier: &mut verifier,
        })
    }
}
