//! A server of its own for each test.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use angarium_api::AppState;
use angarium_api::config::Config;
use angarium_api::server::{Grace, Opening, Server};
use angarium_entity::api_key::ApiKeySecret;
use angarium_entity::clock::ManualClock;
use angarium_entity::sealer::Sealer;
use angarium_entity::{Clock, Database, SystemClock};
use sea_orm::{ConnectionTrait, EntityTrait, Statement};
use serde_json::{Value, json};

use crate::client::GraphQl;
use crate::deadly_clock::DeadlyClock;
use crate::receiver::Receiver;
use crate::services::services;
use crate::{MOMENT, builder};

/// Which database a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A file of its own.
    Sqlite,
    /// A database of its own on the private server.
    Postgres,
}

/// A server with a workspace, a key of each kind, and the event types `invoice.paid` and `sms.outbound`.
#[derive(Debug)]
pub struct TestApp {
    /// The time of the server.
    pub clock: ManualClock,
    /// Calls as the workspace's key, which has every scope that such a key may have.
    pub api: GraphQl,
    /// Calls as the operator.
    pub admin: GraphQl,
    /// ID of the workspace.
    pub workspace: String,
    server_clock: DeadlyClock,
    statements: Statements,
    server: Option<Server>,
    pub(crate) config: Config,
    directory: PathBuf,
}

impl TestApp {
    /// Starts with the default settings of a development server.
    pub async fn start(backend: Backend) -> Self {
        Self::start_with(backend, &[]).await
    }

    /// Starts with these settings on top.
    pub async fn start_with(backend: Backend, settings: &[(&str, &str)]) -> Self {
        let unique = uuid::Uuid::now_v7().simple().to_string();
        let directory = std::env::temp_dir().join(format!("angarium-test-{unique}"));
        std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
        let url = match backend {
            Backend::Sqlite => format!("sqlite://{}", directory.join("test.db").display()),
            Backend::Postgres => create_database(&unique).await,
        };
        let admin_key = ApiKeySecret::generate();
        let encryption_key = Sealer::generate_key();
        let defaults = [
            ("ANGARIUM_LISTEN", "127.0.0.1:0"),
            ("ANGARIUM_DATABASE_URL", &url),
            ("ANGARIUM_ADMIN_KEY", admin_key.reveal()),
            ("ANGARIUM_ENCRYPTION_KEY", &encryption_key),
            ("ANGARIUM_ALLOW_HTTP", "true"),
            ("ANGARIUM_ALLOW_CIDRS", "127.0.0.0/8"),
            ("ANGARIUM_ARBITERS", "2"),
        ];
        let is_default = |name: &str| !settings.iter().any(|(given, _)| *given == name);
        let variables = defaults.iter().filter(|(name, _)| is_default(name)).chain(settings);
        let config = Config::read(variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
            .expect("the settings of the test are right");
        let clock = ManualClock::at(SystemClock.now());
        let server_clock = DeadlyClock::new(clock.clone());
        let statements = Statements::default();
        let server = start_server(&config, &server_clock, &statements).await;
        let base = format!("http://{}", server.address());
        let mut app = Self {
            clock,
            api: GraphQl::new(&base, admin_key.reveal()),
            admin: GraphQl::new(&base, admin_key.reveal()),
            workspace: String::new(),
            server_clock,
            statements,
            server: Some(server),
            config,
            directory,
        };
        app.settle_in().await;
        app
    }

    async fn settle_in(&mut self) {
        for name in ["invoice.paid", "sms.outbound"] {
            builder::event_type(&self.admin, name).await;
        }
        let (workspace, key) = builder::workspace_with_key(&self.admin, "Acme").await;
        self.workspace = workspace;
        self.api = self.admin.with_key(&key);
    }

    /// Where the server listens, such as `http://127.0.0.1:40123`.
    pub fn base(&self) -> String {
        format!("http://{}", self.server().address())
    }

    /// What the requests of the server see.
    pub fn state(&self) -> &AppState {
        self.server().state()
    }

    /// Where the metrics are served, if they have a listener of their own.
    pub fn metrics_address(&self) -> Option<std::net::SocketAddr> {
        self.server().metrics_address()
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("the server runs unless it is being restarted")
    }

    /// What the server asks its database while something happens. It may do something else beside that.
    pub async fn statements_of<T>(&self, what: impl Future<Output = T>) -> (Vec<Statement>, T) {
        self.statements.swap(Some(Vec::new()));
        let answer = what.await;
        (self.statements.swap(None), answer)
    }

    /// The actor of an endpoint that looks at the clock next dies of a panic. No answer may come before it has something
    /// else to do.
    pub fn kill_an_actor(&self) {
        self.server_clock.arm(1);
    }

    /// The attempt whose answer comes next fails of a panic. Nothing else may happen before.
    pub fn fail_an_attempt(&self) {
        self.server_clock.arm(1);
    }

    /// The same, and its actor dies when it hears of that.
    pub fn kill_an_actor_with_its_attempt(&self) {
        self.server_clock.arm(2);
    }

    /// A receiver that answers 204.
    pub async fn receiver(&self) -> Receiver {
        Receiver::start().await
    }

    /// Starts to stop, and goes on serving for `notice` of the app's clock.
    pub fn leave(&mut self, notice: Duration) -> tokio::task::JoinHandle<()> {
        let server = self.server.take().expect("it runs");
        tokio::spawn(server.stop(Grace { notice, ..Grace::DEV }))
    }

    /// A server of the same settings that listens, and is not there yet.
    pub async fn opening(&self) -> Opening {
        Opening::listen(&self.config).await.expect("a free port")
    }

    /// Stops the server as a terminal does and starts another on the same database, at another port.
    pub async fn restart(&mut self) {
        self.restart_within(Grace::DEV).await;
    }

    /// The same as production does: what runs comes to its end.
    pub async fn restart_gracefully(&mut self) {
        self.restart_within(Grace::SERVE).await;
    }

    async fn restart_within(&mut self, grace: Grace) {
        if let Some(server) = self.server.take() {
            server.stop(grace).await;
        }
        let server = start_server(&self.config, &self.server_clock, &self.statements).await;
        let base = format!("http://{}", server.address());
        self.api = self.api.at(&base);
        self.admin = self.admin.at(&base);
        self.server = Some(server);
    }

    /// A subscription to all events at `url`, and its signing secret.
    pub async fn subscribe(&self, url: &str) -> builder::Subscribed {
        builder::subscribe(&self.api, json!({ "eventTypes": ["*"], "endpoint": { "url": url } })).await
    }

    /// Publishes an event of type `invoice.paid` and answers its ID.
    pub async fn publish(&self, payload: Value) -> String {
        builder::publish(&self.api, json!({ "eventType": "invoice.paid", "payload": payload })).await
    }

    /// The only delivery of the workspace, once it is in `status`.
    pub async fn delivery_in(&self, status: &str) -> Value {
        let deliveries = self.deliveries_in(status, 1).await;
        deliveries.into_iter().next().expect("there is one")
    }

    /// The deliveries of the workspace, once `count` of them are in `status`.
    pub async fn deliveries_in(&self, status: &str, count: usize) -> Vec<Value> {
        let query = format!(
            "query($first: Int!, $status: [DeliveryStatus!]) {{ deliveries(first: $first, where: {{ status: $status }}) {{ nodes {{ {} }} }} }}",
            builder::DELIVERY
        );
        let variables = json!({ "first": (count + 1).min(100), "status": [status] });
        let ask = async || {
            let data = self.api.data(&query, variables.clone()).await;
            let found = data["deliveries"]["nodes"].as_array().expect("a list").clone();
            (found.len() == count).then_some(found)
        };
        eventually(&format!("{count} deliveries in {status}"), ask).await
    }

    pub(crate) async fn stop_server(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop(Grace::SERVE).await;
        }
    }

    /// Checks that nothing is left running, and stops.
    pub async fn end(mut self) {
        let settled = async || {
            let hubs = self.state().dispatcher.observe().await;
            hubs.iter().all(|hub| hub.busy == 0 && hub.in_flight == 0).then_some(())
        };
        eventually("nothing is left running", settled).await;
        if let Some(server) = self.server.take() {
            server.stop(Grace::DEV).await;
        }
    }
}

/// The statements that a server runs while somebody takes them down.
#[derive(Clone, Debug, Default)]
struct Statements(Arc<Mutex<Option<Vec<Statement>>>>);

impl Statements {
    fn note(&self, statement: &Statement) {
        if let Some(noted) = self.0.lock().expect("nobody panics with it").as_mut() {
            noted.push(statement.clone());
        }
    }

    fn swap(&self, noted: Option<Vec<Statement>>) -> Vec<Statement> {
        std::mem::replace(&mut *self.0.lock().expect("nobody panics with it"), noted).unwrap_or_default()
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        // A failing test leaves its files to be looked at.
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

async fn start_server(config: &Config, clock: &DeadlyClock, statements: &Statements) -> Server {
    let db = Database::open(&config.database.url, config.database.connections).await.expect("the database opens");
    let statements = statements.clone();
    let db = db.observed(move |statement| statements.note(statement));
    angarium_migration::up(db.write()).await.expect("the migrations apply");
    Server::start(config, db, clock.shared(), None).await.expect("the server starts")
}

/// A fresh database on the private server.
pub async fn create_database(unique: &str) -> String {
    let server = &services().postgres_url;
    let root = sea_orm::Database::connect(server).await.expect("the private PostgreSQL answers");
    root.execute_unprepared(&format!("CREATE DATABASE t{unique}")).await.expect("its user may create databases");
    root.close().await.expect("the connection closes");
    let mut url = url::Url::parse(server).expect("its URL is one");
    url.set_path(&format!("t{unique}"));
    url.into()
}

/// Asks until there is an answer; the wait is bounded by [`MOMENT`].
///
/// # Panics
/// When there is none in time.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let answered = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let answer = tokio::time::timeout(MOMENT, answered).await;
    answer.unwrap_or_else(|_| panic!("waited {MOMENT:?} in vain: {what}"))
}

/// How many rows a table has; for tests that nothing was changed.
pub async fn count<E: EntityTrait>(app: &TestApp) -> u64
where
    E::Model: Sync,
{
    use sea_orm::PaginatorTrait;
    E::find().count(app.state().db.read()).await.expect("the table can be counted")
}

/// Bytes of deliveries that the dispatcher has at hand.
pub async fn in_memory(app: &TestApp) -> usize {
    app.state().dispatcher.observe().await.iter().map(|hub| hub.job_bytes).sum()
}

/// All that the database of a test holds, as text: the files of SQLite as they are, every row of PostgreSQL.
pub async fn stored_text(app: &TestApp) -> String {
    use sea_orm::{DbBackend, Statement};
    let db = app.state().db.read();
    if db.get_database_backend() != DbBackend::Postgres {
        let files =
            std::fs::read_dir(&app.directory).expect("the directory").map(|entry| entry.expect("an entry").path());
        let texts = files.map(|path| String::from_utf8_lossy(&std::fs::read(path).expect("the file")).into_owned());
        return texts.collect();
    }
    let query = async |text: String| {
        let rows = db.query_all_raw(Statement::from_string(DbBackend::Postgres, text)).await.expect("it reads");
        rows.iter().map(|row| row.try_get_by_index::<String>(0).expect("a text")).collect::<Vec<_>>()
    };
    let mut stored = String::new();
    for table in query("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'".to_owned()).await {
        stored.extend(query(format!("SELECT t::text FROM \"{table}\" AS t")).await);
    }
    stored
}
