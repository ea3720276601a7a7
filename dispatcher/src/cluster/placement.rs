//! Where shards belong: rendezvous hashing.
//!
//! Each node has a score for each shard, and the highest owns it. When a node comes, it gets its share from all of the
//! others; when one goes, its share is spread over all of them; nothing else moves.
//!
//! Source  Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998.

use angarium_entity::NodeId;
use xxhash_rust::xxh3::xxh3_64;

/// Where every shard belongs, for as long as the nodes are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Placement {
    nodes: Vec<NodeId>,
    owners: Vec<Option<NodeId>>,
}

impl Placement {
    /// Reckons again if the nodes are others.
    pub(super) fn follow(&mut self, nodes: Vec<NodeId>, shard_count: usize) {
        if self.nodes != nodes || self.owners.len() != shard_count {
            self.owners = (0..).take(shard_count).map(|shard| owner(shard, &nodes)).collect();
            self.nodes = nodes;
        }
    }

    /// The node that a shard belongs to; none if there is no node.
    pub(super) fn of(&self, shard: i32) -> Option<NodeId> {
        usize::try_from(shard).ok().and_then(|shard| self.owners.get(shard)).copied().flatten()
    }
}

fn owner(shard: i32, nodes: &[NodeId]) -> Option<NodeId> {
    nodes.iter().copied().max_by_key(|node| (score(*node, shard), *node))
}

fn score(node: NodeId, shard: i32) -> u64 {
    let mut name = [0; 20];
    name[..16].copy_from_slice(node.0.as_bytes());
    name[16..].copy_from_slice(&shard.to_le_bytes());
    xxh3_64(&name)
}

#[cfg(test)]
mod tests {
    use angarium_entity::{Timestamp, shard};

    use super::*;

    #[test]
    fn a_placement_follows_the_nodes() {
        let nodes: [NodeId; 2] = std::array::from_fn(|_| NodeId::new(Timestamp::from_millis(1)));
        let mut placement = Placement::default();
        placement.follow(nodes[..1].to_vec(), 8);
        assert!((0..8).all(|shard| placement.of(shard) == Some(nodes[0])));
        placement.follow(nodes.to_vec(), 8);
        assert!((0..8).all(|shard| placement.of(shard) == owner(shard, &nodes)));
        assert_eq!(placement.of(8), None);
    }

    #[test]
    fn a_node_that_comes_takes_its_share_and_nothing_moves_between_the_others() {
        let nodes: [NodeId; 4] = std::array::from_fn(|_| NodeId::new(Timestamp::from_millis(1)));
        let (mut moved, mut shares) = (0, [0; 4]);
        for shard in 0..shard::COUNT {
            let (before, after) = (owner(shard, &nodes[..3]), owner(shard, &nodes));
            if before != after {
                assert_eq!(after, Some(nodes[3]));
                moved += 1;
            }
            for (node, share) in nodes.iter().zip(&mut shares) {
                *share += i32::from(after == Some(*node));
            }
        }
        assert_eq!(moved, shares[3]);
        assert!(shares.iter().all(|share| (160..=360).contains(share)), "about a quarter each: {shares:?}");
        assert_eq!(owner(0, &[]), None);
    }
}
