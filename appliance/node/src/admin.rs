//! `/-/`: health and metrics.
//! Invariant: anyone learns whether the node lives and is ready; reasons and figures only loopback, the root key, or a token with
//! `metrics:read`.

use aws::sigv4::Identity;
use http::RequestHead;
use http_types::{HeaderValue, Method, StatusCode, header};
use plan::Reply;
use store::Timestamp;
use tokens::{Denied, Scope};

use crate::core::Core;
use crate::door::Seat;
use crate::drive::Host;
use crate::entry::identify;
use crate::metrics::cache::Kept;
use crate::metrics::{self, Text};
use crate::route::{METRICS_ALIAS, ServiceId};
use crate::status::Phase;

/// Answers a request below `/-/`.
pub fn answer(core: &Core, head: &RequestHead) -> Reply {
    if head.method != Method::GET && head.method != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n")
            .with(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    match head.path.as_str() {
        "/-/live" if core.status.is_live() => plain(StatusCode::OK, "live\n"),
        "/-/live" => plain(StatusCode::SERVICE_UNAVAILABLE, "stuck\n"),
        "/-/ready" => ready(core, head),
        "/-/metrics" | METRICS_ALIAS => match look(core, head) {
            Look::Allowed => render(core),
            Look::Refused => plain(
                StatusCode::FORBIDDEN,
                "from loopback, with a token of metrics:read over TLS, or signed with the root key\n",
            ),
            Look::Unknown => plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "the token cannot be judged now: the shard that holds it is recovering or refused; without one from loopback, \
                 or signed with the root key\n",
            ),
        },
        _ => plain(StatusCode::NOT_FOUND, "known here: /-/live /-/ready /-/metrics /-/admin/v1/tokens\n"),
    }
    .with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

fn ready(core: &Core, head: &RequestHead) -> Reply {
    let shards = shards(core);
    let status = if core.status.is_ready(&shards) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if matches!(look(core, head), Look::Allowed) {
        return Reply::bytes(status, "application/json", format!("{}\n", core.status.describe(&shards)));
    }
    plain(status, if status == StatusCode::OK { "ready\n" } else { "not ready\n" })
}

fn shards(core: &Core) -> Vec<store::ShardStatus> {
    core.store_if_started().map_or_else(Vec::new, store::Store::status)
}

fn render(core: &Core) -> Reply {
    let shards = shards(core);
    let mut text = Text::new();
    text.head("zerocloud_build_info", "The version that runs.", "gauge");
    let labels = format!("version=\"{}\",backend=\"{}\"", env!("CARGO_PKG_VERSION"), core.status.backend);
    text.line("zerocloud_build_info", &labels, 1);
    text.head("zerocloud_ready", "1 when requests are answered, reads and writes.", "gauge");
    text.line("zerocloud_ready", "", u8::from(core.status.is_ready(&shards)));
    text.head("zerocloud_uptime_seconds", "Seconds since the process began.", "gauge");
    text.line("zerocloud_uptime_seconds", "", core.status.uptime_ms() as f64 / 1e3);
    let name = "zerocloud_clock_steps_total";
    text.head(
        name,
        "Times that the machine's clock was set by more than a minute, forward or back.",
        "counter",
    );
    text.line(name, "", core.store_if_started().map_or(0, store::Store::clock_steps));
    core.status.surroundings.render(&mut text);
    metrics::render(&core.status.cores, &mut text);
    metrics::render_shards(&shards, &mut text);
    metrics::cache::render(
        &core.status.cores,
        &Kept::of(core.shared(), Timestamp::from_system_clock()),
        &mut text,
    );
    metrics::render_dropped(&core.shared().dropped.counts(), &mut text);
    Reply::bytes(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text.finish())
}

/// Whether somebody sees reasons and figures.
enum Look {
    Allowed,
    Refused,
    /// A token that may open them is shown, but what it is cannot be looked up.
    Unknown,
}

/// Loopback, unless a proxy in front speaks for somebody else; a request signed with the root key; or a token that may.
fn look(core: &Core, head: &RequestHead) -> Look {
    const FORWARDED: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];
    let forwarded = FORWARDED.iter().any(|name| head.headers.contains_key(*name));
    if head.peer.ip().to_canonical().is_loopback() && !forwarded {
        return Look::Allowed;
    }
    // No service has keys of its own; S3's scope is the one that such a request is signed for.
    let door = core.door(ServiceId::S3);
    let identity = identify(core, door, head, None);
    if matches!(identity, Ok((Identity::Key(key), _)) if core.is_root_key(&key.access_key)) {
        return Look::Allowed;
    }
    let tokens = &core.shared().tokens;
    if !tokens.shows_stored(head) {
        return Look::Refused;
    }
    // Tokens are not known before the shards are.
    if core.store_if_started().is_none() || core.status.phase() == Phase::Recovering {
        return Look::Unknown;
    }
    let seat = Seat { core, door: core.door(ServiceId::Cache), client: None };
    match seat.with_context(|cx| tokens.judge_stored(cx, head)) {
        Ok(principal) if principal.may_everywhere(Scope::MetricsRead) => Look::Allowed,
        Err(Denied::Fault(_)) => Look::Unknown,
        Ok(_) | Err(_) => Look::Refused,
    }
}

fn plain(status: StatusCode, text: &'static str) -> Reply {
    Reply::bytes(status, "text/plain; charset=utf-8", text)
}
