//! References as bytes of the external term format. Nothing here knows of a runtime, so that a test can feed it bytes
//! that no runtime would send.
//!
//! The format is documented: tag 90, the number of 32-bit words, the node, its creation, the words. That an alias
//! has five words, of which the last two are the word of its process's pid, is not; a test looks after it on each
//! runtime.

use erlmcp_core::OwnerId;
use erlmcp_core::aliases::AliasId;

const VERSION: u8 = 131;
const NEWER_REFERENCE: u8 = 90;
const NEW_PID: u8 = 88;
const PID_WORDS: usize = 8;
const CREATION: usize = 4;
const ALIAS_WORDS: u16 = 5;

/// What a reference is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// An alias made by a process of this node, of whatever kind.
    Alias(AliasId),
    /// An alias of another node, or of this one in an earlier life.
    Foreign,
    /// No alias.
    Plain,
}

/// A node, by its name and creation as they stand in its pids and references.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node<'b> {
    name: &'b [u8],
    creation: &'b [u8],
}

impl<'b> Node<'b> {
    /// The node that a pid is of; `None` if the bytes are no pid.
    pub(crate) fn of_pid(bytes: &'b [u8]) -> Option<Self> {
        let pid = bytes.strip_prefix(&[VERSION, NEW_PID])?;
        let (rest, creation) = pid.split_last_chunk::<CREATION>()?;
        let (name, _) = rest.split_last_chunk::<PID_WORDS>()?;
        Some(Self { name, creation })
    }

    fn is_at(self, bytes: &[u8]) -> bool {
        bytes.strip_prefix(self.name) == Some(self.creation)
    }
}

/// Reads a reference; `None` if the bytes are none.
pub(crate) fn read(bytes: &[u8], own: Node<'_>) -> Option<Reference> {
    let (tag, rest) = bytes.split_first_chunk::<2>()?;
    let (words, rest) = rest.split_first_chunk::<2>()?;
    if *tag != [VERSION, NEWER_REFERENCE] || u16::from_be_bytes(*words) != ALIAS_WORDS {
        return Some(Reference::Plain);
    }
    let (node, words) = rest.split_last_chunk::<{ 4 * ALIAS_WORDS as usize }>()?;
    let mut id = [0; ALIAS_WORDS as usize];
    for (word, bytes) in id.iter_mut().zip(words.chunks_exact(4)) {
        *word = u32::from_be_bytes(bytes.try_into().ok()?);
    }
    Some(if own.is_at(node) {
        Reference::Alias(AliasId(id))
    } else {
        Reference::Foreign
    })
}

/// The bytes of the reference that an alias of this node is.
pub(crate) fn write(AliasId(words): AliasId, own: Node<'_>) -> Vec<u8> {
    let mut bytes = vec![VERSION, NEWER_REFERENCE];
    bytes.extend(ALIAS_WORDS.to_be_bytes());
    bytes.extend(own.name);
    bytes.extend(own.creation);
    bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    bytes
}

/// The process that an alias belongs to.
pub(crate) fn owner(AliasId([_, _, _, low, high]): AliasId) -> OwnerId {
    OwnerId(u64::from(low) | u64::from(high) << 32)
}
