//! Edges that lead to one object.

use std::collections::{HashMap, HashSet};

use angarium_entity::{
    ApiKeyId, DeliveryId, EndpointId, EventId, SubscriptionId, WorkspaceId, api_key, delivery, endpoint,
    endpoint_revision, event, event_type, signing_secret, subscription, subscription_revision, workspace,
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};

use super::{Key, Loaded, Loaders, in_order};
use crate::app::event_type as catalogue;

/// A loader of rows of tenants. What belongs to another tenant than the object that the edge starts from is not found.
macro_rules! owned {
    ($(#[$doc:meta])* $name:ident, $batch:ident, $table:ident, $id:ty, $workspace:expr $(, $condition:expr)?) => {
        $(#[$doc])*
        pub(crate) async fn $name(&self, workspace: WorkspaceId, id: $id) -> Loaded<Option<$table::Model>> {
            self.$batch
                .ask((workspace, id), |keys| async move {
                    let workspaces: HashSet<_> = keys.iter().map(|key| key.0).collect();
                    let ids: HashSet<_> = keys.iter().map(|key| key.1).collect();
                    let rows = $table::Entity::find()
                        .filter($table::Column::WorkspaceId.is_in(workspaces))
                        .filter($table::Column::Id.is_in(ids))
                        $(.filter($condition))?
                        .all(self.state.db.read())
                        .await?;
                    let found: HashMap<Key<$id>, _> =
                        rows.into_iter().filter_map(|row| Some((($workspace(&row)?, row.id), row))).collect();
                    Ok(in_order(&keys, &found))
                })
                .await
        }
    };
}

impl Loaders {
    owned!(
        /// A key.
        api_key, api_keys, api_key, ApiKeyId, |row: &api_key::Model| row.workspace_id
    );
    owned!(
        /// An endpoint that is not deleted.
        endpoint, endpoints, endpoint, EndpointId, |row: &endpoint::Model| Some(row.workspace_id),
        endpoint::Column::DeletedAt.is_null()
    );
    owned!(
        /// A subscription that is not deleted.
        subscription, subscriptions, subscription, SubscriptionId, |row: &subscription::Model| Some(row.workspace_id),
        subscription::Column::DeletedAt.is_null()
    );
    owned!(
        /// An event.
        event, events, event, EventId, |row: &event::Model| Some(row.workspace_id)
    );
    owned!(
        /// A delivery.
        delivery, deliveries, delivery, DeliveryId, |row: &delivery::Model| Some(row.workspace_id)
    );

    /// A workspace.
    pub(crate) async fn workspace(&self, id: WorkspaceId) -> Loaded<Option<workspace::Model>> {
        self.workspaces
            .ask(id, |ids| async move {
                let wanted: HashSet<_> = ids.iter().copied().collect();
                let rows = workspace::Entity::find()
                    .filter(workspace::Column::Id.is_in(wanted))
                    .all(self.state.db.read())
                    .await?;
                Ok(in_order(&ids, &rows.into_iter().map(|row| (row.id, row)).collect()))
            })
            .await
    }

    /// An event type by its name.
    pub(crate) async fn event_type(&self, name: String) -> Loaded<Option<event_type::Model>> {
        self.event_types
            .ask(name, |names| async move {
                let wanted: HashSet<_> = names.iter().map(String::as_str).collect();
                let found = catalogue::find_all(self.state.db.read(), wanted).await?;
                Ok(in_order(&names, &found))
            })
            .await
    }

    /// An endpoint as it was at a version.
    pub(crate) async fn revision(
        &self,
        endpoint: EndpointId,
        version: i32,
    ) -> Loaded<Option<endpoint_revision::Model>> {
        use endpoint_revision::Column;
        self.revisions
            .ask((endpoint, version), |keys| async move {
                let endpoints: HashSet<_> = keys.iter().map(|key| key.0).collect();
                let versions: HashSet<_> = keys.iter().map(|key| key.1).collect();
                let rows = endpoint_revision::Entity::find()
                    .filter(Column::EndpointId.is_in(endpoints))
                    .filter(Column::Version.is_in(versions))
                    .all(self.state.db.read())
                    .await?;
                let found = rows.into_iter().map(|row| ((row.endpoint_id, row.version), row)).collect();
                Ok(in_order(&keys, &found))
            })
            .await
    }

    /// A revision of a subscription.
    pub(crate) async fn subscription_revision(
        &self,
        subscription: SubscriptionId,
        version: i32,
    ) -> Loaded<Option<subscription_revision::Model>> {
        use subscription_revision::Column;
        self.subscription_revisions
            .ask((subscription, version), |keys| async move {
                let subscriptions: HashSet<_> = keys.iter().map(|key| key.0).collect();
                let versions: HashSet<_> = keys.iter().map(|key| key.1).collect();
                let rows = subscription_revision::Entity::find()
                    .filter(Column::SubscriptionId.is_in(subscriptions))
                    .filter(Column::Version.is_in(versions))
                    .all(self.state.db.read())
                    .await?;
                let found = rows.into_iter().map(|row| ((row.subscription_id, row.version), row)).collect();
                Ok(in_order(&keys, &found))
            })
            .await
    }

    /// The secrets of an endpoint, still sealed, oldest first.
    pub(crate) async fn secrets(&self, endpoint: EndpointId) -> Loaded<Vec<signing_secret::Model>> {
        use signing_secret::Column;
        self.secrets
            .ask(endpoint, |endpoints| async move {
                let wanted: HashSet<_> = endpoints.iter().copied().collect();
                let rows = signing_secret::Entity::find()
                    .filter(Column::EndpointId.is_in(wanted))
                    .order_by_asc(Column::CreatedAt)
                    .order_by_asc(Column::Id)
                    .all(self.state.db.read())
                    .await?;
                let mut found: HashMap<EndpointId, Vec<_>> = HashMap::new();
                for row in rows {
                    found.entry(row.endpoint_id).or_default().push(row);
                }
                Ok(in_order(&endpoints, &found).into_iter().map(Option::unwrap_or_default).collect())
            })
            .await
    }
}
