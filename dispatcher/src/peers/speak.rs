//! Sends hints: what has come meanwhile goes together.

use std::collections::HashMap;
use std::sync::Arc;

use angarium_entity::NodeId;
use tokio::sync::{mpsc, oneshot, watch};

use super::Order;
use super::frame::Frame;
use crate::link::Link;

/// Orders that are taken together.
const BATCH_MAX: usize = 1_000;

/// Speaks until nobody is left who could say anything.
pub(super) async fn run(link: Arc<Link>, node: watch::Receiver<Option<NodeId>>, mut orders: mpsc::Receiver<Order>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while orders.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let from = *node.borrow();
        let mut saying = Saying { from, to_all: None, to: HashMap::new(), flushed: Vec::new() };
        batch.drain(..).for_each(|order| saying.add(order));
        saying.send(&link).await;
    }
}

struct Saying {
    from: Option<NodeId>,
    to_all: Option<Frame>,
    to: HashMap<NodeId, Vec<Frame>>,
    flushed: Vec<oneshot::Sender<()>>,
}

impl Saying {
    fn add(&mut self, order: Order) {
        let from = self.from;
        let new = || Frame { from, ..Frame::default() };
        match order {
            Order::Tell(node, hint) => {
                let frames = self.to.entry(node).or_default();
                if frames.is_empty() {
                    frames.push(new());
                }
                frames[0].add(hint);
            }
            Order::Frame(node, frame) => {
                let frames = self.to.entry(node).or_default();
                if frames.is_empty() {
                    frames.push(new());
                }
                frames.push(Frame { from, ..frame });
            }
            Order::News(news) => self.to_all.get_or_insert_with(new).add_news(news),
            Order::Flush(done) => self.flushed.push(done),
        }
    }

    /// What cannot be sent is lost, as hints may be.
    async fn send(self, link: &Link) {
        let mut messages = Vec::new();
        messages.extend(self.to_all.map(|frame| (link.channel_of_all(), frame.encode())));
        for (node, frames) in self.to {
            let frames = frames.into_iter().filter(|frame| *frame != Frame { from: self.from, ..Frame::default() });
            messages.extend(frames.map(|frame| (link.channel_of(node), frame.encode())));
        }
        if !messages.is_empty()
            && let Err(error) = link.publish(&messages).await
        {
            tracing::debug!(%error, "hints to other nodes were lost");
        }
        for done in self.flushed {
            let _ = done.send(());
        }
    }
}
