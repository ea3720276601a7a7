//! A hub with its endpoints and nothing else: the test is the store that answers their questions.

use std::collections::VecDeque;
use std::time::Duration;

use angarium_entity::clock::ManualClock;
use angarium_entity::endpoint::Ordering;
use angarium_entity::sealer::Sealer;
use angarium_entity::{SubscriptionId, WorkspaceId, endpoint_health};
use tokio::sync::mpsc;

use super::super::JobMemory;
use super::*;
use crate::cluster::Ownership;
use crate::machine::breaker::Patience;
use crate::machine::endpoint::{Hold, Rules};
use crate::settings::Settings;
use crate::store::pager::Ask;
use crate::transport::plan::Plan;
use crate::{AddressGuard, Metrics, Tracer};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const HOUR: Duration = Duration::from_hours(1);
/// An idle endpoint is forgotten by then.
const LONG: Duration = Duration::from_secs(80);
const SHARDS: i32 = 16;
const PATIENCE: Patience = Patience { suspend_after: Duration::from_hours(120), suspended: false, gone: false };
const RULES: Rules =
    Rules { ordering: Ordering::Fifo, max_in_flight: 1, rate_limit: None, hold: Hold::No, patience: PATIENCE };

struct World {
    hub: Addr<Hub>,
    clock: ManualClock,
    asks: mpsc::UnboundedReceiver<Ask>,
    workspace: WorkspaceId,
    subscription: SubscriptionId,
    /// What the rows say of the health of an endpoint.
    health_of: fn(endpoint_health::Model) -> endpoint_health::Model,
}

impl World {
    fn new(in_flight_max: usize) -> Self {
        let clock = ManualClock::at(NOW);
        let shared_clock = Arc::new(clock.clone());
        let runtime = tokio::runtime::Handle::current();
        let plan = Plan::new(AddressGuard::new(vec![]), &[], None, 1, shared_clock.clone(), runtime).expect("a plan");
        let (asks, asked) = mpsc::unbounded_channel();
        let (reports, _) = mpsc::unbounded_channel();
        let setup = Setup {
            plan,
            clock: shared_clock,
            sealer: Sealer::new(&[1; 32]),
            in_flight_max,
            awake_max: 100,
            shard_count: SHARDS,
            asks,
            reports,
            memory: JobMemory::default(),
            ownership: Ownership::of_all(SHARDS),
            has_schedule: false,
            metrics: Metrics::register(&prometheus::Registry::new()).expect("metrics"),
            tracer: Tracer::off(),
        };
        let hub = Hub::create(|ctx| Hub::new(ctx, &setup, Arc::default(), 16));
        let (workspace, subscription) = (WorkspaceId::new(NOW), SubscriptionId::new(NOW));
        Self { hub, clock, asks: asked, workspace, subscription, health_of: |health| health }
    }

    async fn tell<M>(&self, message: M) -> M::Result
    where
        M: Message + Send + 'static,
        M::Result: Send,
        Hub: Handler<M>,
    {
        self.hub.send(message).await.expect("the hub lives")
    }

    async fn kick(&self, endpoint: EndpointId) {
        self.tell(Kick { endpoints: vec![endpoint], only_idle: false }).await;
    }

    /// Answers once everything that can happen now has happened.
    async fn observe(&self) -> HubReport {
        for _ in 0..20 {
            self.tell(Observe).await;
            tokio::task::yield_now().await;
        }
        self.tell(Observe).await
    }

    async fn advance(&self, by: Duration) -> HubReport {
        self.clock.advance(by);
        self.observe().await
    }

    /// What was asked of the store.
    async fn asked(&mut self) -> Vec<Ask> {
        self.observe().await;
        std::iter::from_fn(|| self.asks.try_recv().ok()).collect()
    }

    fn health(&self, endpoint: EndpointId) -> endpoint_health::Model {
        (self.health_of)(endpoint_health::Model::unknown(endpoint, self.workspace))
    }

    fn settings(&self, endpoint: EndpointId, rules: Rules) -> Settings {
        Settings::of_forbidden(self.health(endpoint), rules, self.subscription)
    }

    /// Answers every question until there is none: with these rules, and that nothing waits in the rows.
    async fn answer(&mut self, rules: Rules) {
        let mut asked = VecDeque::from(self.asked().await);
        while let Some(ask) = asked.pop_front() {
            match ask {
                Ask::Settings(endpoint) => {
                    let settings = Some(Arc::new(self.settings(endpoint, rules)));
                    self.tell(SettingsRead { endpoint, settings }).await;
                }
                Ask::Page { endpoint, .. } => {
                    self.tell(PageRead { endpoint, jobs: Vec::new(), full: false, next_due: None }).await;
                }
            }
            asked.extend(self.asked().await);
        }
    }

    async fn end(self) {
        self.tell(Stop).await;
    }
}

#[test]
fn an_endpoint_that_is_held_is_looked_at_once_when_that_ends_however_often_it_was_woken_and_forgotten() {
    System::new().block_on(async {
        let mut world = World::new(1);
        let endpoint = EndpointId::new(NOW);
        let held = |hours| Rules { hold: Hold::Until(NOW + HOUR * hours), ..RULES };
        for _ in 0..5 {
            world.kick(endpoint).await;
            world.answer(held(3)).await;
            assert_eq!(world.observe().await.wakes, 1);
            assert_eq!(world.advance(LONG).await.endpoints, 0, "it is forgotten");
        }
        world.kick(endpoint).await;
        world.answer(held(1)).await;
        assert_eq!(world.advance(LONG).await.endpoints, 0);
        assert_eq!((world.advance(Duration::from_mins(51)).await.endpoints, world.asked().await.len()), (0, 0));
        assert_eq!(world.advance(LONG).await.endpoints, 1, "the earliest counts");
        // It finds that it is held for longer.
        world.answer(held(3)).await;
        assert_eq!(world.advance(LONG).await.endpoints, 0);
        let report = world.advance(HOUR * 2).await;
        assert_eq!((report.endpoints, report.wakes), (1, 0), "the end of the hold");
        world.end().await;
    });
}

#[test]
fn an_endpoint_that_waits_for_its_settings_is_not_forgotten() {
    System::new().block_on(async {
        let mut world = World::new(1);
        let endpoint = EndpointId::new(NOW);
        world.health_of = |health| endpoint_health::Model { probe_at: Some(NOW + HOUR), ..health };
        world.kick(endpoint).await;
        world.answer(RULES).await;
        world.tell(Reload(endpoint)).await;
        assert_eq!(world.advance(LONG).await.endpoints, 1);
        world.answer(RULES).await;
        assert_eq!(world.advance(LONG).await.endpoints, 0);
        world.end().await;
    });
}
