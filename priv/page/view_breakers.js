// Breakers that are open, or changed while the page looked.

import { $, row, say, sayHot, sayName, table } from './dom.js';
import { clock, count, plural } from './format.js';

const MOST = 12;

const make = () => row([
  { tag: 'th', kind: 'name' },
  { kind: 'n', field: 'state' },
  { kind: 'n words', field: 'since' },
  { kind: 'n', field: 'changes' },
]);

const began = ({ seen, since }, firstAt) => {
  if (since !== null) return clock(since);
  return seen === firstAt ? 'before this page was opened' : `before ${clock(seen)}`;
};

const update = (element, [role, breaker], firstAt) => {
  const [title, state, from, times] = element.cells;
  sayName(title, role);
  sayHot(state, breaker.open ? 'open' : 'closed', breaker.open);
  say(from, began(breaker, firstAt));
  say(times, count(breaker.changes));
};

export const renderBreakers = ({ breakers, firstAt }) => {
  const all = [...breakers].filter(([, { open, changes }]) => open || changes > 0)
    .sort(([one, a], [other, b]) =>
      Number(b.open) - Number(a.open) || (b.since ?? 0) - (a.since ?? 0) || (one < other ? -1 : 1));
  const open = all.filter(([, each]) => each.open).length;
  table('breakers', all.slice(0, MOST), ([role]) => role, make,
    (child, breaker) => update(child, breaker, firstAt),
    'None is open, and none has changed while this page was open.');
  say($('breakers-note'), open > 0 ? `${plural(open, 'breaker')} open` : 'all closed');
};
