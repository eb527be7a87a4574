//! Aliases as numbers, read from and written to the external term format.
//!
//! A reference is boxed and cannot be kept as a word. Its external format is documented: tag 90, the number
//! of 32-bit words, the node, its creation, the words. That an alias has five words, of which the last two
//! are the word of its process's pid, is not; a test looks after it on each runtime.

use erlmcp_core::OwnerId;
use erlmcp_core::aliases::AliasId;
use rustler::{Env, Term};

const VERSION: u8 = 131;
const NEWER_REFERENCE: u8 = 90;
const NEW_PID: u8 = 88;
const PID_WORDS: usize = 8;
const CREATION: usize = 4;
const ALIAS_WORDS: u16 = 5;

/// What a reference is.
pub(crate) enum Reference {
    /// An alias made by a process of this node, of whatever kind.
    Alias(AliasId),
    /// An alias of another node, or of this one in an earlier life.
    Foreign,
    /// No alias.
    Plain,
}

/// Reads a reference; `None` if the term is none.
pub(crate) fn read(term: Term<'_>) -> Option<Reference> {
    if !term.is_ref() {
        return None;
    }
    let bytes = term.to_binary();
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
    let mine = with_own_node(term.get_env(), |atom, creation| {
        node.strip_prefix(atom) == Some(creation)
    })?;
    Some(if mine {
        Reference::Alias(AliasId(id))
    } else {
        Reference::Foreign
    })
}

/// The reference that an alias of this node is.
pub(crate) fn write(env: Env<'_>, AliasId(words): AliasId) -> Option<Term<'_>> {
    let bytes = with_own_node(env, |atom, creation| {
        let mut bytes = vec![VERSION, NEWER_REFERENCE];
        bytes.extend(ALIAS_WORDS.to_be_bytes());
        bytes.extend(atom);
        bytes.extend(creation);
        bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        bytes
    })?;
    env.binary_to_term(&bytes).map(|(term, _)| term)
}

/// The process that an alias belongs to.
pub(crate) fn owner(AliasId([_, _, _, low, high]): AliasId) -> OwnerId {
    OwnerId(u64::from(low) | u64::from(high) << 32)
}

/// Runs `operation` on this node's name and creation, as they stand in the external format.
fn with_own_node<T>(env: Env<'_>, operation: impl FnOnce(&[u8], &[u8]) -> T) -> Option<T> {
    let bytes = crate::term::own_pid(env).to_binary();
    let node = bytes.strip_prefix(&[VERSION, NEW_PID])?;
    let (rest, creation) = node.split_last_chunk::<CREATION>()?;
    let (atom, _) = rest.split_last_chunk::<PID_WORDS>()?;
    Some(operation(atom, creation))
}
