//! Who may do what: root, users, sessions, services and strangers, at home and abroad.

use super::*;

const EXPLICIT: Decision = Decision::Deny(DenyReason::Explicit(Origin::Resource));

fn ask(principal: &Principal<'_>, policy: Option<&Policy>) -> Decision {
    decide(principal, SEND, &queue(), &Context { resource_policy: policy, ..Context::default() })
}

fn allow(principal: &str) -> Policy {
    policy(&format!(
        r#"{{"Effect":"Allow","Principal":{principal},"Action":"sqs:SendMessage","Resource":"{QUEUE}"}}"#
    ))
}

fn deny(principal: &str) -> Policy {
    let allow = r#"{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}"#;
    policy(&format!(r#"{allow},{{"Effect":"Deny","Principal":{principal},"Action":"sqs:*","Resource":"*"}}"#))
}

fn user(account: &Account) -> Identity<'_> {
    Identity {
        account,
        kind: IdentityKind::User,
        arn: if account.id.as_str() == ONE { USER } else { "arn:aws:iam::222222222222:user/u" },
        behind: None,
        unique_id: "AIDAUSER",
        user_name: Some("u"),
        policies: &[],
        boundary: None,
        session: None,
        keys: &NoKeys,
    }
}

fn session(account: &Account) -> Identity<'_> {
    Identity {
        kind: IdentityKind::AssumedRole,
        arn: SESSION,
        behind: Some(ROLE),
        unique_id: "AROAROLE:s",
        user_name: None,
        ..user(account)
    }
}

const USER: &str = "arn:aws:iam::111111111111:user/u";
const ROLE: &str = "arn:aws:iam::111111111111:role/r";
const SESSION: &str = "arn:aws:sts::111111111111:assumed-role/r/s";
const ALL: &str = r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#;

#[test]
fn an_account_may_do_everything_at_home_and_nothing_abroad() {
    let (one, two) = (account(ONE), account(TWO));
    let at = |who: &Account, owner: Option<&Account>| {
        let resource = Resource { arn: "arn:aws:s3:::b/k", owner: owner.map(|account| account.id) };
        decide(&Principal::Account(who), Action("s3:GetObject"), &resource, &Context::default())
    };
    assert_eq!(at(&one, Some(&one)), Decision::Allow);
    assert_eq!(at(&one, Some(&two)), Decision::Deny(DenyReason::OtherAccount));
    assert_eq!(at(&one, None), Decision::Allow);
}

#[test]
fn an_anonymous_caller_gets_only_what_a_list_or_a_policy_opens() {
    let ask_with = |acl_grants: bool, policy: Option<Policy>| {
        let context = Context { acl_grants, resource_policy: policy.as_ref(), ..Context::default() };
        decide(&Principal::Anonymous, SEND, &queue(), &context)
    };
    assert_eq!(ask_with(false, None), Decision::Deny(DenyReason::Anonymous));
    assert_eq!(ask_with(true, None), Decision::Allow);
    assert_eq!(ask_with(false, Some(allow(r#""*""#))), Decision::Allow);
    assert_eq!(ask_with(false, Some(allow(r#"{"AWS":"*"}"#))), Decision::Allow);
    assert_eq!(
        ask_with(false, Some(allow(r#"{"AWS":"111111111111"}"#))),
        Decision::Deny(DenyReason::Anonymous)
    );
    assert_eq!(ask_with(true, Some(deny(r#""*""#))), EXPLICIT);
}

#[test]
fn a_resource_policy_opens_to_other_accounts_what_it_names() {
    let (one, two) = (account(ONE), account(TWO));
    let root = Principal::Account(&two);
    for principal in [
        r#""*""#.to_owned(),
        format!(r#"{{"AWS":"{TWO}"}}"#),
        format!(r#"{{"AWS":"arn:aws:iam::{TWO}:root"}}"#),
        format!(r#"{{"CanonicalUser":"{}"}}"#, two.canonical_id),
    ] {
        assert_eq!(ask(&root, Some(&allow(&principal))), Decision::Allow, "{principal}");
    }
    for principal in [format!(r#"{{"AWS":"{ONE}"}}"#), format!(r#"{{"AWS":"arn:aws:iam::{TWO}:user/u"}}"#)] {
        assert_eq!(
            ask(&root, Some(&allow(&principal))),
            Decision::Deny(DenyReason::OtherAccount),
            "{principal}"
        );
    }
    let opened = allow(&format!(r#"{{"AWS":"{TWO}"}}"#));
    let context = Context { resource_policy: Some(&opened), ..Context::default() };
    let receive = decide(&root, Action("sqs:ReceiveMessage"), &queue(), &context);
    assert_eq!(receive, Decision::Deny(DenyReason::OtherAccount), "only what is named");
    let other = Resource { arn: "arn:aws:sqs:us-east-1:111111111111:p", owner: Some(one.id) };
    assert_eq!(decide(&root, SEND, &other, &context), Decision::Deny(DenyReason::OtherAccount));
}

#[test]
fn root_is_bound_by_a_deny_but_can_mend_the_policy_at_home() {
    let (one, two) = (account(ONE), account(TWO));
    let locked = deny(r#""*""#);
    let context = Context { resource_policy: Some(&locked), repairs_policy: true, ..Context::default() };
    let set = Action("sqs:SetQueueAttributes");
    assert_eq!(ask(&Principal::Account(&one), Some(&locked)), EXPLICIT);
    assert_eq!(decide(&Principal::Account(&one), set, &queue(), &context), Decision::Allow);
    assert_eq!(decide(&Principal::Account(&two), set, &queue(), &context), EXPLICIT, "not its to mend");
    assert_eq!(decide(&Principal::Anonymous, set, &queue(), &context), EXPLICIT);
    let all = identity_policy(ALL);
    let identity = Identity { policies: &[&all], ..user(&one) };
    assert_eq!(
        decide(&Principal::Identity(&identity), set, &queue(), &context),
        EXPLICIT,
        "a user is no root"
    );
}

#[test]
fn a_user_of_the_account_needs_its_policy_or_a_direct_allow() {
    let one = account(ONE);
    let who = user(&one);
    let principal = Principal::Identity(&who);
    let no = Decision::Deny(DenyReason::NoIdentityPolicy);
    assert_eq!(ask(&principal, None), no);
    assert_eq!(
        ask(&principal, Some(&allow(&format!(r#"{{"AWS":"{ONE}"}}"#)))),
        no,
        "the account only delegates"
    );
    assert_eq!(ask(&principal, Some(&allow(&format!(r#"{{"AWS":"{USER}"}}"#)))), Decision::Allow);
    assert_eq!(ask(&principal, Some(&allow(r#"{"AWS":"AIDAUSER"}"#))), Decision::Allow);
    assert_eq!(ask(&principal, Some(&allow(r#"{"AWS":"*"}"#))), Decision::Allow);
    let all = identity_policy(ALL);
    let able = Identity { policies: &[&all], ..who };
    assert_eq!(ask(&Principal::Identity(&able), None), Decision::Allow);
    assert_eq!(ask(&Principal::Identity(&able), Some(&deny(&format!(r#"{{"AWS":"{ONE}"}}"#)))), EXPLICIT);
    assert_eq!(ask(&Principal::Identity(&able), Some(&deny(&format!(r#"{{"AWS":"{USER}"}}"#)))), EXPLICIT);
    assert_eq!(ask(&Principal::Identity(&able), Some(&deny(r#"{"AWS":"222222222222"}"#))), Decision::Allow);
}

#[test]
fn boundary_and_session_policies_cap_all_but_a_direct_allow() {
    let one = account(ONE);
    let all = identity_policy(ALL);
    let little = identity_policy(r#"{"Effect":"Allow","Action":"sqs:ReceiveMessage","Resource":"*"}"#);
    let bounded = Identity { policies: &[&all], boundary: Some(&little), ..session(&one) };
    let scoped = Identity { policies: &[&all], session: Some(&[&little]), ..session(&one) };
    let (boundary, scope) = (DenyReason::NoBoundary, DenyReason::NoSessionPolicy);
    for (identity, reason) in [(&bounded, boundary), (&scoped, scope)] {
        let principal = Principal::Identity(identity);
        assert_eq!(ask(&principal, None), Decision::Deny(reason));
        let of_role = allow(&format!(r#"{{"AWS":"{ROLE}"}}"#));
        assert_eq!(ask(&principal, Some(&of_role)), Decision::Deny(reason), "the role's allow is capped");
        assert_eq!(ask(&principal, Some(&allow(&format!(r#"{{"AWS":"{SESSION}"}}"#)))), Decision::Allow);
    }
    let lent = Identity { policies: &[], session: Some(&[&little, &all]), ..session(&one) };
    let of_role = allow(&format!(r#"{{"AWS":"{ROLE}"}}"#));
    assert_eq!(
        ask(&Principal::Identity(&lent), Some(&of_role)),
        Decision::Allow,
        "it counts as one of the role's"
    );
    assert_eq!(ask(&Principal::Identity(&lent), Some(&allow(r#"{"AWS":"AROAROLE"}"#))), Decision::Allow);
    let of_account = allow(&format!(r#"{{"AWS":"{ONE}"}}"#));
    let refused = Decision::Deny(DenyReason::NoIdentityPolicy);
    assert_eq!(ask(&Principal::Identity(&lent), Some(&of_account)), refused);
}

#[test]
fn a_deny_of_any_policy_wins_and_is_named() {
    let one = account(ONE);
    let all = identity_policy(ALL);
    let no = identity_policy(r#"{"Effect":"Deny","Action":"sqs:Send*","Resource":"*"}"#);
    let open = allow(&format!(r#"{{"AWS":"{USER}"}}"#));
    for (identity, origin) in [
        (Identity { policies: &[&all, &no], ..user(&one) }, Origin::Identity),
        (Identity { policies: &[&all], boundary: Some(&no), ..user(&one) }, Origin::Boundary),
        (Identity { policies: &[&all], session: Some(&[&all, &no]), ..user(&one) }, Origin::Session),
    ] {
        let found = ask(&Principal::Identity(&identity), Some(&open));
        assert_eq!(found, Decision::Deny(DenyReason::Explicit(origin)));
    }
}

#[test]
fn another_accounts_user_needs_both_sides() {
    let two = account(TWO);
    let all = identity_policy(ALL);
    let (poor, able) = (user(&two), Identity { policies: &[&all], ..user(&two) });
    let open = allow(&format!(r#"{{"AWS":"{TWO}"}}"#));
    let direct = allow(&format!(r#"{{"AWS":"{}"}}"#, able.arn));
    for policy in [&open, &direct] {
        assert_eq!(ask(&Principal::Identity(&able), Some(policy)), Decision::Allow);
        let refused = Decision::Deny(DenyReason::NoIdentityPolicy);
        assert_eq!(ask(&Principal::Identity(&poor), Some(policy)), refused);
    }
    assert_eq!(ask(&Principal::Identity(&able), None), Decision::Deny(DenyReason::OtherAccount));
    let role = Identity { behind: Some(ROLE), kind: IdentityKind::AssumedRole, policies: &[], ..user(&two) };
    let of_role = allow(&format!(r#"{{"AWS":"{ROLE}"}}"#));
    let refused = Decision::Deny(DenyReason::NoIdentityPolicy);
    assert_eq!(ask(&Principal::Identity(&role), Some(&of_role)), refused, "lending ends at the border");
}

#[test]
fn not_principal_spares_only_who_is_named_with_his_account_and_role() {
    let (one, two) = (account(ONE), account(TWO));
    let all = identity_policy(ALL);
    let but = |names: &str| {
        policy(&format!(r#"{{"Effect":"Deny","NotPrincipal":{names},"Action":"*","Resource":"*"}}"#))
    };
    let root = Principal::Account(&one);
    assert_eq!(ask(&root, Some(&but(&format!(r#"{{"AWS":"{ONE}"}}"#)))), Decision::Allow);
    assert_eq!(ask(&root, Some(&but(&format!(r#"{{"AWS":"{TWO}"}}"#)))), EXPLICIT);
    assert_eq!(ask(&Principal::Account(&two), Some(&but(&format!(r#"{{"AWS":"{ONE}"}}"#)))), EXPLICIT);
    let session = Identity { policies: &[&all], ..session(&one) };
    let session = Principal::Identity(&session);
    for (names, expected) in [
        (format!(r#"["{ONE}","{ROLE}","{SESSION}"]"#), Decision::Allow),
        (format!(r#"["{ROLE}","{SESSION}"]"#), EXPLICIT),
        (format!(r#"["{ONE}","{SESSION}"]"#), EXPLICIT),
        (format!(r#"["{ONE}","{ROLE}"]"#), EXPLICIT),
        (r#""*""#.to_owned(), Decision::Allow),
    ] {
        assert_eq!(ask(&session, Some(&but(&format!(r#"{{"AWS":{names}}}"#)))), expected, "{names}");
    }
    assert_eq!(ask(&Principal::Anonymous, Some(&but(&format!(r#"{{"AWS":"{ONE}"}}"#)))), EXPLICIT);
    let open = policy(
        r#"{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},
           {"Effect":"Deny","NotPrincipal":{"Service":"sns.amazonaws.com"},"Action":"*","Resource":"*"}"#,
    );
    assert_eq!(ask(&Principal::Service("sns.amazonaws.com"), Some(&open)), Decision::Allow);
    assert_eq!(ask(&Principal::Service("s3.amazonaws.com"), Some(&open)), EXPLICIT);
}

#[test]
fn a_service_needs_the_resources_policy_with_the_source_that_it_acts_for() {
    let topic = "arn:aws:sns:us-east-1:222222222222:t";
    let from = |source_arn: &str, service: &str, policy: &Policy| {
        let now = crate::Timestamp(0);
        let keys = ServiceKeys { source_arn, source_account: TWO, now, region: "us-east-1" };
        let context = Context { resource_policy: Some(policy), keys: &keys, ..Context::default() };
        decide(&Principal::Service(service), SEND, &queue(), &context)
    };
    for principal in [r#"{"Service":"sns.amazonaws.com"}"#, r#""*""#, r#"{"AWS":"*"}"#] {
        let policy = policy(&format!(
            r#"{{"Effect":"Allow","Principal":{principal},"Action":"SQS:SendMessage","Resource":"{QUEUE}",
                "Condition":{{"ArnEquals":{{"aws:SourceArn":"{topic}"}},"StringEquals":{{"aws:SourceAccount":"{TWO}"}}}}}}"#
        ));
        assert_eq!(from(topic, "sns.amazonaws.com", &policy), Decision::Allow, "{principal}");
        let refused = Decision::Deny(DenyReason::Service);
        assert_eq!(from("arn:aws:sns:us-east-1:222222222222:u", "sns.amazonaws.com", &policy), refused);
        let is_open = principal.contains('*');
        assert_eq!(from(topic, "events.amazonaws.com", &policy).is_allowed(), is_open);
        assert_eq!(ask(&Principal::Anonymous, Some(&policy)), Decision::Deny(DenyReason::Anonymous));
    }
    assert_eq!(ask(&Principal::Service("sns.amazonaws.com"), None), Decision::Deny(DenyReason::Service));
}

#[test]
fn actions_match_without_case_and_the_not_forms_mean_the_rest() {
    let one = policy(
        r#"{"Effect":"Allow","Principal":"*","NotAction":"SQS:send*","NotResource":"arn:aws:sqs:*:*:secret*"}"#,
    );
    let ask = |action, arn| {
        let resource = Resource { arn, owner: AccountId::parse(ONE) };
        let context = Context { resource_policy: Some(&one), ..Context::default() };
        decide(&Principal::Anonymous, Action(action), &resource, &context).is_allowed()
    };
    assert!(ask("sqs:ReceiveMessage", QUEUE));
    assert!(!ask("sqs:SendMessage", QUEUE));
    assert!(!ask("sqs:ReceiveMessage", "arn:aws:sqs:us-east-1:111111111111:secret-q"));
    assert!(ask("sqs:ListQueues", "*"), "no resource is not one of those that are listed");
    let long = "sqs:ActionWithANameThatIsLongerThanTheSpaceThatIsThereForMostNamesOfActionsThatThereAre";
    assert!(ask(long, QUEUE));
}

#[test]
fn keys_that_follow_from_the_caller_cannot_be_claimed_by_a_request() {
    let one = account(ONE);
    let claims = Pairs(&[
        ("aws:PrincipalArn", "arn:aws:iam::222222222222:root"),
        ("aws:PrincipalAccount", TWO),
        ("aws:PrincipalType", "User"),
        ("aws:PrincipalIsAWSService", "true"),
        ("aws:PrincipalServiceName", "sns.amazonaws.com"),
        ("aws:username", "eve"),
        ("aws:userid", "eve"),
        ("aws:ResourceAccount", TWO),
        ("aws:PrincipalTag/team", "red"),
        ("aws:MultiFactorAuthPresent", "true"),
    ]);
    for (name, claimed) in claims.0 {
        let open = policy(&format!(
            r#"{{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{{"StringEquals":{{"{name}":"{claimed}"}}}}}}"#
        ));
        let context = Context { resource_policy: Some(&open), keys: &claims, ..Context::default() };
        let found = decide(&Principal::Account(&one), SEND, &queue(), &context);
        assert_eq!(found, Decision::Allow, "{name} is not taken from the request");
    }
    let tags = Pairs(&[("aws:PrincipalTag/team", "blue")]);
    let all = identity_policy(ALL);
    let tagged = Identity { keys: &tags, policies: &[&all], ..user(&one) };
    for (name, value) in [
        ("aws:principaltag/Team", "blue"),
        ("aws:PrincipalArn", USER),
        ("aws:PrincipalAccount", ONE),
        ("aws:PrincipalType", "User"),
        ("aws:PrincipalIsAWSService", "false"),
        ("aws:username", "u"),
        ("aws:userid", "AIDAUSER"),
        ("aws:ResourceAccount", ONE),
    ] {
        let closed = policy(&format!(
            r#"{{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{{"StringEquals":{{"{name}":"{value}"}}}}}}"#
        ));
        let context = Context { resource_policy: Some(&closed), keys: &claims, ..Context::default() };
        assert_eq!(decide(&Principal::Identity(&tagged), SEND, &queue(), &context), EXPLICIT, "{name}");
    }
}

#[test]
fn a_requests_keys_are_its_own_and_never_a_source() {
    let keys = RequestKeys {
        now: crate::Timestamp(1_769_860_800_000),
        source_ip: "::ffff:203.0.113.7".parse().ok(),
        is_secure: false,
        user_agent: Some("boto3"),
        referer: None,
        region: "us-east-1",
        service: &Pairs(&[("aws:SourceArn", "arn:aws:sns:::t"), ("sns:Protocol", "sqs")]),
    };
    let value = |key: &str| keys::single(&keys, key);
    assert_eq!(value("aws:sourceip").as_deref(), Some("203.0.113.7"));
    assert_eq!(value("aws:currenttime").as_deref(), Some("2026-01-31T12:00:00.000Z"));
    assert_eq!(value("aws:epochtime").as_deref(), Some("1769860800"));
    assert_eq!(value("aws:securetransport").as_deref(), Some("false"));
    assert_eq!(value("aws:useragent").as_deref(), Some("boto3"));
    assert_eq!(value("aws:referer"), None);
    assert_eq!(value("aws:requestedregion").as_deref(), Some("us-east-1"));
    assert_eq!(value("sns:protocol").as_deref(), Some("sqs"));
    assert_eq!(value("aws:sourcearn"), None);
}

#[test]
fn a_denial_names_caller_action_and_resource_but_tells_a_stranger_nothing() {
    let one = account(ONE);
    let root = Principal::Account(&one);
    let object = Resource { arn: "arn:aws:s3:::b/k", owner: None };
    let get = Action("s3:GetObject");
    assert_eq!(
        denial_text(&root, get, &object, DenyReason::OtherAccount),
        "User: arn:aws:iam::111111111111:root is not authorized to perform: s3:GetObject on resource: \
         arn:aws:s3:::b/k because no resource-based policy allows the s3:GetObject action"
    );
    assert_eq!(denial_text(&Principal::Anonymous, get, &object, DenyReason::Anonymous), "Access Denied");
    assert_eq!(
        denial_text(&root, SEND, &queue(), DenyReason::Explicit(Origin::Resource)),
        "User: arn:aws:iam::111111111111:root is not authorized to perform: sqs:sendmessage on resource: \
         arn:aws:sqs:us-east-1:111111111111:q with an explicit deny in a resource-based policy"
    );
    let topic = Resource { arn: "arn:aws:sns:us-east-1:111111111111:t", owner: None };
    let identity = user(&one);
    assert_eq!(
        denial_text(
            &Principal::Identity(&identity),
            Action("sns:Publish"),
            &topic,
            DenyReason::NoIdentityPolicy
        ),
        "User: arn:aws:iam::111111111111:user/u is not authorized to perform: SNS:Publish on resource: \
         arn:aws:sns:us-east-1:111111111111:t because no identity-based policy allows the SNS:Publish action"
    );
}
