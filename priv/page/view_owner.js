// An owner: what its process is and what it is doing, what waits for it in each role, and why it is refused.

import { address } from './address.js';
import { $, Table, attribute, fields, h, list, say, sayName, show, stats } from './dom.js';
import { bytes, count, name, of } from './format.js';
import { progress } from './view_role.js';

const text = (value) => (value === null || value === undefined ? '–' : name(value, 200));
const PROCESS = [
  ['Registered name', text, 'registered_name'],
  ['Label', text, 'label'],
  ['Started as', text, 'initial_call'],
  ['Is in', text, 'current_function'],
  ['Status', text, 'status'],
  ['Messages in its mailbox', count, 'message_queue_len'],
  ['Memory', bytes, 'memory_bytes'],
  ['Reductions a second', count, 'reductions_per_s'],
  ['Started by', text, 'parent'],
];

export class OwnerView {
  #queues = new Table('owner-queues', [
    {
      title: 'Role', tag: 'th', kind: 'name', child: () => h('a', { 'data-field': 'role' }),
      show: ({ firstChild: link }, { role }) => {
        sayName(link, role);
        attribute(link, 'href', address('role', role));
      },
    },
    { title: 'Kind', kind: 'mid', field: 'kind', text: ({ kind }) => kind },
    { title: 'Depth', kind: 'n', field: 'depth', text: ({ depth, limit }) => of(depth, limit) },
    { title: 'Pace', field: 'progress', text: (row) => progress(row)[0], hot: (row) => progress(row)[1] },
  ]);

  urls({ value, role }) {
    const owner = encodeURIComponent(value);
    const of = role === null ? '' : `&role=${encodeURIComponent(role)}`;
    return {
      owner: `api/owner?pid=${owner}${of}`,
      ...(role !== null && { why: `api/why?owner=${owner}${of}` }),
    };
  }

  render(_, { role }, { owner, why }) {
    const process = owner?.process;
    show($('owner-process'), Boolean(process));
    stats($('owner-process'), process ? fields(process, PROCESS) : []);
    show($('owner-where'), Boolean(process?.stack?.length));
    list($('owner-stack'), (process?.stack ?? []).map((call, place) => ({ call, place })), ({ place }) => place,
      () => h('li'), (child, { call }) => say(child, name(call, 200)));
    this.#queues.draw(owner?.queues ?? [], ({ role: of }) => of,
      owner?.error ?? (owner ? 'Nothing waits for it in any role.' : 'Asking the node.'));
    const said = why && (why.error ?? why.verdict);
    return {
      note: role === null ? '' : `in ${name(role, 64)}`,
      verdict: owner && (owner.error ?? `${owner.owner}: ${owner.words}.`),
      lines: said ? [{ name: 'verdict', words: said }, ...(why.lines ?? [])] : [],
    };
  }
}
