// The ten fullest owners of all roles.

import { badge, meter, row, say, sayHot, sayName, setBadge, setMeter, table } from './dom.js';
import { count, duration, limit as limitText, percent } from './format.js';

const MOST = 10;
/** From then on it is said that nobody was taken out, instead of how long one waits. */
const STALLED_MS = 60000;

const make = () => row([
  { tag: 'th', kind: 'name', field: 'process' },
  { kind: 'name', field: 'role' },
  { kind: 'mid', field: 'kind' },
  { child: badge() },
  { field: 'utilization', child: meter() },
  { kind: 'n mid', field: 'depth' },
  { kind: 'n mid', field: 'limit' },
  { kind: 'n words mid', field: 'wait' },
]);

const update = (element, owner) => {
  const [process, role, kind, status, full, depth, limit, wait] = element.cells;
  sayName(process, owner.process);
  sayName(role, owner.role);
  say(kind, owner.kind);
  setBadge(status.firstChild, owner.status);
  setMeter(full.firstChild, owner.utilization, owner.status, percent(owner.utilization));
  say(depth, count(owner.depth));
  say(limit, limitText(owner.limit));
  const stalled = owner.stalled_ms >= STALLED_MS;
  sayHot(wait, stalled ? `stalled ${duration(owner.stalled_ms)}` : duration(owner.wait_ms), stalled);
};

export const renderOwners = ({ snapshot: { fullest } }) => {
  const rows = (fullest ?? []).slice(0, MOST).map((owner, i) => [i, owner]);
  table('owners', rows, ([i]) => i, make, (child, [, owner]) => update(child, owner),
    fullest ? 'No process owns a queue.' : 'Waiting for the first owners.');
};
