//! Hears what other nodes say.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::Value;
use redis::aio::PubSub;

use super::frame::Frame;
use super::{Audience, Hint, Order, Peers};
use crate::link::Link;

/// Pause before a connection that was lost is made again.
const AGAIN: Duration = Duration::from_millis(500);

/// When nothing was heard for so long, we ask whether anybody is there: a server that froze, or whose host is gone, leaves
/// the connection open.
const QUIET: Duration = Duration::from_secs(5);
/// Longest wait for the answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Listens for ever. When it was deaf for a while, it has everybody look.
pub(super) async fn run(link: Arc<Link>, peers: Peers, audience: Audience) {
    let mut node = peers.node.subscribe();
    loop {
        let Some(me) = *node.borrow_and_update() else {
            if node.changed().await.is_err() {
                return;
            }
            continue;
        };
        let listening = async {
            let heard = link.subscribe(me).await?;
            // So that whoever asks how Redis is knows without having anything to tell it.
            link.get().await?;
            // What was told while nobody listened.
            peers.members.notify_one();
            for chore in &audience.chores {
                chore.notify_one();
            }
            hear(heard, &peers, &audience).await;
            Ok::<_, redis::RedisError>(())
        };
        tokio::select! {
            changed = node.changed() => if changed.is_err() { return },
            heard = listening => {
                if let Err(error) = heard {
                    link.note(&error).await;
                    tracing::debug!(%error, "cannot hear other nodes; trying again");
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Until the connection is lost.
async fn hear(heard: PubSub, peers: &Peers, audience: &Audience) {
    let (mut speaking, mut messages) = heard.split();
    loop {
        let message = match tokio::time::timeout(QUIET, messages.next()).await {
            Ok(Some(message)) => message,
            Ok(None) => return,
            Err(_) => match tokio::time::timeout(ANSWER_WITHIN, speaking.ping::<Value>()).await {
                Ok(Ok(_)) => continue,
                Ok(Err(_)) | Err(_) => return,
            },
        };
        let Some(frame) = Frame::decode(message.get_payload_bytes()) else {
            tracing::debug!("another node says something that is no hint");
            continue;
        };
        if frame.from.is_none() || frame.from == *peers.node.borrow() {
            continue;
        }
        take(frame, peers, audience);
    }
}

fn take(frame: Frame, peers: &Peers, audience: &Audience) {
    let hubs = &audience.hubs;
    if frame.members {
        peers.members.notify_one();
    }
    if frame.chores {
        audience.chores.iter().for_each(|chore| chore.notify_one());
    }
    for workspace in frame.logged {
        // Nobody watching is not an error.
        let _ = audience.logged.send(workspace);
    }
    // What has moved on meanwhile is told on, but not a second time: `heard` never is.
    hubs.heard(frame.look.into_iter().map(Hint::Look));
    hubs.heard(frame.remind.into_iter().map(|(at, endpoint)| Hint::Remind(at, endpoint)));
    hubs.heard(frame.reload.into_iter().map(Hint::Reload));
    hubs.heard(frame.changed.into_iter().map(|(endpoint, delivery)| Hint::Changed(endpoint, delivery)));
    for delivery in frame.express {
        let _ = audience.express.send(delivery);
    }
    if let Some((number, answer)) = frame.answer {
        peers.questions.answered(number, answer);
    }
    if let (Some((number, asked)), Some(from)) = (frame.question, frame.from) {
        let (hubs, peers) = (hubs.clone(), peers.clone());
        tokio::spawn(async move {
            let answer = Some((number, hubs.in_flight_here(&asked).await));
            peers.order(Order::Frame(from, Frame { answer, ..Frame::default() }));
        });
    }
}
