// The ten fullest owners of all roles.

import { address } from './address.js';
import { Table, attribute, badge, counting, h, meter, sayName, sayPlace, setBadge, setMeter } from './dom.js';
import { duration, limit, percent } from './format.js';
import { isStuck } from './model.js';

const MOST = 10;
const isStalled = ({ stalled_ms: ms }) => isStuck(ms);

const owners = new Table('owners', [
  {
    title: 'Process', tag: 'th', kind: 'name', child: () => h('a', { 'data-field': 'process' }),
    show: ({ firstChild: link }, { process, role }) => {
      sayPlace(link, process);
      attribute(link, 'href', address('owner', process, role));
    },
  },
  { title: 'Role', kind: 'name', field: 'role', show: (cell, { role }) => sayName(cell, role) },
  {
    title: 'Kind', about: 'What is limited: a count, or the mailbox itself', kind: 'mid', field: 'kind',
    text: ({ kind }) => kind,
  },
  { title: 'Status', child: badge, show: ({ firstChild }, { status }) => setBadge(firstChild, status) },
  {
    title: 'Full', field: 'utilization', child: meter,
    show: ({ firstChild }, { utilization, status }) => setMeter(firstChild, utilization, status, percent(utilization)),
  },
  counting('Depth', 'depth', 'mid'),
  { title: 'Limit', kind: 'n mid', field: 'limit', text: (owner) => limit(owner.limit) },
  {
    title: 'Wait', about: 'How long one waits that comes now', kind: 'n words mid', field: 'wait', hot: isStalled,
    text: (owner) => (isStalled(owner) ? `stalled ${duration(owner.stalled_ms)}` : duration(owner.wait_ms)),
  },
]);

export const renderOwners = ({ snapshot: { fullest } }) => owners.draw(
  (fullest ?? []).slice(0, MOST).map((owner, place) => ({ ...owner, place })), ({ place }) => place,
  fullest ? 'No process owns a queue.' : 'Waiting for the first owners.');
