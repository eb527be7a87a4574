// Alerts as they come and clear, in the table and in what a screen reader is told.

import { $, Table, attribute, badge, h, say, sayName, setBadge } from './dom.js';
import { clock, duration, name, of, plural } from './format.js';

/** What is said at once to somebody who listens, at most once in so long. */
const SAID_MS = 3000;
const LEVELS = ['warning', 'critical', 'overload'];

const lines = (...children) => h('div', { class: 'lines' }, ...children);

const state = ({ state: kind, clearedAt, timestamp, now }) => {
  if (kind === 'holds') {
    return ['holds', `for ${duration(Math.max(1000, Math.floor((now - timestamp) / 1000) * 1000))}`];
  }
  if (kind === 'unknown') return ['not sure', 'if it holds'];
  if (clearedAt === null) return ['cleared', 'time unknown'];
  return [clock(clearedAt), `after ${duration(clearedAt - timestamp)}`];
};

const COLUMNS = [
  {
    title: 'Raised', child: () => lines(badge(), h('span', { 'data-field': 'timestamp' })),
    show: ({ firstChild: { children: [level, raised] } }, entry) => {
      setBadge(level, entry.level);
      say(raised, clock(entry.timestamp));
    },
  },
  {
    title: 'Where',
    child: () => lines(...['role', 'process'].map((field) => h('span', { class: 'name', 'data-field': field }))),
    show: ({ firstChild: { children: [role, process] } }, entry) => {
      sayName(role, entry.role);
      say(process, `${name(entry.process, 40)}: ${of(entry.depth, entry.limit)}`);
    },
  },
  {
    title: 'Cleared', child: () => lines(h('span', { 'data-field': 'state' }), h('span')),
    show: ({ firstChild: { children } }, entry) => state(entry).forEach((text, i) => say(children[i], text)),
  },
];

export class AlertsView {
  #table = new Table('alerts', COLUMNS);
  #missed = 0;

  missed(events) {
    this.#missed += events;
  }

  render({ alerts: { entries }, roles, snapshot }) {
    const rows = this.#table.draw(entries.map((entry) => ({ ...entry, now: snapshot.at_ms })), ({ id }) => id,
      snapshot.services?.erlmcp_overload_monitor === false
        ? 'The overload monitor is not running: no alerts come.'
        : 'No alert yet.');
    rows.forEach((row, i) => attribute(row, 'data-state', entries[i].state));
    const above = roles.reduce((sum, { owners_by_level: owners }) =>
      sum + LEVELS.reduce((each, level) => each + (owners?.[level] ?? 0), 0), 0);
    const parts = [`${plural(above, 'owner')} above a threshold now`];
    if (entries.length > 0) parts.push(`last ${plural(entries.length, 'alert')}`);
    if (this.#missed > 0) parts.push(`${plural(this.#missed, 'event')} missed`);
    say($('alerts-note'), parts.join(', '));
  }
}

/** The one live region: what happened since it last spoke, in a sentence or two. */
export class Announcer {
  #raised = [];
  #cleared = [];
  #other = [];
  #timer = null;

  raised(alert) {
    this.#soon(this.#raised, alert);
  }

  cleared(alert) {
    this.#soon(this.#cleared, alert);
  }

  tell(text) {
    this.#soon(this.#other, text);
  }

  #soon(list, what) {
    if (list.length < 1000) list.push(what);
    this.#timer ??= setTimeout(() => this.#speak(), $('said').textContent === '' ? 300 : SAID_MS);
  }

  #speak() {
    this.#timer = null;
    const about = (alerts, verb) => {
      if (alerts.length === 0) return [];
      const { level, role, process } = alerts.find((alert) => alert.level === 'overload') ?? alerts[0];
      const rest = alerts.length - 1;
      const others = rest > 0 ? ` and ${plural(rest, 'other')}` : '';
      return [`${level} ${verb}: ${name(role, 60)} ${name(process, 60)}${others}.`];
    };
    say($('said'), [...this.#other, ...about(this.#raised, 'raised'), ...about(this.#cleared, 'cleared')].join(' '));
    this.#raised = [];
    this.#cleared = [];
    this.#other = [];
  }
}
