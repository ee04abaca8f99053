//! Web hooks: Subscribe sends the question, ConfirmSubscription takes the answer, by the link that stands in it or signed.
//! Invariant: a hook that has not answered gets nothing but the question.

use aws::query::Parameters;
use plan::{Context, Plan};
use store::Tx;

use crate::call::{Shared, settle};
use crate::engine::confirmation::{Asked, Letter, Question, answer, ask, question_text, subscribe_url};
use crate::engine::envelope::timestamp_text;
use crate::engine::fan_out::version_of;
use crate::engine::on_topic::on_topic;
use crate::engine::topics::compiled;
use crate::model::arn::{TopicArn, Uuid};
use crate::model::subscription::Subscription;
use crate::model::topic::Topic;
use crate::signing::{Confirmation, KeyError, Signer};
use crate::store::token::{Secret, parse_token, token_text};
use crate::store::topic::topic_key;
use crate::wire::error::Error;
use crate::wire::request::{required, topic_arn};

/// How often a question is written anew because the hook was subscribed under another id meanwhile.
const TRIES_MAX: u32 = 3;

/// Subscribes a web hook: the answer is `pending confirmation`, or the ARN if the request wants it.
pub fn subscribe(
    call: Shared,
    cx: &mut Context<'_>,
    topic: Topic,
    wanted: Subscription,
    given: bool,
    return_arn: bool,
) -> Plan {
    let wanted = Subscription { id: Uuid::random((cx.random)(), (cx.random)()), ..wanted };
    send(call, cx, topic, wanted, given, return_arn, TRIES_MAX)
}

fn send(
    call: Shared,
    cx: &mut Context<'_>,
    topic: Topic,
    wanted: Subscription,
    given: bool,
    return_arn: bool,
    tries: u32,
) -> Plan {
    let signing = call.core.signing.clone();
    signing.with(cx, move |cx, signer| {
        let signer = match signer {
            Ok(signer) => signer,
            Err(fault) => return settle(&call, Err(fault.into())),
        };
        let Ok(question) = question(&call, cx, &signer, &topic, wanted.clone(), given) else {
            return settle(&call, Err(Error::internal()));
        };
        let region = call.config.region.clone();
        let (account, name) = (topic.account.clone(), topic.name.clone());
        let arn = TopicArn { region: &region, account: &account, name: &name };
        let key = topic_key(arn.account, arn.name);
        let work = move |tx: &mut Tx<'_>, _: Option<Topic>| {
            let Some(compiled) = compiled(tx, &key)? else { return Ok(Err(Error::no_topic())) };
            ask(tx, &compiled, &question)
        };
        let text = arn.to_string();
        on_topic(cx, arn, work, move |cx, outcome| match outcome {
            Ok(Asked::Known(id)) if tries > 0 => {
                send(call, cx, topic, Subscription { id, ..wanted }, given, return_arn, tries - 1)
            }
            Ok(Asked::Known(_)) => settle(&call, Err(Error::internal())),
            Ok(Asked::Subscribed(subscription)) => {
                let name = if subscription.confirmed || return_arn {
                    format!("{text}:{}", subscription.id)
                } else {
                    "pending confirmation".to_owned()
                };
                call.reply(name.len(), |out| out.text("SubscriptionArn", &name))
            }
            Err(error) => settle(&call, Err(error)),
        })
    })
}

fn question(
    call: &Shared,
    cx: &mut Context<'_>,
    signer: &Signer,
    topic: &Topic,
    wanted: Subscription,
    given: bool,
) -> Result<Question, KeyError> {
    let mut secret: Secret = [0; 32];
    for word in secret.chunks_exact_mut(8) {
        word.copy_from_slice(&(cx.random)().to_be_bytes());
    }
    let message = Uuid::random((cx.random)(), (cx.random)());
    let topic_arn =
        TopicArn { region: &call.config.region, account: &topic.account, name: &topic.name }.to_string();
    let token = token_text(wanted.id, &secret);
    let (text, url) = (question_text(&topic_arn), subscribe_url(&call.base_url, &topic_arn, &token));
    let (id, timestamp) = (message.to_string(), timestamp_text(call.now));
    let version = version_of(topic);
    let signed = Confirmation {
        kind: "SubscriptionConfirmation",
        message: &text,
        message_id: &id,
        subscribe_url: &url,
        timestamp: &timestamp,
        token: &token,
        topic_arn: &topic_arn,
    };
    let signature = signer.sign(version, &signed.text())?;
    let letter = Letter {
        message,
        token: &token,
        topic_arn: &topic_arn,
        text: &text,
        subscribe_url: &url,
        timestamp: &timestamp,
        signature_version: version.name(),
        signature: &signature,
        certificate_url: &format!("{}{}", call.base_url, signer.certificate_path()),
    };
    Ok(Question { wanted, given, secret, message, body: letter.body() })
}

/// Begins ConfirmSubscription.
pub fn start(call: Shared, cx: &mut Context<'_>, parameters: &Parameters<'_>) -> Result<Plan, Error> {
    let root = parameters.root();
    let arn = topic_arn(root)?;
    let token = parse_token(required(root, "Token")?).ok_or_else(|| Error::invalid("Token"))?;
    // Only who signed can ask that others sign.
    let authenticated = call.caller.is_some();
    let authenticate = authenticated
        && root.text("AuthenticateOnUnsubscribe").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    // Whoever has the token may answer; the topic's policy is about who asks.
    call.find_topic(cx, arn)?.ok_or_else(Error::no_topic)?;
    let key = topic_key(arn.account, arn.name);
    let work = move |tx: &mut Tx<'_>, _: Option<Topic>| {
        let Some(compiled) = compiled(tx, &key)? else { return Ok(Err(Error::no_topic())) };
        answer(tx, &compiled, token, authenticated, authenticate)
    };
    let name = format!("{arn}:{}", token.0);
    Ok(on_topic(cx, arn, work, move |_, outcome| {
        let plan = outcome.map(|()| call.reply(name.len(), |out| out.text("SubscriptionArn", &name)));
        settle(&call, plan)
    }))
}
