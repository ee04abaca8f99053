//! Random policies and requests: the evaluator beside the second one, in decision and in reason.

use super::reference::{Case, Statement, Who, decide as second, json};
use super::*;

const CASE_COUNT: usize = 100_000;
/// Requests that are put to the same policies, since reading them takes longest.
const REQUEST_COUNT: usize = 10;

const ACTIONS: [&str; 7] =
    ["*", "sqs:*", "SQS:SendMessage", "sqs:Send*", "sqs:*Message", "sqs:ReceiveMessage", "sqs:?e*Message"];
const RESOURCES: [&str; 10] = [
    "*",
    "arn:aws:sqs:us-east-1:111111111111:q",
    "arn:aws:sqs:*:*:*",
    "arn:aws:sqs:us-east-1:222222222222:*",
    "arn:aws:sqs:*:1*:?",
    "arn:aws:sqs:us-east-1:111111111111:${t:name}",
    "arn:aws:sqs:us-east-1:111111111111:${t:name, 'q'}*",
    "arn:aws:sqs:us-east-1:${t:part}:q",
    "arn:aws:sqs:us-east-1:111111111111:q*${t:none}",
    "arn:aws:s3:::*",
];
const ARNS: [&str; 5] = [
    "arn:aws:sqs:us-east-1:111111111111:q",
    "arn:aws:sqs:us-east-1:111111111111:qq",
    "arn:aws:sqs:us-east-1:222222222222:q",
    "arn:aws:s3:::b/q",
    "*",
];
const NAMES: [(&str, &str); 10] = [
    ("AWS", "*"),
    ("AWS", ONE),
    ("AWS", TWO),
    ("AWS", "arn:aws:iam::111111111111:root"),
    ("AWS", "arn:aws:iam::111111111111:user/u"),
    ("AWS", "arn:aws:iam::222222222222:user/u"),
    ("AWS", "arn:aws:iam::111111111111:role/r"),
    ("AWS", "arn:aws:sts::111111111111:assumed-role/r/s"),
    ("Service", "sns.amazonaws.com"),
    ("Service", "s3.amazonaws.com"),
];
const BASES: [(&str, &[&str]); 26] = {
    const TEXT: &[&str] = &["a", "ab", "A", "${t:name}", "${t:none}", "a*", "${t:none, 'a'}", "${*}"];
    const NUMBERS: &[&str] = &["1", "2", "10", "-1", "1.5"];
    const DATES: &[&str] = &["1970-01-02", "86400", "1970-01-03T00:00:00Z", "172801"];
    const SOURCES: &[&str] =
        &["*", "arn:aws:sns:*:*:t", "arn:aws:sns:::${t:name}", "arn:aws:sns:::${t:none}"];
    const NETWORKS: &[&str] = &["10.0.0.0/8", "10.0.0.1", "10.0.0.0/31", "0.0.0.0/0"];
    [
        ("StringEquals", TEXT),
        ("StringNotEquals", TEXT),
        ("StringEqualsIgnoreCase", TEXT),
        ("StringNotEqualsIgnoreCase", TEXT),
        ("StringLike", TEXT),
        ("StringNotLike", TEXT),
        ("NumericEquals", NUMBERS),
        ("NumericNotEquals", NUMBERS),
        ("NumericLessThan", NUMBERS),
        ("NumericLessThanEquals", NUMBERS),
        ("NumericGreaterThan", NUMBERS),
        ("NumericGreaterThanEquals", NUMBERS),
        ("DateEquals", DATES),
        ("DateNotEquals", DATES),
        ("DateLessThan", DATES),
        ("DateLessThanEquals", DATES),
        ("DateGreaterThan", DATES),
        ("DateGreaterThanEquals", DATES),
        ("Bool", &["true", "false"]),
        ("BinaryEquals", &["Zg==", "Zw=="]),
        ("IpAddress", NETWORKS),
        ("NotIpAddress", NETWORKS),
        ("ArnEquals", SOURCES),
        ("ArnLike", SOURCES),
        ("ArnNotEquals", SOURCES),
        ("ArnNotLike", SOURCES),
    ]
};
/// What a request may say: every type, and what is of none.
const VALUES: [&str; 18] = [
    "a",
    "ab",
    "A",
    "a*",
    "*",
    "q",
    "1",
    "2",
    "10",
    "1.5",
    "86400",
    "1970-01-02T00:00:00Z",
    "true",
    "false",
    "Zg==",
    "10.0.0.1",
    "10.0.0.2",
    "arn:aws:sns:::t",
];

fn statement(random: &mut Random, with_principal: bool) -> Statement {
    let some = |random: &mut Random, from: &[&str]| {
        (0..1 + random.below(2)).map(|_| random.pick(from).to_owned()).collect::<Vec<String>>()
    };
    let allow = random.chance(70);
    let principals = with_principal.then(|| {
        let count = 1 + random.below(4);
        let names =
            (0..count).map(|_| random.pick(&NAMES)).map(|(family, name)| (family, name.to_owned())).collect();
        (!allow && random.chance(40), names)
    });
    let mut conditions: Vec<(String, String, Vec<String>)> = Vec::new();
    for _ in 0..random.below(3) {
        let (operator, values) = if random.chance(8) {
            ("Null".to_owned(), some(random, &["true", "false"]))
        } else {
            let (base, values) = random.pick(&BASES);
            let prefix = random.pick(&["", "", "", "ForAllValues:", "ForAnyValue:"]);
            let suffix = random.pick(&["", "", "IfExists"]);
            (format!("{prefix}{base}{suffix}"), some(random, values))
        };
        if !conditions.iter().any(|(known, ..)| *known == operator) {
            conditions.push((operator, random.pick(&["t:a", "T:B", "t:c"]).to_owned(), values));
        }
    }
    let wide = random.chance(50);
    Statement {
        allow,
        principals,
        actions: (random.chance(15), if wide { vec!["*".to_owned()] } else { some(random, &ACTIONS) }),
        resources: (random.chance(15), some(random, &RESOURCES)),
        conditions,
    }
}

fn statements(random: &mut Random, with_principal: bool) -> Vec<Statement> {
    (0..1 + random.below(3)).map(|_| statement(random, with_principal)).collect()
}

fn who(random: &mut Random) -> Who {
    let identity = |account: &str, arn: &str, behind: Option<&str>| {
        Who::Identity(account.to_owned(), arn.to_owned(), behind.map(str::to_owned))
    };
    match random.below(8) {
        0 => Who::Nobody,
        1 => Who::Root(ONE.to_owned()),
        2 => Who::Root(TWO.to_owned()),
        3 => Who::Service("sns.amazonaws.com".to_owned()),
        4 => identity(ONE, "arn:aws:iam::111111111111:user/u", None),
        5 => identity(TWO, "arn:aws:iam::222222222222:user/u", None),
        _ => identity(
            ONE,
            "arn:aws:sts::111111111111:assumed-role/r/s",
            Some("arn:aws:iam::111111111111:role/r"),
        ),
    }
}

fn case(random: &mut Random) -> Case {
    let request = request(random);
    Case {
        of_resource: random.chance(80).then(|| statements(random, true)),
        own: (0..random.below(3)).map(|_| statements(random, false)).collect(),
        boundary: random.chance(30).then(|| statements(random, false)),
        session: random
            .chance(30)
            .then(|| (0..1 + random.below(2)).map(|_| statements(random, false)).collect()),
        ..request
    }
}

/// A request without policies.
fn request(random: &mut Random) -> Case {
    let mut keys = Vec::new();
    for key in ["t:a", "t:b", "t:c"] {
        for _ in 0..random.pick(&[0, 1, 1, 1, 2]) {
            keys.push((key.to_owned(), random.pick(&VALUES).to_owned()));
        }
    }
    if random.chance(70) {
        keys.push(("t:name".to_owned(), random.pick(&["q", "a", "*", "t", "q:q"]).to_owned()));
    }
    if random.chance(70) {
        keys.push(("t:part".to_owned(), random.pick(&[ONE, "*", "111111111111:q"]).to_owned()));
    }
    Case {
        who: who(random),
        action: random.pick(&["sqs:SendMessage", "sqs:ReceiveMessage", "sqs:PurgeQueue"]).to_owned(),
        resource: random.pick(&ARNS).to_owned(),
        owner: random.pick(&[Some(ONE), Some(ONE), Some(TWO), None]).map(str::to_owned),
        mends: random.chance(20),
        keys,
        of_resource: None,
        own: Vec::new(),
        boundary: None,
        session: None,
    }
}

/// The policies of a case, compiled.
struct Compiled {
    of_resource: Option<Policy>,
    own: Vec<Policy>,
    boundary: Option<Policy>,
    session: Option<Vec<Policy>>,
}

fn compiled(case: &Case) -> Compiled {
    let parse = |statements: &Vec<Statement>, rules: &Rules| {
        let text = json(statements);
        Policy::parse(&text, rules).unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    let all =
        |policies: &Vec<Vec<Statement>>| policies.iter().map(|policy| parse(policy, &IDENTITY)).collect();
    Compiled {
        of_resource: case.of_resource.as_ref().map(|policy| parse(policy, &Rules { service: None, ..RULES })),
        own: all(&case.own),
        boundary: case.boundary.as_ref().map(|policy| parse(policy, &IDENTITY)),
        session: case.session.as_ref().map(all),
    }
}

fn first(case: &Case, policies: &Compiled) -> &'static str {
    let Compiled { of_resource, boundary, .. } = policies;
    let own: Vec<&Policy> = policies.own.iter().collect();
    let session: Option<Vec<&Policy>> = policies.session.as_ref().map(|policies| policies.iter().collect());
    let account_of = |who: &Who| match who {
        Who::Root(id) | Who::Identity(id, ..) => account(id),
        Who::Nobody | Who::Service(_) => account(ONE),
    };
    let account = account_of(&case.who);
    let identity = |arn, behind: &'_ Option<String>| Identity {
        account: &account,
        kind: if behind.is_some() { IdentityKind::AssumedRole } else { IdentityKind::User },
        arn,
        behind: None,
        unique_id: "AIDAX",
        user_name: None,
        policies: &own,
        boundary: boundary.as_ref(),
        session: session.as_deref(),
        keys: &NoKeys,
    };
    let caller;
    let principal = match &case.who {
        Who::Nobody => Principal::Anonymous,
        Who::Root(_) => Principal::Account(&account),
        Who::Service(name) => Principal::Service(name),
        Who::Identity(_, arn, behind) => {
            caller = Identity { behind: behind.as_deref(), ..identity(arn, behind) };
            Principal::Identity(&caller)
        }
    };
    let pairs: Vec<(&str, &str)> = case.keys.iter().map(|(key, value)| (&**key, &**value)).collect();
    let context = Context {
        acl_grants: false,
        resource_policy: of_resource.as_ref(),
        repairs_policy: case.mends,
        keys: &Pairs(&pairs),
    };
    let action = ["sqs:SendMessage", "sqs:ReceiveMessage", "sqs:PurgeQueue"];
    let action = Action(action.into_iter().find(|action| **action == case.action).unwrap());
    let owner = case.owner.as_deref().and_then(AccountId::parse);
    match decide(&principal, action, &Resource { arn: &case.resource, owner }, &context) {
        Decision::Allow => "allow",
        Decision::Deny(reason) => match reason {
            DenyReason::Anonymous => "anonymous",
            DenyReason::Service => "service",
            DenyReason::OtherAccount => "other account",
            DenyReason::NoIdentityPolicy => "identity",
            DenyReason::NoBoundary => "boundary",
            DenyReason::NoSessionPolicy => "session",
            DenyReason::Explicit(Origin::Identity) => "identity deny",
            DenyReason::Explicit(Origin::Resource) => "resource deny",
            DenyReason::Explicit(Origin::Boundary) => "boundary deny",
            DenyReason::Explicit(Origin::Session) => "session deny",
        },
    }
}

#[test]
fn random_policies_decide_as_the_second_evaluator_says() {
    let mut random = Random::new("random_policies");
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for number in 0..CASE_COUNT / REQUEST_COUNT {
        let mut case = case(&mut random);
        let policies = compiled(&case);
        for _ in 0..REQUEST_COUNT {
            let (found, expected) = (first(&case, &policies), second(&case));
            assert_eq!(found, expected, "policies {number}: {case:#?}");
            *counts.entry(found).or_default() += 1;
            let next = request(&mut random);
            case = Case {
                who: next.who,
                action: next.action,
                resource: next.resource,
                owner: next.owner,
                mends: next.mends,
                keys: next.keys,
                ..case
            };
        }
    }
    println!("{CASE_COUNT} cases: {counts:?}");
    // A generator that never allows, or never reaches a reason, shows nothing.
    assert_eq!(counts.len(), 11, "each outcome comes up");
    assert!(counts["allow"] > CASE_COUNT / 20);
}
