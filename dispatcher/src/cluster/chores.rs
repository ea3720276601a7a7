//! What one node does for all: sweeps, replays and deletions, which would only be in each other's way.
//!
//! Each is done by the node that leads. When it leads no more, what it was doing is dropped where it stands: every step
//! is a transaction that is committed or not, and locks the rows that it is about, so that two nodes that both believe
//! to lead for a moment do nothing twice.

use std::pin::Pin;

use super::Ownership;

/// Something that goes on for ever, or until it is done.
pub(crate) type Chore = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Does chores while this node leads.
#[derive(Clone)]
pub(crate) struct Chores(pub(crate) Ownership);

impl Chores {
    /// Does what `start` begins, from its beginning whenever this node comes to lead.
    pub(crate) async fn run(self, start: Box<dyn Fn() -> Chore + Send>) {
        loop {
            self.0.until_leads(true).await;
            let mut chore = start();
            tokio::select! {
                () = &mut chore => self.0.until_leads(false).await,
                () = self.0.until_leads(false) => {}
            }
        }
    }
}
