//! Aliases as numbers: a reference is boxed and cannot be kept as a word, so its external format is read and written.

use erlmcp_core::aliases::AliasId;
use rustler::{Env, Term};

use crate::external::{self, Node};
pub(crate) use crate::external::{Reference, owner};

/// Reads a reference; `None` if the term is none.
pub(crate) fn read(term: Term<'_>) -> Option<Reference> {
    if !term.is_ref() {
        return None;
    }
    let bytes = term.to_binary();
    with_own_node(term.get_env(), |node| external::read(&bytes, node))?
}

/// The reference that an alias of this node is.
pub(crate) fn write(env: Env<'_>, alias: AliasId) -> Option<Term<'_>> {
    let bytes = with_own_node(env, |node| external::write(alias, node))?;
    env.binary_to_term(&bytes).map(|(term, _)| term)
}

/// Runs `operation` on this node.
fn with_own_node<T>(env: Env<'_>, operation: impl FnOnce(Node<'_>) -> T) -> Option<T> {
    let bytes = crate::term::own_pid(env).to_binary();
    Node::of_pid(&bytes).map(operation)
}
