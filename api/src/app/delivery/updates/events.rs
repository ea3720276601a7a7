//! Events as they are published, those that nobody subscribed to included.

use std::collections::HashMap;

use angarium_entity::api_key::Scope;
use angarium_entity::change_log::Change;
use angarium_entity::{EventId, WorkspaceId, event};
use sea_orm::{ColumnTrait as _, DbErr, QueryFilter as _};

use super::{Entry, Subject};
use crate::AppState;
use crate::app::AppError;
use crate::app::event::Filter;
use crate::app::filter::parse_patterns;

/// The events that match a filter.
#[derive(Clone, Debug, Default)]
pub struct Events(pub Filter);

impl Subject for Events {
    type Item = event::Model;

    const SCOPE: Scope = Scope::EventRead;
    const CODE: u8 = 3;

    fn check(&self) -> Result<(), AppError> {
        self.0.event_types.as_deref().map(parse_patterns).transpose().map(drop)
    }

    async fn load(
        &self,
        state: &AppState,
        workspace: WorkspaceId,
        entries: &[Entry],
    ) -> Result<Vec<(usize, event::Model)>, DbErr> {
        let published: Vec<(usize, EventId)> = entries
            .iter()
            .enumerate()
            .filter_map(|(index, entry)| match &entry.change {
                Change::Event(change) => Some((index, change.event_id)),
                _ => None,
            })
            .collect();
        if published.is_empty() {
            return Ok(Vec::new());
        }
        // The patterns were checked when the stream began.
        let select = self.0.select(state.db.backend(), workspace).map_err(|error| DbErr::Custom(error.to_string()))?;
        let select = select.filter(event::Column::Id.is_in(published.iter().map(|(_, id)| *id)));
        let mut events: HashMap<EventId, event::Model> =
            select.all(state.db.read()).await?.into_iter().map(|event| (event.id, event)).collect();
        Ok(published.into_iter().filter_map(|(index, id)| Some((index, events.remove(&id)?))).collect())
    }
}
