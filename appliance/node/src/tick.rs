//! Work that nobody asked for: what expires, what is swept, on the shards that this core owns.
//! Invariant: one plan at a time for each service and shard, each in a task of its own, so that one that hangs or fails
//! holds up no other. None begins once the process drains.
//! Leaves to the services: what is due.

use std::rc::Rc;
use std::time::Duration;

use http_types::StatusCode;
use plan::MORE_IS_DUE;
use store::ShardId;

use crate::core::Core;
use crate::door::{Door, Seat};
use crate::drive::{self, Host, intake::Intake};
use crate::route::ServiceId;
use crate::status::Phase;

/// How often a service is asked what is due on a shard.
const PERIOD: Duration = Duration::from_secs(1);

/// Plans in a row at most: a service that always says "more" still rests once in a while.
const IN_A_ROW_MAX: u32 = 1_000;

/// The tasks of one core. Dropping them gives up what they are doing, which a service must bear as it bears a client
/// that leaves.
pub struct Ticks(#[expect(dead_code, reason = "held for their drop")] Vec<ring::Task<()>>);

/// Starts the tasks of a core that has its store.
pub fn start(core: &Rc<Core>) -> Ticks {
    start_every(core, &ServiceId::ALL, PERIOD)
}

fn start_every(core: &Rc<Core>, services: &[ServiceId], period: Duration) -> Ticks {
    let store = core.store_if_started().expect("called for cores that have started");
    let mut tasks = Vec::new();
    for shard in store.own_shards() {
        for id in services {
            tasks.push(ring::spawn(keep(core.clone(), *id, shard, period)));
        }
    }
    Ticks(tasks)
}

async fn keep(core: Rc<Core>, id: ServiceId, shard: ShardId, period: Duration) {
    let mut was_well = true;
    loop {
        ring::sleep(period).await;
        for _ in 0..IN_A_ROW_MAX {
            match core.status.phase() {
                Phase::Recovering => break,
                Phase::Serving => {}
                Phase::Draining => return,
            }
            let Some(status) = once(&core, core.door(id), shard).await else { break };
            let is_well = !status.is_server_error();
            report(&core, id, shard, status, was_well, is_well);
            was_well = is_well;
            if status != MORE_IS_DUE {
                break;
            }
            ring::yield_now().await;
        }
    }
}

/// Drives the plan that is due, if one is, to the status of its reply.
async fn once(core: &Core, door: &Door, shard: ShardId) -> Option<StatusCode> {
    let seat = Seat { core, door, client: None };
    let plan = seat.with_context(|cx| door.service.tick(cx, shard))?;
    Some(drive::drive(&seat, plan, &mut Intake::empty()).await.status)
}

/// Counts a plan; the log hears when a shard's work begins to fail and when it goes on.
fn report(core: &Core, id: ServiceId, shard: ShardId, status: StatusCode, was_well: bool, is_well: bool) {
    core.background.plans.add(1);
    if !is_well {
        core.background.failures.add(1);
    }
    let name = core.door(id).name;
    match (was_well, is_well) {
        (true, false) => core.log.warn(
            "background work fails and is tried again",
            &[("service", &name), ("shard", &shard.0), ("status", &status.as_u16())],
        ),
        (false, true) => {
            core.log.info("background work goes on", &[("service", &name), ("shard", &shard.0)]);
        }
        (true, true) | (false, false) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;

    use plan::{Context, Plan, Reply, Request, Service, Started};
    use store::disk::RealDisk;
    use store::{Opened, StoreConfig};

    use super::*;
    use crate::config::{Config, Layer};
    use crate::drive::testing::on_reactor;
    use crate::log::{Level, Log};
    use crate::scratch::Directory;
    use crate::services::Doors;
    use crate::status::Status;

    /// Shard 0 hangs, shard 1 has three pieces of work at once, shard 2 fails.
    #[derive(Clone, Default)]
    struct Uneven(Rc<RefCell<[u32; 3]>>);

    impl Service for Uneven {
        fn start(&self, _cx: &mut Context<'_>, _request: Request) -> Started {
            Started { operation: "None", plan: Plan::Reply(Reply::empty(StatusCode::OK)) }
        }

        fn refuse(&self, _request: &Request, _error: aws::ErrorReply) -> Reply {
            Reply::empty(StatusCode::BAD_REQUEST)
        }

        fn tick(&self, _cx: &mut Context<'_>, shard: ShardId) -> Option<Plan> {
            let mut calls = self.0.borrow_mut();
            let count = &mut calls[usize::from(shard.0)];
            *count += 1;
            let reply = |status| Some(Plan::Reply(Reply::empty(status)));
            match (shard.0, *count) {
                (0, _) => Some(Plan::wait(Duration::from_secs(3_600), |_| {
                    Plan::Reply(Reply::empty(StatusCode::OK))
                })),
                (1, ..3) => reply(MORE_IS_DUE),
                (1, 3) => reply(StatusCode::OK),
                (1, _) => None,
                _ => reply(StatusCode::INTERNAL_SERVER_ERROR),
            }
        }
    }

    fn core_with(service: Uneven) -> Rc<Core> {
        let config = Config::merge(Layer::default(), Layer::default(), None, false).expect("defaults");
        let doors = Doors::with_dynamodb(&config, Box::new(service));
        let status = Status::new(1, "epoll", vec![]);
        Core::new(0, Arc::new(config), status, Log::to_stderr(Level::Error, false), doors)
    }

    #[test]
    fn work_that_hangs_or_fails_holds_up_no_other_and_none_begins_in_a_drain() {
        let directory = Directory::new("tick");
        let mut settings = StoreConfig::new(directory.path().to_path_buf(), 3, Arc::new(RealDisk));
        settings.map_bytes_total = 1 << 30;
        settings.ballast_bytes = 1 << 20;
        settings.log_segment_bytes = 4 << 20;
        let opened = Opened::open(settings, true, 1).expect("opens");
        on_reactor(async {
            let store = opened.start_core(0, 1, 1).expect("starts");
            opened.finish_recovery(&store).await;
            let service = Uneven::default();
            let core = core_with(service.clone());
            core.start(store.clone());
            let ticks = start_every(&core, &[ServiceId::Dynamodb], Duration::from_millis(1));
            let until = async |enough: &dyn Fn() -> bool| {
                while !enough() {
                    ring::sleep(Duration::from_millis(1)).await;
                }
            };
            ring::sleep(Duration::from_millis(10)).await;
            assert_eq!(*service.0.borrow(), [0; 3], "nothing begins before all have recovered");
            core.status.advance(Phase::Serving);
            until(&|| service.0.borrow()[1] >= 5 && service.0.borrow()[2] >= 3).await;
            assert_eq!(service.0.borrow()[0], 1, "one plan at a time");
            until(&|| core.background.plans.get() >= 6).await;
            assert_eq!(core.background.plans.get() - core.background.failures.get(), 3);
            core.status.advance(Phase::Draining);
            drop(ticks);
            let seen = *service.0.borrow();
            keep(core.clone(), ServiceId::Dynamodb, ShardId(2), Duration::from_millis(1)).await;
            assert_eq!(*service.0.borrow(), seen);
            store.drain().await;
        });
        opened.close();
    }
}
