// Breakers that are open, or changed while the page looked.

import { $, Table, counting, naming, say } from './dom.js';
import { clock, plural } from './format.js';

const MOST = 12;

const began = ({ seen, since, firstAt }) => {
  if (since !== null) return clock(since);
  return seen === firstAt ? 'before this page was opened' : `before ${clock(seen)}`;
};

const table = new Table('breakers', [
  naming('Role', 'role'),
  {
    title: 'State', kind: 'n', field: 'state',
    text: ({ open }) => (open ? 'open' : 'closed'), hot: ({ open }) => open,
  },
  { title: 'Since', kind: 'n words', field: 'since', text: began },
  counting('Changes', 'changes'),
]);

export const renderBreakers = ({ breakers, firstAt }) => {
  const all = [...breakers].map(([role, breaker]) => ({ role, firstAt, ...breaker }))
    .filter(({ open, changes }) => open || changes > 0)
    .sort((a, b) => Number(b.open) - Number(a.open) || (b.since ?? 0) - (a.since ?? 0) || (a.role < b.role ? -1 : 1));
  const open = all.filter((each) => each.open).length;
  table.draw(all.slice(0, MOST), ({ role }) => role, 'None is open, and none has changed while this page was open.');
  say($('breakers-note'), open > 0 ? `${plural(open, 'breaker')} open` : 'all closed');
};
