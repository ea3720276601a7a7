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
use crate::job::Job;
use crate::machine::breaker::Patience;
use crate::machine::endpoint::tests::job;
use crate::machine::endpoint::{Hold, Rules};
use crate::report::Report;
use crate::settings::Settings;
use crate::store::completion::Recorded;
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

/// Has the actor of an endpoint die of a panic.
#[derive(Message)]
#[rtype(result = "()")]
struct Kill(EndpointId);

#[derive(Message)]
#[rtype(result = "()")]
struct Die;

#[expect(clippy::disallowed_methods, reason = "once")]
impl Handler<Kill> for Hub {
    type Result = ();

    fn handle(&mut self, Kill(endpoint): Kill, _: &mut Self::Context) {
        self.endpoints[&endpoint].addr.do_send(Die);
    }
}

impl Handler<Die> for EndpointActor {
    type Result = ();

    fn handle(&mut self, Die: Die, _: &mut Self::Context) {
        panic!("a test wants it to die");
    }
}

struct World {
    hub: Addr<Hub>,
    clock: ManualClock,
    ownership: Ownership,
    asks: mpsc::UnboundedReceiver<Ask>,
    reports: mpsc::UnboundedReceiver<Report>,
    queued: Arc<AtomicUsize>,
    next_seq: i64,
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
        let (reports, reported) = mpsc::unbounded_channel();
        let ownership = Ownership::of_all(SHARDS);
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
            ownership: ownership.clone(),
            has_schedule: false,
            metrics: Metrics::register(&prometheus::Registry::new()).expect("metrics"),
            tracer: Tracer::off(),
        };
        let queued = Arc::new(AtomicUsize::new(0));
        let hub = Hub::create(|ctx| Hub::new(ctx, &setup, queued.clone(), 16));
        let (workspace, subscription) = (WorkspaceId::new(NOW), SubscriptionId::new(NOW));
        Self {
            hub,
            clock,
            ownership,
            asks: asked,
            reports: reported,
            queued,
            next_seq: 0,
            workspace,
            subscription,
            health_of: |health| health,
        }
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
                Ask::Settings(asker) => {
                    let settings = Some(Arc::new(self.settings(asker.endpoint, rules)));
                    self.tell(SettingsRead { asker, settings }).await;
                }
                Ask::Page { asker, .. } => {
                    self.tell(PageRead { asker, jobs: Vec::new(), full: false, next_due: None }).await;
                }
            }
            asked.extend(self.asked().await);
        }
    }

    /// An endpoint with its settings and nothing to do.
    async fn endpoint(&mut self) -> EndpointId {
        let endpoint = EndpointId::new(NOW);
        self.kick(endpoint).await;
        self.answer(RULES).await;
        endpoint
    }

    fn job(&mut self, endpoint: EndpointId) -> Job {
        self.next_seq += 1;
        Job { endpoint_id: endpoint, subscription_id: self.subscription, ..job(self.next_seq) }
    }

    /// One more for the endpoint. It fails without a request as soon as there is a grant for it.
    async fn deliver(&mut self, endpoint: EndpointId) {
        let job = self.job(endpoint);
        self.queued.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.tell(Deliver(vec![job])).await;
    }

    /// What has ended.
    async fn reported(&mut self) -> Vec<Job> {
        self.observe().await;
        std::iter::from_fn(|| self.reports.try_recv().ok()).map(|report| report.job).collect()
    }

    /// The result is durable.
    async fn record(&self, job: &Job) {
        let Job { endpoint_id, delivery_id, .. } = *job;
        let recorded = Recorded { endpoint_id, delivery_id, is_final: true, next_attempt_at: None, is_void: false };
        self.tell(ResultsRecorded(vec![recorded])).await;
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

#[test]
fn a_grant_that_comes_for_one_that_has_died_does_not_release_what_is_kept_for_its_results() {
    System::new().block_on(async {
        let mut world = World::new(1);
        let (dies, waits) = (world.endpoint().await, world.endpoint().await);
        world.deliver(dies).await;
        let reported = world.reported().await;
        world.deliver(waits).await;
        world.tell(Kill(dies)).await;
        assert_eq!(world.observe().await.endpoints, 1);
        world.tell(Granted(dies)).await;
        assert!(world.reported().await.is_empty(), "the only grant is in use until the result is durable");
        world.record(&reported[0]).await;
        assert_eq!(world.reported().await[0].endpoint_id, waits);
        world.end().await;
    });
}

#[test]
fn no_grant_is_lost_to_one_that_wanted_to_send_and_died_while_the_lease_did_not_hold() {
    System::new().block_on(async {
        let mut world = World::new(1);
        let (has_it, dies, waits) = (world.endpoint().await, world.endpoint().await, world.endpoint().await);
        world.deliver(has_it).await;
        let reported = world.reported().await;
        world.ownership.lets_send(false);
        world.deliver(dies).await;
        world.tell(Kill(dies)).await;
        assert_eq!(world.observe().await.endpoints, 2);
        world.ownership.lets_send(true);
        world.tell(MaySendAgain).await;
        world.deliver(waits).await;
        world.record(&reported[0]).await;
        assert_eq!(world.reported().await.iter().map(|job| job.endpoint_id).collect::<Vec<_>>(), [waits]);
        world.end().await;
    });
}

#[test]
fn what_an_actor_had_asked_for_is_not_told_to_its_successor() {
    System::new().block_on(async {
        let mut world = World::new(1);
        let endpoint = EndpointId::new(NOW);
        let page = |asker, job| PageRead { asker, jobs: vec![job], full: false, next_due: None };
        world.kick(endpoint).await;
        let [Ask::Settings(first)] = world.asked().await[..] else { panic!("one question") };
        world.tell(Kill(endpoint)).await;
        world.observe().await;
        world.advance(Duration::from_secs(6)).await;
        let [Ask::Settings(second)] = world.asked().await[..] else { panic!("one question") };
        assert_ne!(first, second);

        let settings = Some(Arc::new(world.settings(endpoint, RULES)));
        world.tell(SettingsRead { asker: first, settings: settings.clone() }).await;
        assert!(world.asked().await.is_empty(), "it waits for what it has asked for itself");
        world.tell(SettingsRead { asker: second, settings }).await;
        assert!(matches!(world.asked().await[..], [Ask::Page { asker, .. }] if asker == second));
        let (stale, fresh) = (world.job(endpoint), world.job(endpoint));
        world.tell(page(first, stale)).await;
        assert!(world.reported().await.is_empty());
        let expected = fresh.seq;
        world.tell(page(second, fresh)).await;
        assert_eq!(world.reported().await.iter().map(|job| job.seq).collect::<Vec<_>>(), [expected]);
        world.end().await;
    });
}

#[test]
fn who_dies_again_and_again_is_left_alone_for_longer_each_time_and_one_that_has_lived_for_long_is_not() {
    System::new().block_on(async {
        let world = World::new(1);
        let endpoint = EndpointId::new(NOW);
        let second = Duration::from_secs(1);
        world.kick(endpoint).await;
        for pause in [5, 10, 20, 40, 80, 160, 320, 600, 600] {
            world.tell(Kill(endpoint)).await;
            assert_eq!(world.observe().await.endpoints, 0);
            world.kick(endpoint).await;
            assert_eq!(world.advance(second * (pause - 1)).await.endpoints, 0, "{pause}");
            assert_eq!(world.advance(second).await.endpoints, 1, "{pause}");
        }
        assert_eq!(world.advance(second * 600).await.endpoints, 1);
        world.tell(Kill(endpoint)).await;
        world.observe().await;
        assert_eq!(world.advance(second * 5).await.endpoints, 1);
        world.end().await;
    });
}
