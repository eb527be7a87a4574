// The address of what is looked at, after the #, so that a link can be sent to a colleague.

const KINDS = ['owner', 'role', 'component', 'node'];

/** The address of a role, an owner, a component or a node. An owner may be that of a role. */
export const address = (kind, value, role) =>
  `#${kind}=${encodeURIComponent(value)}${role === undefined ? '' : `&role=${encodeURIComponent(role)}`}`;

/** @returns {{kind: string, value: string, role: string | null} | null} null: none of them, so all is shown */
export const parsed = (hash) => {
  const given = new URLSearchParams(hash.slice(1));
  const kind = KINDS.find((each) => given.get(each));
  return kind ? { kind, value: given.get(kind), role: given.get('role') } : null;
};
