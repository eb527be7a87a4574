//! The concurrent map of this crate: papaya's, or in a model a small one of the same promises.
//!
//! A look-up takes no lock. What was found can be looked at as long as the map is pinned, taken out meanwhile or not.

#[cfg(loom)]
pub(crate) use self::model::{Map, new, remove_this, tidy, together};
#[cfg(not(loom))]
pub(crate) use self::native::{Map, new, remove_this, tidy, together};

pub(crate) trait Key: Clone + Eq + std::hash::Hash + Send + Sync + 'static {}

impl<T: Clone + Eq + std::hash::Hash + Send + Sync + 'static> Key for T {}

pub(crate) trait Value: Send + Sync + 'static {}

impl<T: Send + Sync + 'static> Value for T {}

#[cfg(not(loom))]
mod native {
    use std::sync::Arc;

    use foldhash::fast::RandomState;
    use papaya::{Guard, HashMap};
    use seize::Collector;

    use super::{Key, Value};

    pub(crate) type Map<K, V> = HashMap<K, V, RandomState>;

    pub(crate) fn new<K, V>() -> Map<K, V> {
        HashMap::with_hasher(RandomState::default())
    }

    /// Maps that share what protects readers: to look into one of many costs what it costs in a single one. `batch` is
    /// how much each thread takes out before it is freed.
    pub(crate) fn together<K: Key, V: Value, const MAPS: usize>(batch: usize) -> [Map<K, V>; MAPS] {
        let collector = Arc::new(Collector::new().batch_size(batch));
        std::array::from_fn(|_| {
            HashMap::builder()
                .shared_collector(Arc::clone(&collector))
                .hasher(RandomState::default())
                .build()
        })
    }

    /// Takes out just this value, where there may be a new one already. False if it was not there any more.
    pub(crate) fn remove_this<K: Key, V: Value>(map: &Map<K, V>, key: &K, value: &V) -> bool {
        let is_this = |_: &K, found: &V| std::ptr::eq(found, value);
        matches!(map.pin().remove_if(key, is_this), Ok(Some(_)))
    }

    /// Makes room for more, and ends a growth that is under way: both make look-ups long.
    pub(crate) fn tidy<K: Key, V: Value>(map: &Map<K, V>) {
        let guard = map.guard();
        map.reserve(0, &guard);
        // Making an iterator is what completes a growth.
        let _ = map.iter(&guard);
        // What was outgrown would wait for more to be taken out by this thread, which seldom does.
        guard.flush();
    }
}

/// A key's value is one atomic word, as it is in papaya's table, with papaya's orderings. What was taken out is freed
/// with the map, so that whoever has found it may look on.
#[cfg(loom)]
mod model {
    use std::sync::OnceLock;

    use loom::sync::atomic::{AtomicUsize, Ordering};
    use once_cell::race::OnceBox;

    use super::{Key, Value};

    /// More than the models have.
    const KEYS: usize = 4;
    const NONE: usize = 0;

    #[derive(Debug)]
    pub(crate) struct Map<K, V>([Place<K, V>; KEYS]);

    #[derive(Debug)]
    struct Place<K, V> {
        key: OnceLock<K>,
        /// Which of the values that were ever here is the one, counted from 1.
        current: AtomicUsize,
        values: OnceBox<Node<V>>,
    }

    #[derive(Debug)]
    struct Node<V> {
        value: V,
        next: OnceBox<Node<V>>,
    }

    /// Somebody else's value is there.
    pub(crate) struct Occupied<'m, V> {
        pub(crate) current: &'m V,
    }

    pub(crate) fn new<K, V>() -> Map<K, V> {
        Map(std::array::from_fn(|_| Place {
            key: OnceLock::new(),
            current: AtomicUsize::new(NONE),
            values: OnceBox::new(),
        }))
    }

    pub(crate) fn together<K, V, const MAPS: usize>(_batch: usize) -> [Map<K, V>; MAPS] {
        std::array::from_fn(|_| new())
    }

    pub(crate) fn tidy<K, V>(_: &Map<K, V>) {}

    pub(crate) fn remove_this<K: Key, V: Value>(map: &Map<K, V>, key: &K, value: &V) -> bool {
        map.remove_if(key, |_, found| std::ptr::eq(found, value))
            .is_some()
    }

    impl<K: Key, V: Value> Map<K, V> {
        pub(crate) fn pin(&self) -> &Self {
            self
        }

        pub(crate) fn len(&self) -> usize {
            self.iter().count()
        }

        pub(crate) fn get(&self, key: &K) -> Option<&V> {
            self.place(key).get()
        }

        pub(crate) fn contains_key(&self, key: &K) -> bool {
            self.get(key).is_some()
        }

        pub(crate) fn insert(&self, key: K, value: V) -> Option<&V> {
            let place = self.place(&key);
            let number = place.keep(value);
            place.value(place.current.swap(number, Ordering::AcqRel))
        }

        pub(crate) fn try_insert(&self, key: K, value: V) -> Result<&V, Occupied<'_, V>> {
            let place = self.place(&key);
            if let Some(current) = place.get() {
                return Err(Occupied { current });
            }
            let number = place.keep(value);
            match place.replace(NONE, number) {
                Ok(new) => new.ok_or_else(|| unreachable!("it was just kept")),
                Err(Some(current)) => Err(Occupied { current }),
                Err(None) => unreachable!("it was none"),
            }
        }

        pub(crate) fn get_or_insert_with(&self, key: K, make: impl FnOnce() -> V) -> &V {
            match self.get(&key) {
                Some(known) => known,
                None => match self.try_insert(key, make()) {
                    Ok(value) | Err(Occupied { current: value }) => value,
                },
            }
        }

        pub(crate) fn remove(&self, key: &K) -> Option<&V> {
            let place = self.place(key);
            place.value(place.current.swap(NONE, Ordering::AcqRel))
        }

        pub(crate) fn remove_if(&self, key: &K, wanted: impl Fn(&K, &V) -> bool) -> Option<&V> {
            let place = self.place(key);
            loop {
                let number = place.current.load(Ordering::Acquire);
                let value = place.value(number).filter(|value| wanted(key, value))?;
                if place.replace(number, NONE).is_ok() {
                    return Some(value);
                }
            }
        }

        pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
            self.0
                .iter()
                .filter_map(|place| place.key.get().zip(place.get()))
        }

        pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
            self.iter().map(|(key, _)| key)
        }

        pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
            self.iter().map(|(_, value)| value)
        }

        pub(crate) fn clear(&self) {
            for place in &self.0 {
                place.current.store(NONE, Ordering::Release);
            }
        }

        fn place(&self, key: &K) -> &Place<K, V> {
            self.0
                .iter()
                .find(|place| place.key.get_or_init(|| key.clone()) == key)
                .unwrap_or_else(|| panic!("a model has at most {KEYS} keys"))
        }
    }

    impl<K, V> Place<K, V> {
        fn get(&self) -> Option<&V> {
            self.value(self.current.load(Ordering::Acquire))
        }

        /// The new value, or the one that is there instead.
        fn replace(&self, current: usize, new: usize) -> Result<Option<&V>, Option<&V>> {
            self.current
                .compare_exchange(current, new, Ordering::Release, Ordering::Acquire)
                .map(|_| self.value(new))
                .map_err(|found| self.value(found))
        }

        fn value(&self, number: usize) -> Option<&V> {
            let nodes = std::iter::successors(self.values.get(), |node| node.next.get());
            let place = number.checked_sub(1)?;
            nodes.map(|node| &node.value).nth(place)
        }

        /// Its number. Only one thread of a model runs at a time, and none is stopped in here.
        fn keep(&self, value: V) -> usize {
            let (mut end, mut number) = (&self.values, 1);
            while let Some(node) = end.get() {
                (end, number) = (&node.next, number + 1);
            }
            let next = OnceBox::new();
            assert!(end.set(Box::new(Node { value, next })).is_ok());
            number
        }
    }
}
