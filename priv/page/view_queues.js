// Depth against limit over time: the six fullest roles side by side, or all there is about one.

import { $, attribute, badge, h, instead, list, say, sayName, setBadge, show, stats } from './dom.js';
import { TimeChart } from './chart.js';
import { bytes, clock, count, duration, name, of, percent, plural, rate } from './format.js';
import { CLOSED, noRoles } from './verdict.js';

const PANELS = 6;
/** A role stays among the fullest while it was one of them in so many samples. */
const RECENT = 30;

const LINES = [
  { colour: 'blue', fill: 'blue-fill' },
  { colour: 'overload', dash: [5, 4], width: 1 },
];
const MEAN = { colour: 'violet', dash: [2, 3], width: 1.25 };

const full = ({ fullest, limit, full: share, closed }) =>
  of(fullest, limit) + (limit === null ? '' : `, ${closed ? 'everything is refused' : percent(share)}`);

export class QueuesView {
  #detail;
  #names = [];

  /** @param {(role: string | null) => void} choose null: none */
  constructor(choose) {
    this.#detail = new TimeChart($('detail-chart'), [...LINES, MEAN], {
      readout: $('detail-at'),
      read: ([fullest, limit, mean]) => `fullest ${count(fullest)}, limit ${count(limit)}, mean ${rate(mean)}`,
    });
    $('role').addEventListener('change', ({ target: { selectedIndex: i } }) =>
      choose(i > 0 ? this.#names[i - 1] : null));
  }

  /** @param {string | null} missing why nothing is known of it, in words */
  render(model, chosen, missing) {
    this.#offer(model.roles, chosen);
    const role = model.roles.find((each) => each.role === chosen);
    show($('panels'), !role);
    show($('detail'), Boolean(role));
    if (role) this.#one(model, role);
    else this.#fullest(model);
    instead($('panels-empty'), model.roles.length === 0, missing ?? noRoles(model.snapshot));
  }

  #offer(roles, chosen) {
    const names = roles.map(({ role }) => role).sort();
    if (names.length !== this.#names.length || names.some((role, i) => role !== this.#names[i])) {
      this.#names = names;
      $('role').replaceChildren($('role').options[0], ...names.map((role) => new Option(name(role))));
    }
    const index = chosen === null ? 0 : names.indexOf(chosen) + 1;
    if ($('role').selectedIndex !== index) $('role').selectedIndex = index;
  }

  #fullest({ roles, history }) {
    const share = ({ role, limit, full: now }) =>
      limit === null ? 0 : Math.max(now, history.highest(`fullest ${role}`, RECENT) / Math.max(1, limit));
    const shown = roles
      .map((role) => [share(role), role])
      .sort(([a, one], [b, other]) => Math.floor(b * 20) - Math.floor(a * 20) || (one.role < other.role ? -1 : 1))
      .slice(0, PANELS)
      .map(([, role]) => role)
      .sort((a, b) => (a.role < b.role ? -1 : 1));
    list($('panels'), shown, ({ role }) => role, panel, (child, role) => {
      const [title, level, text] = child.firstChild.children;
      sayName(title, role.role);
      setBadge(level, role.state);
      say(text, full(role));
      attribute(child.lastChild, 'aria-label', `${name(role.role)} over the last 10 minutes; now ${full(role)}`);
      child.chart ??= new TimeChart(child.lastChild, LINES);
      child.chart.draw(history.read([`fullest ${role.role}`, `limit ${role.role}`]));
    });
  }

  #one({ history, snapshot }, role) {
    attribute($('detail-chart'), 'aria-label',
      `${name(role.role)} over the last 10 minutes; now the fullest owner has ${full(role)}`);
    this.#detail.draw(history.read([`fullest ${role.role}`, `limit ${role.role}`, `mean ${role.role}`]));
    stats($('detail-stats'), details(role, snapshot.at_ms));
  }
}

const panel = () => h('li', {},
  h('div', { class: 'panel-head' }, h('h3', { class: 'name' }), badge(), h('p')),
  h('div', { class: 'chart small', role: 'img' }));

const byLevel = (counts, levels) =>
  levels.filter((level) => counts?.[level] > 0).map((level) => `${count(counts[level])} ${level}`).join(', ') || 'none';

const spread = (rows, words, from = 'from') => {
  const some = (rows ?? []).filter(({ owners }) => owners > 0);
  return some.map((row) => `${count(row.owners)} from ${words(row[from])}`).join(', ') || 'none';
};

const byReason = (rows) =>
  (rows ?? []).filter(({ refused }) => refused > 0)
    .map(({ class: kind, reason, refused }) => `${count(refused)} ${kind} (${reason})`).join(', ') || 'none';

const cap = (of, text) => `${text(of?.used)}${(of?.most ?? null) === null ? ', no cap' : ` of ${text(of.most)}`}`;

const details = (role, now) => [
  ['State', role.closed ? CLOSED : role.level, 'state'],
  ['Fullest owner', full(role), 'fullest'],
  ['Highest depth of one owner yet', count(role.max_depth), 'max_depth'],
  ['Depth of all owners', count(role.depth), 'depth'],
  ['Owners', plural(role.owners, 'owner'), 'owners'],
  ['Owners above 80 %', byLevel(role.owners_by_level, ['overload', 'critical', 'warning']), 'owners_by_level'],
  ['Owners by utilisation, at the last check', spread(role.owners_by_utilization, percent), 'owners_by_utilization'],
  ['Owners by waiting time, at the last check', spread(role.owners_by_wait, duration, 'from_ms'), 'owners_by_wait'],
  ['Longest wait', `${duration(role.max_wait_ms)}${
    role.wait_target_ms ? `, wanted is at most ${duration(role.wait_target_ms)}` : ''}`, 'max_wait'],
  ['Longest without a dequeue', duration(role.max_stalled_ms), 'max_stalled'],
  ['Last check', role.as_of_ms === null ? 'none yet' : `${duration(Math.max(0, now - role.as_of_ms))} ago`, 'as_of'],
  ...[['Enqueued', 'enqueued'], ['Dequeued', 'dequeued'], ['Refused', 'refused']].map(([term, field]) =>
    [term, `${count(role[field])}, ${rate(role[`${field}Rate`])}/s`, field]),
  ['Places of all owners, and their cap', cap(role.caps?.total, count), 'places'],
  ['Bytes of all owners, and their cap', cap(role.caps?.bytes, bytes), 'bytes'],
  ['Refused by class and reason', byReason(role.refused_by), 'refused_by'],
  ['Last refusal', role.last_refused_ms === null ? 'never' : clock(role.last_refused_ms), 'last_refused'],
  ['A refusal says retry after',
    `${duration(role.retry_after_ms)}${role.closed ? ', but it stays closed until its limit is raised' : ''}`,
    'retry_after'],
  ['Given up by dead owners', count(role.released), 'released'],
  ['Dequeues without an enqueue', count(role.unmatched), 'unmatched'],
  ['Alerts raised', byLevel(role.alerts, ['overload', 'critical', 'warning']), 'alerts'],
  ['Breaker', role.breaker ?? 'the node does not say', 'breaker'],
];
