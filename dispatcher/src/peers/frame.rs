//! What is on the wire between two nodes: one JSON document for each message.

use angarium_entity::{DeliveryId, EndpointId, NodeId, Timestamp, WorkspaceId};
use serde::{Deserialize, Serialize};

use super::{Hint, News};

/// One message. An older or newer node leaves out what it does not know.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(super) struct Frame {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<NodeId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) look: Vec<EndpointId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) remind: Vec<(Timestamp, EndpointId)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) reload: Vec<EndpointId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) changed: Vec<(EndpointId, DeliveryId)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) express: Vec<DeliveryId>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) members: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) chores: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) logged: Vec<WorkspaceId>,
    /// Which of these are in flight? The answer names the question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) question: Option<(u64, Vec<(EndpointId, DeliveryId)>)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) answer: Option<(u64, Vec<bool>)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Frame {
    pub(super) fn add(&mut self, hint: Hint) {
        match hint {
            Hint::Look(endpoint) => once(&mut self.look, endpoint),
            Hint::Remind(at, endpoint) => once(&mut self.remind, (at, endpoint)),
            Hint::Reload(endpoint) => once(&mut self.reload, endpoint),
            Hint::Changed(endpoint, delivery) => once(&mut self.changed, (endpoint, delivery)),
            Hint::Express(delivery) => once(&mut self.express, delivery),
        }
    }

    pub(super) fn add_news(&mut self, news: News) {
        match news {
            News::Members => self.members = true,
            News::Logged(workspace) => once(&mut self.logged, workspace),
            News::Chores => self.chores = true,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a frame has only text and numbers")
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// Hints come in bursts about the same; what is further back may be told twice.
fn once<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.iter().rev().take(64).any(|known| *known == item) {
        list.push(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_survives_the_way_and_tells_each_thing_once() {
        let now = Timestamp::from_millis(1_234);
        let (endpoint, delivery) = (EndpointId::new(now), DeliveryId::new(now));
        let mut frame = Frame { from: Some(NodeId::new(now)), ..Frame::default() };
        for hint in [
            Hint::Look(endpoint),
            Hint::Look(endpoint),
            Hint::Remind(now, endpoint),
            Hint::Reload(endpoint),
            Hint::Changed(endpoint, delivery),
            Hint::Express(delivery),
        ] {
            frame.add(hint);
        }
        frame.add_news(News::Logged(WorkspaceId::new(now)));
        frame.question = Some((7, vec![(endpoint, delivery)]));
        frame.answer = Some((8, vec![true, false]));
        assert_eq!(frame.look.len(), 1);
        assert_eq!(Frame::decode(&frame.encode()), Some(frame));
    }

    #[test]
    fn what_a_newer_node_adds_is_left_out_and_what_is_no_frame_is_dropped() {
        assert_eq!(Frame::decode(br#"{"members":true,"more":1}"#), Some(Frame { members: true, ..Frame::default() }));
        assert_eq!(Frame::decode(b"\x00"), None);
    }
}
