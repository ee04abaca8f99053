//! CreateTopic: makes a topic, or gives the one that is there if nothing that is asked differs from it.
//! Invariant: of racing requests for one name exactly one makes the topic; a topic that is made anew has no subscriptions,
//! since it has a number that none of the stored ones names.

use std::collections::BTreeMap;

use aws::query::Parameters;
use plan::{Context, Plan};
use store::Timestamp;

use crate::call::{Shared, settle};
use crate::engine::on_topic::{on_topic, put_topic};
use crate::model::arn::{FIFO_SUFFIX, TopicArn, is_topic_name};
use crate::model::topic::{Counts, Setting, Tags, Topic};
use crate::wire::attributes::{among_attributes, is_object, topic_attribute};
use crate::wire::error::Error;
use crate::wire::request::{pairs, required, tags};

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, parameters: &Parameters<'_>) -> Result<Plan, Error> {
    let root = parameters.root();
    let name = required(root, "Name")?;
    if !is_topic_name(name) {
        return Err(Error::invalid("Topic Name"));
    }
    let wish = wish(name, &pairs(root, "Attributes")?, tags(root)?, root.text("DataProtectionPolicy"))?;
    let account = call.account_id()?.to_owned();
    let region = call.config.region.clone();
    let arn = TopicArn { region: &region, account: &account, name };
    call.authorize(arn)?;
    let (text, now) = (arn.to_string(), call.now);
    let (owner, own_name): (Box<str>, Box<str>) = (account.as_str().into(), name.into());
    let work = move |tx: &mut store::Tx<'_>, found: Option<Topic>| {
        if let Some(found) = found {
            return Ok(wish.agrees_with(&found));
        }
        let mut topic = wish.topic(tx.random(), owner.clone(), own_name.clone(), now);
        put_topic(tx, &mut topic);
        Ok(Ok(()))
    };
    Ok(on_topic(cx, arn, work, move |_, outcome| {
        let plan = outcome.map(|()| call.reply(text.len(), |out| out.text("TopicArn", &text)));
        settle(&call, plan)
    }))
}

/// What a request says about the topic that it wants.
struct Wish {
    settings: BTreeMap<Setting, Option<Box<str>>>,
    tags: Tags,
    data_protection: Option<Box<str>>,
}

fn wish(
    name: &str,
    attributes: &[(&str, &str)],
    tags: Tags,
    protection: Option<&str>,
) -> Result<Wish, Error> {
    let fifo = name.ends_with(FIFO_SUFFIX);
    let mut settings = BTreeMap::new();
    for (key, value) in attributes {
        let (setting, value) = topic_attribute(key, value, fifo).map_err(|why| among_attributes(&why))?;
        settings.insert(setting, value);
    }
    // The suffix alone does not make a topic keep order: both have to be said.
    if fifo && settings.get(&Setting::FifoTopic).is_none_or(|value| value.as_deref() != Some("true")) {
        return Err(Error::invalid("Topic Name"));
    }
    if protection
        .is_some_and(|policy| policy.len() > crate::model::limits::POLICY_BYTES_MAX || !is_object(policy))
    {
        return Err(Error::invalid("DataProtectionPolicy"));
    }
    Ok(Wish { settings, tags, data_protection: protection.map(Into::into) })
}

impl Wish {
    fn agrees_with(&self, topic: &Topic) -> Result<(), Error> {
        // What was not asked for may be as it is.
        if self.settings.iter().any(|(setting, value)| topic.setting(*setting) != value.as_deref()) {
            return Err(Error::invalid("Attributes Reason: Topic already exists with different attributes"));
        }
        if !self.tags.is_empty() && self.tags != topic.tags {
            return Err(Error::invalid("Tags Reason: Topic already exists with different tags"));
        }
        Ok(())
    }

    fn topic(&self, number: u64, account: Box<str>, name: Box<str>, created: Timestamp) -> Topic {
        let set = self.settings.iter().filter_map(|(setting, value)| Some((*setting, value.clone()?)));
        Topic {
            number,
            generation: 0,
            account,
            name,
            created,
            settings: set.collect(),
            tags: self.tags.clone(),
            data_protection: self.data_protection.clone(),
            counts: Counts::default(),
        }
    }
}
