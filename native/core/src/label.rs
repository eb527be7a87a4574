//! A term in bytes: the key of a bucket, the id of a token, or why a task was cancelled.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// So many bytes lie in the label itself; more are kept apart.
const INLINE: usize = 37;
/// To copy more than so many takes long.
const LONG: usize = 65_536;

/// A label is a term as the host has written it down. Equal terms are written alike, and others are not, so that labels
/// can be compared instead; the tag is the host's, and says how to read it. To clone one takes no time, however long it
/// is.
///
/// ```
/// use erlmcp_core::Label;
///
/// let (name, number) = (Label::new(2, b"7"), Label::new(1, &7_u64.to_le_bytes()));
/// assert_ne!(name, number);
/// assert_eq!((name.tag(), name.bytes()), (2, b"7".as_slice()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label(Text);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Text {
    Short {
        tag: u8,
        length: u8,
        bytes: [u8; INLINE],
    },
    Long {
        tag: u8,
        bytes: Arc<[u8]>,
    },
}

impl Label {
    /// Makes one of bytes, which are copied.
    #[inline(always)]
    pub fn new(tag: u8, text: &[u8]) -> Self {
        let mut bytes = [0; INLINE];
        Self(
            match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
                (Some(place), Ok(length)) => {
                    place.copy_from_slice(text);
                    Text::Short { tag, length, bytes }
                }
                _ => {
                    let bytes = text.into();
                    Text::Long { tag, bytes }
                }
            },
        )
    }

    /// Returns its tag.
    #[inline]
    pub fn tag(&self) -> u8 {
        match self.0 {
            Text::Short { tag, .. } | Text::Long { tag, .. } => tag,
        }
    }

    /// Returns the bytes that it was made of.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Text::Short { length, bytes, .. } => {
                bytes.get(..usize::from(*length)).unwrap_or_default()
            }
            Text::Long { bytes, .. } => bytes,
        }
    }

    /// Tells whether it has so many bytes that to make or to copy them is nothing for in between.
    ///
    /// ```
    /// use erlmcp_core::Label;
    ///
    /// let long = |length| Label::new(0, &vec![0; length]).is_long();
    /// assert!(!long(65_536) && long(65_537));
    /// ```
    pub fn is_long(&self) -> bool {
        self.bytes().len() > LONG
    }

    /// How many bytes it has elsewhere.
    pub(crate) fn heap(&self) -> usize {
        // Beside them lie two counts.
        const COUNTS: usize = 2 * size_of::<usize>();
        match &self.0 {
            Text::Short { .. } => 0,
            Text::Long { bytes, .. } => bytes.len().saturating_add(COUNTS),
        }
    }
}

/// Only what it was made of.
impl Hash for Label {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u8(self.tag());
        self.bytes().hash(state);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn labels_are_equal_where_tag_and_bytes_are() {
        for length in [0, 1, INLINE - 1, INLINE, INLINE + 1, 300] {
            let text = vec![7; length];
            let label = Label::new(1, &text);
            assert_eq!((label.tag(), label.bytes()), (1, text.as_slice()));
            let elsewhere = if length > INLINE { length + 16 } else { 0 };
            assert_eq!(label.heap(), elsewhere);
            assert_eq!(label, Label::new(1, &text));
            assert_ne!(label, Label::new(2, &text));
            assert_ne!(label, Label::new(1, &vec![7; length + 1]));
            let mut other = text.clone();
            if let Some(last) = other.last_mut() {
                *last += 1;
                assert_ne!(label, Label::new(1, &other));
            }
        }
        assert_ne!(Label::new(1, &[0]), Label::new(1, &[0, 0]));
    }

    #[test]
    fn a_clone_has_the_same_bytes_and_not_a_copy() {
        let label = Label::new(1, &[7; 300]);
        assert!(std::ptr::eq(label.bytes(), label.clone().bytes()));
    }
}
