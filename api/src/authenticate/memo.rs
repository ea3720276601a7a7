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
    kept: Mutex<Kept<K, V>>,
}

#[derive(Debug)]
struct Kept<K, V> {
    /// Grows whenever everything is forgotten.
    age: Age,
    entries: HashMap<K, (Instant, V)>,
}

/// What was read before everything was forgotten may be wrong by now, and is told by this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Age(u64);

impl<K: Eq + Hash, V: Clone> Memo<K, V> {
    /// One whose values are good for `fresh`.
    pub(super) fn new(fresh: Duration) -> Self {
        Self { fresh, kept: Mutex::new(Kept { age: Age::default(), entries: HashMap::new() }) }
    }

    /// To be asked before a value is read, and given when it is [`Memo::put`].
    pub(super) fn age(&self) -> Age {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).age
    }

    /// Forgets everything, also what is being read now.
    pub(super) fn clear(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.age.0 += 1;
        kept.entries.clear();
    }

    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (read_at, value) = kept.entries.get(key)?;
        (read_at.elapsed() < self.fresh).then(|| value.clone())
    }

    /// Keeps what was read at `age`.
    pub(super) fn put(&self, age: Age, key: K, value: V) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.age != age {
            return;
        }
        let entries = &mut kept.entries;
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
        memo.put(memo.age(), "a".to_owned(), 1);
        assert_eq!((memo.get("a"), memo.get("b")), (Some(1), None));
        for number in 0..2 * ENTRIES_MAX {
            memo.put(memo.age(), number.to_string(), number);
        }
        assert!(memo.kept.lock().is_ok_and(|kept| kept.entries.len() <= ENTRIES_MAX));

        let stale = Memo::new(Duration::ZERO);
        stale.put(stale.age(), "a".to_owned(), 1);
        assert_eq!(stale.get("a"), None);
    }
    #[tokio::test]
    async fn what_was_read_before_everything_was_forgotten_is_not_kept() {
        let memo = Memo::new(Duration::from_secs(3_600));
        let age = memo.age();
        memo.put(age, "a".to_owned(), 1);
        memo.clear();
        assert_eq!(memo.get("a"), None);
        memo.put(age, "a".to_owned(), 1);
        assert_eq!(memo.get("a"), None);
        memo.put(memo.age(), "a".to_owned(), 2);
        assert_eq!(memo.get("a"), Some(2));
    }
}
