//! Which of many blobs are missing; those that are there are leased.
//! Invariant: a turn looks at no more than [`DIGESTS_PER_TURN`] of them.

use std::rc::Rc;

use ::store::Fault;
use plan::{Context, Plan};

use crate::Cas;
use crate::digest::Digest;
use crate::find::{Found, cold_shards, warm_each};
use crate::namespace::Namespace;

/// Digests of one question at most.
pub const DIGEST_COUNT_MAX: usize = 10_000;
/// Digests that are looked at before others get their turn.
const DIGESTS_PER_TURN: usize = 256;

/// A question under way.
struct Missing<F> {
    ns: Namespace,
    digests: Rc<[Digest]>,
    answers: Vec<bool>,
    /// Digests whose index pages were brought into memory.
    warmed_count: usize,
    then: F,
}

impl Cas {
    /// For each of at most [`DIGEST_COUNT_MAX`] digests whether the namespace lacks it, in their order. Errors: the store cannot be
    /// read, `Fault::TooLarge` for more digests.
    pub fn missing<F>(&self, cx: &mut Context<'_>, ns: &Namespace, digests: Vec<Digest>, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<Vec<bool>, Fault>) -> Plan + 'static,
    {
        if digests.len() > DIGEST_COUNT_MAX {
            return then(cx, Err(Fault::TooLarge { bytes: size_of_val(&digests[..]) as u64 }));
        }
        let answers = Vec::with_capacity(digests.len());
        self.go_on_missing(cx, Missing { ns: *ns, digests: digests.into(), answers, warmed_count: 0, then })
    }

    fn go_on_missing<F>(&self, cx: &mut Context<'_>, mut question: Missing<F>) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<Vec<bool>, Fault>) -> Plan + 'static,
    {
        let digests = Rc::clone(&question.digests);
        let end = digests.len().min(question.answers.len() + DIGESTS_PER_TURN);
        if question.warmed_count < end {
            question.warmed_count = end;
            let slice = &digests[question.answers.len()..end];
            let cold = cold_shards(cx.store, &question.ns, slice.iter());
            if !cold.is_empty() {
                let cas = self.clone();
                return warm_each(cold, move |cx| cas.go_on_missing(cx, question));
            }
        }
        for digest in digests.iter().skip(question.answers.len()).take(DIGESTS_PER_TURN) {
            match self.look_at_length(cx.store, cx.now, &question.ns, digest) {
                Ok(Found::There(_)) => question.answers.push(false),
                Ok(Found::Absent) => question.answers.push(true),
                Ok(Found::Condemned) => {
                    let (cas, ns, digest) = (self.clone(), question.ns, *digest);
                    return self.find(cx, &ns, digest, move |cx, found| match found {
                        Ok(found) => {
                            question.answers.push(found.is_none());
                            cas.go_on_missing(cx, question)
                        }
                        Err(fault) => (question.then)(cx, Err(fault)),
                    });
                }
                Err(fault) => return (question.then)(cx, Err(fault)),
            }
        }
        if question.answers.len() == digests.len() {
            return (question.then)(cx, Ok(question.answers));
        }
        let cas = self.clone();
        Plan::Pause(Box::new(move |cx, ()| cas.go_on_missing(cx, question)))
    }
}
