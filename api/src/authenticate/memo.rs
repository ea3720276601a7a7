//! What was read a moment ago.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Most entries; beyond it the old ones are dropped, and if none is old, all.
const ENTRIES_MAX: usize = 10_000;

/// Values by key, each for a short while.
#[derive(Debug)]
pub(super) struct Memo<K, V> {
    fresh: Duration,
    entries: Mutex<HashMap<K, (Instant, V)>>,
}

impl<K: Eq + Hash, V: Clone> Memo<K, V> {
    /// One whose values are good for `fresh`.
    pub(super) fn new(fresh: Duration) -> Self {
        Self { fresh, entries: Mutex::default() }
    }

    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (read_at, value) = entries.get(key)?;
        (read_at.elapsed() < self.fresh).then(|| value.clone())
    }

    pub(super) fn put(&self, key: K, value: V) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ENTRIES_MAX {
            entries.retain(|_, (read_at, _)| read_at.elapsed() < self.fresh);
        }
        if entries.len() >= ENTRIES_MAX {
            entries.clear();
        }
        entries.insert(key, (Instant::now(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_value_is_kept_for_a_while_and_their_number_is_bounded() {
        let memo = Memo::new(Duration::from_secs(3_600));
        memo.put("a".to_owned(), 1);
        assert_eq!((memo.get("a"), memo.get("b")), (Some(1), None));
        for number in 0..2 * ENTRIES_MAX {
            memo.put(number.to_string(), number);
        }
        assert!(memo.entries.lock().is_ok_and(|entries| entries.len() <= ENTRIES_MAX));

        let stale = Memo::new(Duration::ZERO);
        stale.put("a".to_owned(), 1);
        assert_eq!(stale.get("a"), None);
    }
}
