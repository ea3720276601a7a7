//! `angarium check`: would `serve` start here? Everything is tried, whatever fails before it.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use angarium_dispatcher::NOWHERE;
use angarium_entity::database::sqlite_path;
use angarium_entity::{Database, installation};
use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, EntityTrait as _, Statement};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::{open, say, sentence, serve};
use crate::config::setting::{LISTEN, METRICS_LISTEN};
use crate::config::{Config, Variables};
use crate::reencrypt;

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Tables and sequences that this user may not use as the server does. The history of the schema is only read.
const FORBIDDEN: &str = "SELECT c.relname AS name FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
    WHERE n.nspname = current_schema() AND c.relname <> 'seaql_migrations' AND ( \
    c.relkind IN ('r', 'p') AND NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') \
    AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')) \
    OR c.relkind = 'S' AND NOT has_sequence_privilege(c.oid, 'USAGE')) ORDER BY c.relname";

/// Something that would keep `serve` from starting, or from doing its work.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0} of {1} checks failed")]
    Some(usize, usize),
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Slow,
    #[error("the user of the database may not read and write {}; grant SELECT, INSERT, UPDATE, DELETE and USAGE", .0.join(", "))]
    Forbidden(Vec<String>),
    #[error(
        "{0} secret(s) of the database open under none of the keys; add the key that they were sealed under to \
         ANGARIUM_PREVIOUS_ENCRYPTION_KEYS"
    )]
    Sealed(u64),
    #[error("the directory {0} does not let a database be made in it")]
    Directory(String, #[source] std::io::Error),
}

type Checked = Result<String, Box<dyn Error + Send + Sync>>;

/// What was tried, and what came of it.
struct Report {
    json: bool,
    all: Vec<(&'static str, Checked)>,
}

impl Report {
    fn note(&mut self, name: &'static str, checked: Checked) {
        if !self.json {
            match &checked {
                Ok(good) => say(format_args!("ok      {name}: {good}")),
                Err(bad) => say(format_args!("failed  {name}: {}", sentence(&**bad))),
            }
        }
        self.all.push((name, checked));
    }

    fn end(self) -> Result<(), Fault> {
        let of_one = |(name, checked): &(&str, Checked)| match checked {
            Ok(good) => json!({ "name": name, "ok": true, "detail": good }),
            Err(bad) => json!({ "name": name, "ok": false, "detail": sentence(&**bad) }),
        };
        if self.json {
            say(json!({ "checks": self.all.iter().map(of_one).collect::<Vec<_>>() }));
        }
        match self.all.iter().filter(|(_, checked)| checked.is_err()).count() {
            0 => Ok(()),
            failed => Err(Fault::Some(failed, self.all.len())),
        }
    }
}

pub(super) async fn run(variables: Variables, json: bool) -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = Config::of(variables)?;
    let mut report = Report { json, all: Vec::new() };
    report.note("configuration", Ok("complete".to_owned()));
    let mut installation = None;
    match sqlite_path(&config.database.url) {
        // Opening would make it.
        Some(path) if !path.exists() => report.note("database", will_be_made(&path)),
        _ => match timed(async { Ok(open(&config.database).await?) }).await {
            Ok(db) => {
                report.note("database", Ok("reached".to_owned()));
                check_database(&db, &config, &mut report).await;
                // Where there is none yet, Redis is tried below another name.
                installation = installation::Entity::find().one(db.read()).await.ok().flatten().map(|row| row.key);
                db.close().await;
            }
            Err(error) => report.note("database", Err(error)),
        },
    }
    if let Some(url) = &config.dispatcher.redis {
        let found = timed(async { Ok(angarium_dispatcher::check_redis(url, installation).await?) }).await;
        report.note(
            "redis",
            found.map(|found| {
                let version = found.version.as_deref().unwrap_or("unknown");
                let version = format!("reached, version {version}, and it does all that is asked of it");
                [vec![version], found.warnings].concat().join("; ")
            }),
        );
    }
    if let Some(proxy) = &config.dispatcher.proxy {
        let tried = timed(async { Ok(proxy.try_out().await?) }).await;
        let said = |status: Option<u16>| status.map_or("no answer yet".to_owned(), |status| format!("status {status}"));
        let told = |status| format!("reached; to a CONNECT to {NOWHERE}, where nobody is, it gave {}", said(status));
        report.note("proxy", tried.map(told));
    }
    for server in &config.dispatcher.name_servers {
        let asked = timed(async { Ok(angarium_dispatcher::check_name_server(*server).await?) }).await;
        report.note("name server", asked.map(|()| format!("{server} answers")));
    }
    if let Some(collector) = &config.traces.collector {
        let reached = timed(async { Ok(collector.reach().await?) }).await;
        report.note("collector of traces", reached.map(|()| "reached, and it takes spans".to_owned()));
    }
    report.note(LISTEN.name, listens(config.http.listen).await);
    if let Some(address) = config.http.metrics_listen {
        report.note(METRICS_LISTEN.name, listens(address).await);
    }
    Ok(report.end()?)
}

async fn check_database(db: &Database, config: &Config, report: &mut Report) {
    let is_sqlite = db.backend() == DbBackend::Sqlite;
    let schema = timed(async { Ok(serve::check_schema(db).await?) }).await;
    let is_ready = schema.is_ok();
    report.note(
        "schema",
        match schema {
            Ok(()) => Ok("up to date".to_owned()),
            Err(_) if is_sqlite => Ok("`angarium serve` brings it up to date".to_owned()),
            Err(error) => Err(error),
        },
    );
    if !is_ready {
        return;
    }
    report.note("permissions", timed(permissions(db)).await);
    report.note("encryption key", timed(opens(db, config)).await);
}

async fn permissions(db: &Database) -> Checked {
    let forbidden: Vec<String> = match db.backend() {
        DbBackend::Sqlite => {
            // SQLite finds out whether it may write when it does.
            let transaction = db.begin().await?;
            transaction.execute_unprepared("UPDATE installation SET id = id").await?;
            transaction.rollback().await?;
            Vec::new()
        }
        backend => {
            let rows = db.read().query_all_raw(Statement::from_string(backend, FORBIDDEN)).await?;
            rows.iter().map(|row| row.try_get("", "name")).collect::<Result<_, DbErr>>()?
        }
    };
    if forbidden.is_empty() {
        Ok("all tables can be read and written".to_owned())
    } else {
        Err(Fault::Forbidden(forbidden).into())
    }
}

/// Whether what is sealed in the database opens, and under which of the keys.
async fn opens(db: &Database, config: &Config) -> Checked {
    reencrypt::check_key(db, &config.secrets.sealer).await?;
    let found = reencrypt::count(db, &config.secrets.sealer).await?;
    match found {
        reencrypt::Report { unknown, .. } if unknown > 0 => Err(Fault::Sealed(unknown).into()),
        reencrypt::Report { previous: 0, .. } => Ok("all secrets are under ANGARIUM_ENCRYPTION_KEY".to_owned()),
        reencrypt::Report { previous, .. } => {
            Ok(format!("{previous} secret(s) are under a previous key; `angarium reencrypt` seals them anew"))
        }
    }
}

fn will_be_made(path: &std::path::Path) -> Checked {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
    let draft = directory.join(format!(".angarium-check-{}", std::process::id()));
    let failed = |error| Fault::Directory(directory.display().to_string(), error);
    std::fs::write(&draft, "").map_err(failed)?;
    std::fs::remove_file(&draft).map_err(failed)?;
    Ok(format!("{} will be made by the first `angarium serve`", path.display()))
}

async fn listens(address: SocketAddr) -> Checked {
    TcpListener::bind(address).await?;
    Ok(format!("{address} is free"))
}

async fn timed<T>(
    what: impl Future<Output = Result<T, Box<dyn Error + Send + Sync>>>,
) -> Result<T, Box<dyn Error + Send + Sync>> {
    timeout(TIMEOUT, what).await.map_err(|_| Fault::Slow)?
}
