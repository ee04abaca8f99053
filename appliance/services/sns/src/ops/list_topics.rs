//! ListTopics: the caller's topics, shard after shard.

use std::ops::Bound;

use aws::query::Parameters;
use plan::{Context, Plan};
use store::{Direction, ShardId};

use crate::call::Shared;
use crate::model::arn::TopicArn;
use crate::model::limits::PAGE_COUNT;
use crate::store::TOPICS;
use crate::store::topic::{names_of, topic_key};
use crate::wire::error::Error;
use crate::wire::request::{page_start, page_token};

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, parameters: &Parameters<'_>) -> Result<Plan, Error> {
    let from = page_start(parameters.root())?;
    call.authorize_own()?;
    let account = call.account_id()?;
    let (first, mut after) = from.map_or((ShardId(0), None), |(shard, key)| (ShardId(shard), Some(key)));
    let mut names: Vec<String> = Vec::new();
    let mut next = None;
    'shards: for shard in cx.store.shards().filter(|shard| *shard >= first) {
        let view = cx.store.view(shard)?;
        let start = after.take().unwrap_or_else(|| topic_key(account, ""));
        let mut scan = view.scan(TOPICS, Bound::Excluded(&start), Direction::Forward);
        while let Some((key, _)) = scan.next()? {
            let (owner, name) = names_of(key)?;
            // A token that somebody made up may begin in front of the caller's own.
            if owner < account {
                continue;
            }
            if owner != account {
                break;
            }
            names.push(name.to_owned());
            if names.len() == PAGE_COUNT {
                next = Some(page_token(shard.0, key));
                break 'shards;
            }
        }
    }
    let region = &call.config.region;
    Ok(call.reply(names.len() * ENTRY_BYTES, |out| {
        out.open("Topics");
        for name in &names {
            out.open("member");
            out.text("TopicArn", &TopicArn { region, account, name }.to_string());
            out.close("member");
        }
        out.close("Topics");
        out.text_if("NextToken", next.as_deref());
    }))
}

/// Room for one name with what stands around it.
const ENTRY_BYTES: usize = 128;
