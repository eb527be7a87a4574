// Alerts as they come and clear, in the table and in what a screen reader is told.

import { $, attribute, badge, h, row, say, sayName, setBadge, table } from './dom.js';
import { clock, duration, name, of, plural } from './format.js';

/** What is said at once to somebody who listens, at most once in so long. */
const SAID_MS = 3000;
const LEVELS = ['warning', 'critical', 'overload'];

const lines = (...children) => h('div', { class: 'lines' }, ...children);

const make = () => row([
  { child: lines(badge(), h('span', { 'data-field': 'timestamp' })) },
  {
    child: lines(
      h('span', { class: 'name', 'data-field': 'role' }),
      h('span', { class: 'name', 'data-field': 'process' }),
    ),
  },
  { child: lines(h('span', { 'data-field': 'state' }), h('span')) },
]);

const state = ({ state: kind, clearedAt, timestamp }, now) => {
  if (kind === 'holds') {
    return ['holds', `for ${duration(Math.max(1000, Math.floor((now - timestamp) / 1000) * 1000))}`];
  }
  if (kind === 'unknown') return ['not sure', 'if it holds'];
  if (clearedAt === null) return ['cleared', 'time unknown'];
  return [clock(clearedAt), `after ${duration(clearedAt - timestamp)}`];
};

const update = (element, entry, now) => {
  const [[level, raised], [role, process], cleared] = [...element.cells].map(({ firstChild }) => firstChild.children);
  attribute(element, 'data-state', entry.state);
  setBadge(level, entry.level);
  say(raised, clock(entry.timestamp));
  sayName(role, entry.role);
  say(process, `${name(entry.process, 40)}: ${of(entry.depth, entry.limit)}`);
  state(entry, now).forEach((text, i) => say(cleared[i], text));
};

export class AlertsView {
  #missed = 0;

  missed(events) {
    this.#missed += events;
  }

  render({ alerts: { entries }, roles, snapshot }) {
    table('alerts', entries, ({ id }) => id, make, (child, entry) => update(child, entry, snapshot.at_ms),
      snapshot.services?.erlmcp_overload_monitor === false
        ? 'The overload monitor is not running: no alerts come.'
        : 'No alert yet.');
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
