//! Subscribe: a queue is subscribed at once; a web hook is asked first.
//! Invariant: one place has one subscription of a topic; asking again gives the old one.

use aws::policy::Pairs;
use aws::query::Parameters;
use plan::{Context, Plan};
use store::Tx;

use super::confirm_subscription;
use crate::call::{Shared, settle};
use crate::engine::on_topic::on_topic;
use crate::engine::subscriptions::add;
use crate::engine::topics::compiled;
use crate::hooks::Endpoint;
use crate::model::arn::{QueueArn, Uuid};
use crate::model::limits::ENDPOINT_BYTES_MAX;
use crate::model::subscription::{Protocol, Settings, Subscription};
use crate::model::topic::Topic;
use crate::store::topic::topic_key;
use crate::wire::attributes::{among_attributes, subscription_attributes};
use crate::wire::error::Error;
use crate::wire::request::{pairs, required, topic_arn};

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, parameters: &Parameters<'_>) -> Result<Plan, Error> {
    let root = parameters.root();
    let arn = topic_arn(root)?;
    let protocol = protocol(required(root, "Protocol")?)?;
    let endpoint = required(root, "Endpoint")?;
    let asked = [("sns:Protocol", protocol.name()), ("sns:Endpoint", endpoint)];
    let topic = call.topic_with(cx, arn, &Pairs(&asked))?;
    let is_fifo = check_endpoint(&topic, &call.config.region, protocol, endpoint)?;
    let pairs = pairs(root, "Attributes")?;
    let settings = subscription_attributes(&Settings::default(), &pairs, &topic, is_fifo)
        .map_err(|why| among_attributes(&why))?;
    let is_given = !pairs.is_empty();
    let wanted = Subscription {
        id: Uuid::default(),
        topic: topic.number,
        owner: call.account_id()?.into(),
        protocol,
        endpoint: endpoint.into(),
        created: call.now,
        confirmed: protocol == Protocol::Sqs,
        authenticated: protocol == Protocol::Sqs,
        authenticate_on_unsubscribe: false,
        settings,
    };
    if protocol != Protocol::Sqs {
        let return_arn =
            root.text("ReturnSubscriptionArn").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        return Ok(confirm_subscription::subscribe(call, cx, topic, wanted, is_given, return_arn));
    }
    let key = topic_key(arn.account, arn.name);
    let text = arn.to_string();
    let work = move |tx: &mut Tx<'_>, _: Option<Topic>| {
        let Some(compiled) = compiled(tx, &key)? else { return Ok(Err(Error::no_topic())) };
        let id = Uuid::random(tx.random(), tx.random());
        let wanted = Subscription { id, ..wanted.clone() };
        Ok(add(tx, &compiled, &wanted, is_given)?.map(|subscription| subscription.id))
    };
    Ok(on_topic(cx, arn, work, move |_, outcome| {
        let plan = outcome.map(|id| {
            let name = format!("{text}:{id}");
            call.reply(name.len(), |out| out.text("SubscriptionArn", &name))
        });
        settle(&call, plan)
    }))
}

/// The protocols that are built. What is of SNS but not built is refused in words of its own.
fn protocol(name: &str) -> Result<Protocol, Error> {
    match Protocol::parse(name) {
        Some(protocol) => Ok(protocol),
        None if name == "lambda" => {
            Err(Error::invalid("Protocol Reason: there are no functions to subscribe"))
        }
        None if NOT_BUILT.contains(&name) => {
            Err(Error::invalid(&format!("Protocol Reason: {name} is not supported")))
        }
        None => Err(Error::invalid("Protocol Reason: Amazon SNS does not support this protocol string")),
    }
}

const NOT_BUILT: &[&str] = &["application", "email", "email-json", "firehose", "sms"];

/// Checks that an endpoint can be subscribed; gives whether it is a queue that keeps order.
fn check_endpoint(topic: &Topic, region: &str, protocol: Protocol, endpoint: &str) -> Result<bool, Error> {
    if protocol != Protocol::Sqs {
        if topic.is_fifo() {
            return Err(Error::invalid("Protocol Reason: topics that keep order deliver to SQS queues only"));
        }
        return match Endpoint::parse(endpoint, protocol) {
            Some(_) => Ok(false),
            None => Err(Error::invalid("Endpoint must match the specified protocol")),
        };
    }
    let queue = QueueArn::parse(endpoint)
        .filter(|queue| queue.region == region && endpoint.len() <= ENDPOINT_BYTES_MAX);
    let queue = queue.ok_or_else(|| Error::invalid("SQS endpoint ARN"))?;
    if queue.is_fifo() && !topic.is_fifo() {
        return Err(Error::invalid(
            "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics",
        ));
    }
    Ok(queue.is_fifo())
}
