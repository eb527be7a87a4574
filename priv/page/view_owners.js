// The ten fullest owners of all roles.

import { badge, meter, row, say, sayName, setBadge, setMeter, table } from './dom.js';
import { count, limit as limitText, percent } from './format.js';

const MOST = 10;

const make = () => row([
  { tag: 'th', kind: 'name', field: 'process' },
  { kind: 'name', field: 'role' },
  { kind: 'mid', field: 'kind' },
  { child: badge() },
  { field: 'utilization', child: meter() },
  { kind: 'n mid', field: 'depth' },
  { kind: 'n mid', field: 'limit' },
]);

const update = (element, owner) => {
  const [process, role, kind, status, full, depth, limit] = element.cells;
  sayName(process, owner.process);
  sayName(role, owner.role);
  say(kind, owner.kind);
  setBadge(status.firstChild, owner.status);
  setMeter(full.firstChild, owner.utilization, owner.status, percent(owner.utilization));
  say(depth, count(owner.depth));
  say(limit, limitText(owner.limit));
};

export const renderOwners = ({ snapshot: { fullest } }) => {
  const rows = (fullest ?? []).slice(0, MOST).map((owner, i) => [i, owner]);
  table('owners', rows, ([i]) => i, make, (child, [, owner]) => update(child, owner),
    fullest ? 'No process owns a queue.' : 'Waiting for the first owners.');
};
