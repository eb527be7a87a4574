// A role: why it refuses, who has what waits, for what it refused, how long it was at each level, its alerts.

import { address } from './address.js';
import { $, Table, attribute, badge, counting, h, meter, say, sayPlace, setBadge, setMeter } from './dom.js';
import { clock, count, duration, of, percent, plural, rate } from './format.js';
import { isStuck } from './model.js';
import { CLOSED, REASONS } from './verdict.js';

const MOST = 100;
const MOST_ALERTS = 20;
const LEVELS = ['ok', 'warning', 'critical', 'overload'];
const WINDOWS = [['last minute', 'last_minute'], ['last hour', 'last_hour'], ['since start', 'since_start']];

/** What an owner does with what waits, in words. @returns {[string, boolean]} and whether that stands out */
export const progress = ({ depth, stalled_ms: still, wait_ms: wait, drain_per_s: pace, kind }) => {
  if (kind === 'mailbox') return ['its mailbox, as long as it is', false];
  if (depth === 0) return ['nothing waits', false];
  if (isStuck(still)) return [`stuck: nobody was taken out for ${duration(still)}`, true];
  if ((wait ?? null) === null) return ['drains, how fast is not known yet', false];
  return [`one that comes waits ${duration(wait)}; ${rate(pace)}/s leave`, false];
};

const who = (role) => ({
  title: 'Owner', tag: 'th', kind: 'name', child: () => h('a', { 'data-field': 'process' }),
  show: ({ firstChild: link }, { process }) => {
    sayPlace(link, process);
    attribute(link, 'href', address('owner', process, role()));
  },
});

export class RoleView {
  #role = null;
  #owners = new Table('role-owners', [
    who(() => this.#role),
    { title: 'Status', child: badge, show: ({ firstChild }, { status }) => setBadge(firstChild, status) },
    {
      title: 'Full', field: 'utilization', child: meter, kind: 'mid',
      show: ({ firstChild }, row) => setMeter(firstChild, row.utilization, row.status, percent(row.utilization)),
    },
    { title: 'Depth', kind: 'n', field: 'depth', text: ({ depth, limit }) => of(depth, limit) },
    { title: 'Pace', field: 'progress', text: (row) => progress(row)[0], hot: (row) => progress(row)[1] },
  ]);
  #refusals = new Table('role-refusals', [
    { title: 'Class', tag: 'th', field: 'class', text: (row) => row.class },
    { title: 'Why', field: 'why', text: ({ reason }) => REASONS[reason] ?? reason },
    counting('Refused', 'refused'),
  ]);
  #levels = new Table('role-levels', [
    { title: 'Time', tag: 'th', text: ({ title }) => title },
    ...LEVELS.map((level) => ({
      title: level, kind: 'n', field: level, text: ({ times }) => (times[level] > 0 ? duration(times[level]) : '–'),
    })),
  ]);
  #alerts = new Table('role-alerts', [
    { title: 'Raised', tag: 'th', field: 'timestamp', text: ({ timestamp }) => clock(timestamp) },
    { title: 'Level', child: badge, show: ({ firstChild }, { level }) => setBadge(firstChild, level) },
    who(() => this.#role),
    { title: 'Depth', kind: 'n mid', field: 'depth', text: ({ depth, limit }) => of(depth, limit) },
    {
      title: 'Now', field: 'state',
      text: ({ state, clearedAt }) => (state !== 'cleared' ? (state === 'holds' ? 'holds' : 'not sure if it holds')
        : clearedAt === null ? 'cleared' : `cleared ${clock(clearedAt)}`),
    },
  ]);

  constructor(again) {
    let soon = null;
    $('role-text').addEventListener('input', () => {
      clearTimeout(soon);
      soon = setTimeout(again, 200);
    });
    $('role-by').addEventListener('change', again);
  }

  enter() {
    $('role-text').value = '';
  }

  urls({ value }) {
    const role = encodeURIComponent(value);
    const text = $('role-text').value.trim();
    return {
      why: `api/why?role=${role}`,
      owners: `api/queues?role=${role}&top=${MOST}&by=${$('role-by').value}${
        text === '' ? '' : `&text=${encodeURIComponent(text)}`}`,
    };
  }

  render({ roles, alerts: { entries } }, { value }, { why, owners }) {
    this.#role = value;
    const role = roles.find((each) => each.role === value);
    const rows = (owners?.queues ?? []).map((row, place) => ({ ...row, place }))
      .filter(({ process, depth }) => process !== value || depth > 0);
    this.#owners.draw(rows, ({ place }) => place, owners?.error ?? (owners
      ? ($('role-text').value.trim() ? 'None of the first 1000 has that in its name.' : 'Nobody owns a queue.')
      : 'Asking the node.'));
    const all = role?.owners ?? rows.length;
    say($('role-owners-note'), rows.length < all ? `${count(rows.length)} of ${count(all)}` : plural(all, 'owner'));
    this.#refusals.draw((role?.refused_by ?? []).filter(({ refused }) => refused > 0),
      (row) => `${row.class} ${row.reason}`, 'Nothing has been refused.');
    const times = role?.ms_at_level ?? {};
    this.#levels.draw(WINDOWS.filter(([, window]) => times[window])
      .map(([title, window]) => ({ title, times: times[window] })), ({ title }) => title, 'No time was measured.');
    this.#alerts.draw(entries.filter((entry) => entry.role === value).slice(0, MOST_ALERTS), ({ id }) => id,
      'No alert is remembered.');
    const gone = role ? '' : 'not used now';
    return {
      level: role?.state ?? null,
      note: role?.closed ? CLOSED : role ? `${plural(role.owners, 'owner')}, breaker ${role.breaker}` : gone,
      verdict: why && (why.error ?? why.verdict),
      lines: why?.lines ?? [],
    };
  }
}
