//! What callers send back: IDs, cursors of lists and of live streams, durations.

#![no_main]

use angarium_entity::{
    ApiKeyId, AttemptId, DeliveryId, EndpointId, EventId, EventTypeId, ReplayId, SubscriptionId, WorkspaceId,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    angarium_api::fuzzing::live_cursor(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    macro_rules! id {
        ($($id:ty),*) => {$(
            if let Ok(id) = text.parse::<$id>() {
                assert!(id.to_string().eq_ignore_ascii_case(text), "{text} {id}");
                assert_eq!(id.to_string().parse::<$id>(), Ok(id));
            }
        )*};
    }
    id!(ApiKeyId, AttemptId, DeliveryId, EndpointId, EventId, EventTypeId, ReplayId, SubscriptionId, WorkspaceId);
    angarium_api::fuzzing::list_cursor(text);
    if let Ok(duration) = angarium_api::app::duration::parse(text) {
        let printed = angarium_api::app::duration::print(duration);
        assert_eq!(angarium_api::app::duration::parse(&printed).ok(), Some(duration), "{text} {printed}");
    }
});
