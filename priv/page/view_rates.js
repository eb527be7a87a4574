// How often clients may ask and who is refused for that, and what becomes of tasks that nobody waits for any more.

import { $, Table, counting, fields, naming, say, stats } from './dom.js';
import { count, of, plural, rate } from './format.js';
import { early, isCrowded, isRefusing } from './verdict.js';
import { refused } from './view_roles.js';

const MOST = 12;
const CANCELLED = [
  ['Tasks that can be cancelled', count, 'tokens'],
  ['Cancelled when asked', count, 'asked'],
  ['Before they began', count, 'early'],
  ['When their owner died', count, 'owner_down'],
  ['Forgotten for want of room', count, 'displaced'],
  ['Messages not sent yet', count, 'notices'],
  ['Messages given up', count, 'notices_dropped'],
];

const table = new Table('rates', [
  naming('Rate', 'name'),
  {
    title: 'Each key may', field: 'limit',
    text: ({ limit, period, burst }) => `${count(limit)} ${period === 'hour' ? 'an' : 'a'} ${period}${
      burst === limit ? '' : `, ${count(burst)} at once`}`,
  },
  { title: 'Keys', kind: 'n mid', field: 'keys', text: ({ keys, max_keys: most }) => of(keys, most), hot: isCrowded },
  { title: 'Taken', kind: 'n mid', field: 'taken_rate', text: ({ taken_per_s: each }) => `${rate(each)}/s` },
  refused,
  counting('Refused in total', 'refused', 'mid'),
]);

export const renderRates = ({ snapshot: { rates = [], cancel } }) => {
  const rows = rates.map((row) => ({ ...row, refusedRate: row.refused_per_s }))
    .sort((a, b) => b.refusedRate - a.refusedRate || b.keys / b.max_keys - a.keys / a.max_keys ||
      (a.name < b.name ? -1 : 1));
  table.draw(rows.slice(0, MOST), (row) => row.name, 'No rate is defined: clients may ask as often as they like.');
  say($('rates-note'), rows.length
    ? `${count(rows.filter(isRefusing).length)} of ${plural(rows.length, 'rate')} refuse, over the last 10 s` : '');
  say($('cancel-note'), cancel ? '' : 'The control plane is not started: no task can be cancelled.');
  stats($('cancel'), cancel ? [...fields({ ...cancel, ...cancel.cancelled }, CANCELLED),
    ['Remembered for tasks to come', early(cancel), 'tombstones']] : []);
};
