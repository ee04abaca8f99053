//! TagResource, UntagResource, ListTagsForResource: the tags of a topic, which its record holds.

use std::collections::BTreeSet;

use aws::query::{Node, Parameters};
use plan::{Context, Plan};
use store::Tx;

use crate::call::{Shared, settle};
use crate::engine::on_topic::{on_topic, put_topic};
use crate::model::arn::TopicArn;
use crate::model::topic::{Tags, Topic};
use crate::wire::error::{Code, Error};
use crate::wire::request::{required, tags, within_tag_limit};

/// Begins TagResource.
pub fn tag(call: Shared, cx: &mut Context<'_>, parameters: &Parameters<'_>) -> Result<Plan, Error> {
    let root = parameters.root();
    let more = tags(root)?;
    if more.is_empty() {
        return Err(Error::missing("Tags"));
    }
    rewrite(call, cx, root, move |tags| {
        tags.extend(more.clone());
        within_tag_limit(tags)
    })
}

/// Begins UntagResource.
pub fn untag(call: Shared, cx: &mut Context<'_>, parameters: &Parameters<'_>) -> Result<Plan, Error> {
    let root = parameters.root();
    let keys: BTreeSet<Box<str>> =
        root.members("TagKeys").into_iter().filter_map(Node::value).map(Into::into).collect();
    rewrite(call, cx, root, move |tags| {
        tags.retain(|key, _| !keys.contains(key));
        Ok(())
    })
}

/// Begins ListTagsForResource.
pub fn list(call: Shared, cx: &mut Context<'_>, parameters: &Parameters<'_>) -> Result<Plan, Error> {
    let topic = call.topic(cx, resource(parameters.root())?).map_err(in_words_of_tags)?;
    Ok(call.reply(topic.tags.len() * TAG_BYTES, |out| {
        out.open("Tags");
        for (key, value) in &topic.tags {
            out.open("member");
            out.text("Key", key);
            out.text("Value", value);
            out.close("member");
        }
        out.close("Tags");
    }))
}

/// Room for a tag with what stands around it.
const TAG_BYTES: usize = 96;

/// Changes the tags of a topic. A change that changes nothing writes nothing.
fn rewrite<F>(call: Shared, cx: &mut Context<'_>, root: Node<'_>, edit: F) -> Result<Plan, Error>
where
    F: Fn(&mut Tags) -> Result<(), Error> + Send + 'static,
{
    let arn = resource(root)?;
    call.topic(cx, arn).map_err(in_words_of_tags)?;
    let work = move |tx: &mut Tx<'_>, found: Option<Topic>| {
        let Some(mut topic) = found else { return Ok(Err(absent())) };
        let mut tags = topic.tags.clone();
        if let Err(error) = edit(&mut tags) {
            return Ok(Err(error));
        }
        if tags != topic.tags {
            topic.tags = tags;
            put_topic(tx, &mut topic);
        }
        Ok(Ok(()))
    };
    let empty = crate::wire::reply::empty_result;
    Ok(on_topic(cx, arn, work, move |_, outcome| {
        let plan = outcome.map(|()| Plan::Reply(empty(call.operation.name, &call.request_id)));
        settle(&call, plan)
    }))
}

fn resource(root: Node<'_>) -> Result<TopicArn<'_>, Error> {
    TopicArn::parse(required(root, "ResourceArn")?).ok_or_else(|| Error::invalid("ResourceArn"))
}

fn in_words_of_tags(error: Error) -> Error {
    if error == Error::no_topic() { absent() } else { error }
}

fn absent() -> Error {
    Error::new(Code::ResourceNotFound, "Resource does not exist")
}
