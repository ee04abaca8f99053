//! Facts of the policy language, and a second evaluator to compare with.

mod conditions;
mod decisions;
mod documents;
mod matching;
mod random;
mod reference;

use super::*;
use crate::account::Account;

const ONE: &str = "111111111111";
const TWO: &str = "222222222222";
const QUEUE: &str = "arn:aws:sqs:us-east-1:111111111111:q";
const SEND: Action = Action("sqs:SendMessage");

/// The rules of a queue's policy, but with room.
const RULES: Rules = Rules {
    kind: PolicyType::Resource,
    service: Some("sqs"),
    bytes_max: 65_536,
    statement_count_max: 100,
    action_count_max: 100,
};
const IDENTITY: Rules = Rules { kind: PolicyType::Identity, service: None, ..RULES };
const TRUST: Rules = Rules { kind: PolicyType::Trust, service: Some("sts"), ..RULES };

fn account(id: &str) -> Account {
    Account::new(AccountId::parse(id).unwrap(), id)
}

fn queue() -> Resource<'static> {
    Resource { arn: QUEUE, owner: AccountId::parse(ONE) }
}

/// A policy of one or more statements, given as JSON.
fn policy(statements: &str) -> Policy {
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
    Policy::parse(&text, &RULES).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn identity_policy(statements: &str) -> Policy {
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
    Policy::parse(&text, &IDENTITY).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A generator of numbers that a seed repeats (splitmix64).
struct Random(u64);

impl Random {
    /// Prints how to repeat the run if the test fails.
    fn new(test: &str) -> Random {
        let given = std::env::var("AWS_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let clock =
            || std::time::UNIX_EPOCH.elapsed().map_or(1, |age| u64::from(age.subsec_nanos()) | 1 << 40);
        let seed = given.unwrap_or_else(clock);
        println!("AWS_TEST_SEED={seed} cargo test -p zerocloud-aws {test}");
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
