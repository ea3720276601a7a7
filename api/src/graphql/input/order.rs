//! How lists can be ordered.

use async_graphql::InputObject;

use crate::app::{delivery, endpoint, event, subscription};
use crate::graphql::page::{OrderDirection, Ordering};

/// Defines an order input and its default, newest first.
macro_rules! order {
    ($name:ident, $sort:ty, $default:expr, $many:literal) => {
        #[doc = concat!("How to order ", $many, ". Ties are broken by `id`.")]
        #[derive(Clone, Debug, InputObject)]
        pub(crate) struct $name {
            /// Field to order by.
            field: $sort,
            /// Direction to order in.
            #[graphql(default_with = "OrderDirection::Desc")]
            direction: OrderDirection,
        }

        impl Default for $name {
            fn default() -> Self {
                Self { field: $default, direction: OrderDirection::Desc }
            }
        }

        impl From<$name> for Ordering<$sort> {
            fn from(order: $name) -> Self {
                Self { sort: order.field, descending: order.direction == OrderDirection::Desc }
            }
        }

        impl $name {
            /// The order that is used when null is given.
            pub(crate) fn or_default(order: Option<Self>) -> Ordering<$sort> {
                order.unwrap_or_default().into()
            }
        }
    };
}

order!(DeliveryOrder, delivery::Sort, delivery::Sort::CreatedAt, "deliveries");
order!(EventOrder, event::Sort, event::Sort::CreatedAt, "events");
order!(WebhookEndpointOrder, endpoint::Sort, endpoint::Sort::CreatedAt, "webhook endpoints");
order!(WebhookSubscriptionOrder, subscription::Sort, subscription::Sort::CreatedAt, "webhook subscriptions");
