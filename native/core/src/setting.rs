//! A value that configuration gives, unless somebody has set it by hand.

use std::marker::PhantomData;

use crate::sync::{AtomicU64, Mutex, Ordering};

/// A word is a value that fits into one machine word, so that it can be read in one step. [`Setting`] has an example.
pub trait Word: Copy {
    /// Makes a word of the value.
    fn to_word(self) -> u64;

    /// Makes the value of a word.
    fn from_word(word: u64) -> Self;
}

impl Word for u64 {
    fn to_word(self) -> u64 {
        self
    }

    fn from_word(word: u64) -> Self {
        word
    }
}

impl Word for bool {
    fn to_word(self) -> u64 {
        u64::from(self)
    }

    fn from_word(word: u64) -> Self {
        word != 0
    }
}

/// `u64::MAX` stands for none, and so cannot be told from it.
impl Word for Option<u64> {
    fn to_word(self) -> u64 {
        self.unwrap_or(u64::MAX)
    }

    fn from_word(word: u64) -> Self {
        match word {
            u64::MAX => None,
            word => Some(word),
        }
    }
}

/// A setting is a value that configuration gives, unless somebody has set it by hand: then that holds, whatever is
/// configured, until it is reset.
///
/// Reading is one relaxed load. Changes may race: of a value set by hand and a configuration at the same time, the
/// one that was set by hand holds afterwards.
///
/// ```
/// use erlmcp_core::setting::Setting;
///
/// let limit = Setting::new(1_000_u64);
/// limit.configure(500);
/// assert_eq!(limit.get(), 500);
/// limit.set(20);
/// limit.configure(400);
/// assert_eq!(limit.get(), 20);
/// limit.reset(1_000);
/// limit.configure(400);
/// assert_eq!(limit.get(), 400);
/// ```
#[derive(Debug)]
pub struct Setting<T> {
    /// The value that holds, as a word. Written under the lock: otherwise the older of two changes could write last.
    now: AtomicU64,
    by_hand: Mutex<bool>,
    value: PhantomData<T>,
}

impl<T: Word> Setting<T> {
    /// Makes a setting that is configured like this, and not set by hand.
    pub fn new(configured: T) -> Self {
        Self {
            now: AtomicU64::new(configured.to_word()),
            by_hand: Mutex::new(false),
            value: PhantomData,
        }
    }

    /// Gives the value that holds now.
    ///
    /// A relaxed load does: whoever knows that the value was changed was told by something that ordered the change
    /// before this.
    pub fn get(&self) -> T {
        T::from_word(self.now.load(Ordering::Relaxed))
    }

    /// Takes a value from configuration, which holds unless one was set by hand.
    pub fn configure(&self, value: T) {
        let by_hand = self.by_hand.lock();
        if !*by_hand {
            self.hold(value);
        }
    }

    /// Sets the value by hand.
    pub fn set(&self, value: T) {
        let mut by_hand = self.by_hand.lock();
        *by_hand = true;
        self.hold(value);
    }

    /// Begins anew: from now on it is configured like this, and not set by hand.
    pub fn reset(&self, configured: T) {
        let mut by_hand = self.by_hand.lock();
        *by_hand = false;
        self.hold(configured);
    }

    fn hold(&self, value: T) {
        self.now.store(value.to_word(), Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn set_by_hand_wins_until_the_reset() {
        let setting = Setting::new(false);
        setting.configure(true);
        assert!(setting.get());
        setting.set(false);
        setting.configure(true);
        assert!(!setting.get());
        setting.reset(true);
        assert!(setting.get());
        setting.configure(false);
        assert!(!setting.get());
    }

    #[test]
    fn none_is_a_value_too() {
        let setting = Setting::new(Some(7));
        setting.configure(None);
        assert_eq!(setting.get(), None);
        setting.set(None);
        setting.configure(Some(0));
        assert_eq!(setting.get(), None);
        setting.reset(Some(0));
        assert_eq!(setting.get(), Some(0));
    }
}
