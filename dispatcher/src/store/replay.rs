//! Replays: past events are sent again, as a job.
//!
//! Plan     first the events are found and written down, in steps ([`plan`]); then the plan is used up from its front,
//!          which is the publish order ([`send`]). Each step is one transaction that moves the replay on as well, so that
//!          the next process goes on exactly where this one died.
//! Line     what is made joins the end of the line of its endpoint, like a publish of now. A batch becomes durable before
//!          the next of the same replay is made, which keeps its order at every endpoint.
//! Turns    one step at a time, workspaces in turn and replays of a workspace in turn. A step is small and its end lets
//!          publishes go first, so that a huge replay delays them by no more than one.
//! Matching by the subscriptions as they are at the time of the batch, like a publish.
//! Filters  are asked between two steps and never within one, by the [`Sieve`]; meanwhile other workspaces have their
//!          turns. The batch is tried again with what they said, and asks for what has changed since.
//! Cleaning what a replay leaves of its plan when it is stopped is deleted when nothing else is to do.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use angarium_entity::change_log::{Change, ReplayChange};
use angarium_entity::clock::SharedClock;
use angarium_entity::replay::{self, Status};
use angarium_entity::{Database, EventId, ReplayId, Timestamp, WorkspaceId, subscription, workspace};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::LockType;
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DatabaseTransaction, IntoActiveModel as _, QuerySelect as _, Statement,
};
use tokio::sync::{Notify, mpsc};

use super::database::is_connection_lost;
use super::logged::Logged;
use super::match_table::{MatchTable, MatchTables};
use super::sieve::{Question, Sieve};
use super::{ingest, sql};
use crate::actor::Hubs;
use crate::job::Job;
use crate::peers::{News, Peers};
use crate::replay::{ITEMS_MAX, NewReplay, RUNNING_MAX, ReadTarget, ReplayError};

use send::Outcome;

mod plan;
mod send;

/// Running replays that take turns; those beyond wait for one of them to end.
const TURNS_MAX: u64 = 10_000;
/// How often a step is tried before its replay is given up, and the pause between.
const TRIES_MAX: u32 = 5;
const AGAIN: Duration = Duration::from_secs(1);
/// Replays whose filters are asked at the same time, one of a workspace at most; each holds the payloads of a batch.
const ASKING_MAX: usize = 16;
/// Longest wait for the word of a new replay.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Items of stopped replays that are deleted at once.
const CLEANED_AT_ONCE: i64 = 5_000;

/// What starts and stops replays, and works on them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Replays {
    pub(crate) db: Database,
    pub(crate) clock: SharedClock,
    pub(crate) hubs: Hubs,
    pub(crate) logged: Logged,
    pub(crate) read_target: ReadTarget,
    /// Asks the filters of subscriptions.
    pub(crate) sieve: Sieve,
    /// Woken when there is something to do.
    pub(crate) wake: Arc<Notify>,
    pub(crate) peers: Peers,
}

impl Replays {
    /// Starts one.
    pub(crate) async fn start(&self, new: NewReplay) -> Result<replay::Model, ReplayError> {
        let row = new.row(self.clock.now());
        let transaction = self.db.begin().await?;
        // Two that are started at the same time count one after the other.
        workspace::Entity::find_by_id(row.workspace_id).lock(LockType::Update).one(&transaction).await?;
        let running = replay::Entity::of(row.workspace_id).filter(replay::Column::Status.eq(Status::Running));
        if running.count(&transaction).await? >= RUNNING_MAX {
            return Err(ReplayError::LimitReached);
        }
        replay::Entity::insert(row.clone().into_active_model()).exec_without_returning(&transaction).await?;
        transaction.commit().await?;
        self.wake.notify_one();
        self.peers.news(News::Chores);
        Ok(row)
    }

    /// How many events one would match. Nothing is stored.
    pub(crate) async fn count(&self, new: NewReplay) -> Result<u64, ReplayError> {
        let row = new.row(self.clock.now());
        let candidates = (self.read_target)(self.db.backend(), &row).map_err(ReplayError::Target)?;
        plan::count(self.db.read(), &row, &candidates).await
    }

    /// Stops one. What it has made already goes on.
    pub(crate) async fn cancel(&self, workspace: WorkspaceId, id: ReplayId) -> Result<replay::Model, ReplayError> {
        let transaction = self.db.begin().await?;
        let row = replay::Entity::of(workspace)
            .filter(replay::Column::Id.eq(id))
            .lock(LockType::Update)
            .one(&transaction)
            .await?
            .ok_or(ReplayError::NotFound)?;
        if row.status != Status::Running {
            return Err(ReplayError::NotRunning);
        }
        let row = self.end(transaction, row, Status::Canceled, None).await?;
        self.wake.notify_one();
        self.peers.news(News::Chores);
        Ok(row)
    }

    /// Works for ever, to begin with on what an earlier process had begun.
    pub(crate) async fn run(self) {
        let is_shared = self.db.backend() == sea_orm::DbBackend::Postgres;
        let (answer, answers) = mpsc::unbounded_channel();
        let mut worker = Worker {
            replays: self,
            said: HashMap::new(),
            asking: HashMap::new(),
            answer,
            answers,
            tables: MatchTables::default(),
            narrowed: HashMap::new(),
            last: None,
            turns: HashMap::new(),
            turn: 0,
            failures: HashMap::new(),
        };
        loop {
            let clock = worker.replays.clock.clone();
            let wake = worker.replays.wake.clone();
            match worker.work().await {
                Ok(Next::Now) => tokio::task::yield_now().await,
                Ok(Next::At(at)) => tokio::select! {
                    () = clock.sleep_until(at) => {}
                    () = wake.notified() => {}
                },
                // Another node may have started one without being heard.
                Ok(Next::WhenWoken) if is_shared => drop(tokio::time::timeout(LOOK_EVERY, wake.notified()).await),
                Ok(Next::WhenWoken) => wake.notified().await,
                Err(error) => {
                    tracing::error!(%error, "could not go on with replays; trying again");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Commits the end of a replay.
    async fn end(
        &self,
        transaction: DatabaseTransaction,
        row: replay::Model,
        status: Status,
        failure_reason: Option<&str>,
    ) -> Result<replay::Model, DbErr> {
        let mut changed = row.into_active_model();
        changed.status = Set(status);
        changed.failure_reason = Set(failure_reason.map(str::to_owned));
        changed.completed_at = Set(Some(self.clock.now()));
        let row = changed.update(&transaction).await?;
        self.commit(transaction, row.workspace_id, vec![ReplayChange { replay_id: row.id }.into()]).await?;
        Ok(row)
    }

    async fn commit(
        &self,
        transaction: DatabaseTransaction,
        workspace: WorkspaceId,
        changes: Vec<Change>,
    ) -> Result<(), DbErr> {
        let logged = sql::append_changes(&transaction, self.clock.now(), [(workspace, changes)]).await?;
        transaction.commit().await?;
        self.logged.tell(logged);
        Ok(())
    }
}

/// When to look again.
enum Next {
    Now,
    At(Timestamp),
    WhenWoken,
}

/// What the filters said that were asked for a replay.
type Answer = (ReplayId, send::Said);

struct Worker {
    replays: Replays,
    /// What filters said of the front of a plan, until its batch is made.
    said: HashMap<ReplayId, send::Said>,
    /// Replays whose filters are being asked.
    asking: HashMap<ReplayId, WorkspaceId>,
    answer: mpsc::UnboundedSender<Answer>,
    answers: mpsc::UnboundedReceiver<Answer>,
    tables: MatchTables,
    /// The tables of replays to some subscriptions only, with the versions that they were made of.
    narrowed: HashMap<ReplayId, (i64, Arc<MatchTable>)>,
    /// The workspace that had the last turn.
    last: Option<WorkspaceId>,
    /// The last turn of each replay.
    turns: HashMap<ReplayId, u64>,
    turn: u64,
    /// Steps that failed, one after the other.
    failures: HashMap<ReplayId, u32>,
}

impl Worker {
    /// Takes one step of one replay, if any is due.
    async fn work(&mut self) -> Result<Next, DbErr> {
        let running: Vec<(WorkspaceId, ReplayId, Option<Timestamp>)> = replay::Entity::find()
            .select_only()
            .columns([replay::Column::WorkspaceId, replay::Column::Id, replay::Column::NextBatchAt])
            .filter(replay::Column::Status.eq(Status::Running))
            .limit(TURNS_MAX)
            .into_tuple()
            .all(self.replays.db.read())
            .await?;
        while let Ok((id, said)) = self.answers.try_recv() {
            self.asking.remove(&id);
            for (event, verdicts) in said {
                self.said.entry(id).or_default().entry(event).or_default().extend(verdicts);
            }
        }
        let ids: HashSet<ReplayId> = running.iter().map(|(_, id, _)| *id).collect();
        self.turns.retain(|id, _| ids.contains(id));
        self.narrowed.retain(|id, _| ids.contains(id));
        self.said.retain(|id, _| ids.contains(id));
        let now = self.replays.clock.now();
        let waits =
            |workspace| self.asking.len() >= ASKING_MAX || self.asking.values().any(|asking| *asking == workspace);
        // The answer wakes those that wait for it.
        let running: Vec<_> = running.into_iter().filter(|(workspace, ..)| !waits(*workspace)).collect();
        let due = || running.iter().filter(|(_, _, at)| at.is_none_or(|at| at <= now));
        let turn_of = |id: &ReplayId| self.turns.get(id).copied().unwrap_or(0);
        let workspaces = || due().map(|(workspace, ..)| *workspace);
        let next = workspaces().filter(|workspace| Some(*workspace) > self.last).min().or_else(|| workspaces().min());
        let chosen =
            due().filter(|(workspace, ..)| Some(*workspace) == next).min_by_key(|(_, id, _)| (turn_of(id), *id));
        let Some(&(workspace, id, _)) = chosen else {
            if self.clean().await? {
                return Ok(Next::Now);
            }
            let first = running.iter().filter_map(|(_, _, at)| *at).min();
            return Ok(first.map_or(Next::WhenWoken, Next::At));
        };
        self.last = Some(workspace);
        self.turn += 1;
        self.turns.insert(id, self.turn);
        match self.step(id).await {
            Ok(()) => {
                self.failures.remove(&id);
                Ok(Next::Now)
            }
            Err(error) if is_connection_lost(&error) => Err(error),
            Err(error) => {
                let failures = self.failures.entry(id).or_default();
                *failures += 1;
                if *failures < TRIES_MAX {
                    return Err(error);
                }
                tracing::error!(%error, replay = %id, "a replay is given up");
                self.failures.remove(&id);
                self.fail(id, "The server could not go on with it; its log tells why.").await?;
                Ok(Next::Now)
            }
        }
    }

    /// One step of a replay, if it still runs.
    async fn step(&mut self, id: ReplayId) -> Result<(), DbErr> {
        let transaction = self.replays.db.begin().await?;
        let Some(row) = take(&transaction, id).await? else { return Ok(()) };
        if row.matched_count.is_none() { self.plan(transaction, row).await } else { self.send(transaction, row).await }
    }

    async fn plan(&self, transaction: DatabaseTransaction, row: replay::Model) -> Result<(), DbErr> {
        let candidates = match (self.replays.read_target)(self.replays.db.backend(), &row) {
            Ok(candidates) => candidates,
            Err(error) => {
                tracing::error!(%error, replay = %row.id, "the target of a replay does not read");
                self.replays.end(transaction, row, Status::Failed, Some("Its target does not read.")).await?;
                return Ok(());
            }
        };
        let (added, next) = plan::step(&transaction, &row, &candidates).await?;
        let count = u64::try_from(row.item_count).unwrap_or(0) + added;
        if count > ITEMS_MAX {
            let reason = format!("More than {ITEMS_MAX} events or deliveries are chosen; choose a smaller range.");
            self.replays.end(transaction, row, Status::Failed, Some(&reason)).await?;
            return Ok(());
        }
        let (id, workspace) = (row.id, row.workspace_id);
        let matched = if next.is_none() { Some(plan::events_of(&transaction, &row).await?) } else { None };
        let mut changed = row.into_active_model();
        changed.item_count = Set(i32::try_from(count).unwrap_or(i32::MAX));
        changed.planned_at = Set(next.map(|(at, _)| at));
        changed.planned_id = Set(next.map(|(_, id)| id));
        changed.matched_count = Set(matched);
        changed.update(&transaction).await?;
        let told = matched.map(|_| ReplayChange { replay_id: id }.into());
        match told {
            Some(told) => self.replays.commit(transaction, workspace, vec![told]).await,
            None => transaction.commit().await,
        }
    }

    async fn send(&mut self, transaction: DatabaseTransaction, row: replay::Model) -> Result<(), DbErr> {
        let now = self.replays.clock.now();
        let Some((table, membership_version)) = self.table(&transaction, &row).await? else {
            let reason = "Every subscription that it was to go to was deleted.";
            self.replays.end(transaction, row, Status::Failed, Some(reason)).await?;
            return Ok(());
        };
        let said = self.said.entry(row.id).or_default();
        let outcome = send::batch(&transaction, &row, &table, said, now).await?;
        let batch = match outcome {
            Outcome::Made(batch) => batch,
            Outcome::Unasked(questions) => {
                transaction.rollback().await?;
                self.ask(&row, questions);
                return Ok(());
            }
        };
        self.said.remove(&row.id);
        let (id, workspace, count) = (row.id, row.workspace_id, batch.deliveries.len());
        let next_at = send::next_at(row.rate_per_second, count, now);
        let created = row.created_count.saturating_add(i32::try_from(count).unwrap_or(i32::MAX));
        let mut changed = row.into_active_model();
        changed.created_count = Set(created);
        changed.next_batch_at = Set(next_at);
        if batch.is_last {
            changed.status = Set(Status::Completed);
            changed.completed_at = Set(Some(now));
        }
        changed.update(&transaction).await?;
        let mut changes =
            ingest::changes_of(std::iter::empty(), &batch.deliveries).remove(&workspace).unwrap_or_default();
        if count > 0 || batch.is_last {
            changes.push(ReplayChange { replay_id: id }.into());
        }
        if changes.is_empty() {
            transaction.commit().await?;
        } else {
            self.replays.commit(transaction, workspace, changes).await?;
        }
        let job =
            |row: &angarium_entity::delivery::Model| Some(Job::new(row, batch.events.get(&row.event_id)?.clone()));
        self.replays.hubs.deliver(batch.deliveries.iter().filter_map(job), membership_version);
        Ok(())
    }

    /// Has filters asked, without waiting for it.
    fn ask(&mut self, row: &replay::Model, questions: Vec<(EventId, Question)>) {
        let (id, workspace) = (row.id, row.workspace_id);
        self.asking.insert(id, workspace);
        let (sieve, answer, wake) = (self.replays.sieve.clone(), self.answer.clone(), self.replays.wake.clone());
        tokio::spawn(async move {
            let (events, questions): (Vec<_>, Vec<_>) = questions.into_iter().unzip();
            // None when the server is stopping: then the replay waits for the next process.
            let Some(verdicts) = sieve.judge(workspace, questions).await else { return };
            // A worker that has ended needs no answer.
            let _ = answer.send((id, events.into_iter().zip(verdicts).collect()));
            wake.notify_one();
        });
    }

    /// What the subscriptions that the replay goes to want now; none when every one that was named is deleted.
    async fn table(
        &mut self,
        db: &impl ConnectionTrait,
        row: &replay::Model,
    ) -> Result<Option<(Arc<MatchTable>, Option<i64>)>, DbErr> {
        let (mut tables, versions) = self.tables.with_versions(db, [row.workspace_id]).await?;
        let table = tables.remove(&row.workspace_id).unwrap_or_default();
        let Some(only) = &row.subscription_ids else { return Ok(Some((table, versions.membership))) };
        if let Some((version, known)) = self.narrowed.get(&row.id)
            && *version == table.version()
        {
            return Ok(Some((known.clone(), versions.membership)));
        }
        let live = subscription::Entity::of(row.workspace_id)
            .filter(subscription::Column::Id.is_in(only.0.iter().copied()))
            .count(db)
            .await?;
        if live == 0 {
            return Ok(None);
        }
        let narrow = Arc::new(table.only(&only.0));
        self.narrowed.insert(row.id, (table.version(), narrow.clone()));
        Ok(Some((narrow, versions.membership)))
    }

    async fn fail(&self, id: ReplayId, reason: &str) -> Result<(), DbErr> {
        let transaction = self.replays.db.begin().await?;
        if let Some(row) = take(&transaction, id).await? {
            self.replays.end(transaction, row, Status::Failed, Some(reason)).await?;
        }
        Ok(())
    }

    /// Deletes some of what a stopped replay has left of its plan. Answers whether there was any.
    async fn clean(&self) -> Result<bool, DbErr> {
        let db = self.replays.db.write();
        // In the words of the index.
        let stopped = replay::Entity::find()
            .filter(Expr::cust("status IN ('CANCELED', 'FAILED') AND item_count > 0"))
            .limit(1)
            .one(self.replays.db.read())
            .await?;
        let Some(stopped) = stopped else { return Ok(false) };
        if delete_plan(db, stopped.id).await? == 0 {
            // With its workspace, it may be gone meanwhile.
            replay::Entity::update_many()
                .col_expr(replay::Column::ItemCount, Expr::value(0))
                .filter(replay::Column::Id.eq(stopped.id))
                .exec(db)
                .await?;
        }
        Ok(true)
    }
}

/// Deletes some of what is left of a plan. Answers how many items there were.
pub(crate) async fn delete_plan(db: &impl ConnectionTrait, replay: ReplayId) -> Result<u64, DbErr> {
    const DELETE: &str = "\
        DELETE FROM replay_item WHERE replay_id = $1 AND (event_id, endpoint_id, subscription_id) IN (\
        SELECT event_id, endpoint_id, subscription_id FROM replay_item WHERE replay_id = $1 LIMIT $2)";
    let values = [replay.into(), CLEANED_AT_ONCE.into()];
    let delete = Statement::from_sql_and_values(db.get_database_backend(), DELETE, values);
    Ok(db.execute_raw(delete).await?.rows_affected())
}

/// Locks a replay that runs.
async fn take(db: &DatabaseTransaction, id: ReplayId) -> Result<Option<replay::Model>, DbErr> {
    let row = replay::Entity::find_by_id(id).lock(LockType::Update).one(db).await?;
    Ok(row.filter(|row| row.status == Status::Running))
}
