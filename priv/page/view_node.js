// A node: the one that is asked with its components, or another one of its cluster.

import { address } from './address.js';
import { $, Table, attribute, counting, h, say, sayName, stats } from './dom.js';
import { clock, count, latency, name, plural, rate } from './format.js';
import { Model } from './model.js';
import { found, switches, verdict } from './verdict.js';
import { ROLES, roleRows, standing } from './view_cluster.js';
import { waiting } from './view_component.js';

const MOST = 50;

/** What a node has said of itself, which may be of another version. @returns what is made of it, or null */
const understood = (model, summary) => {
  try {
    model.receive(summary);
    return { model, ...verdict(model) };
  } catch {
    return null;
  }
};

const numbers = ({ pressure }, roles) => [
  ['Roles', count(roles.length), 'roles'],
  ['Refused now', `${rate(roles.reduce((all, { refusedRate }) => all + (refusedRate ?? 0), 0))}/s`, 'refused'],
  ...['memory', 'run_queue'].filter((cause) => pressure?.[cause])
    .map((cause) => [cause.replace('_', ' '), found[cause](pressure[cause]), cause]),
];

const off = (snapshot) => switches(snapshot).filter(({ off: is }) => is)
  .map(({ text: words }) => ({ name: 'off', words }));

export class NodeView {
  #cluster;
  /** Of the other node that is looked at. */
  #model = new Model();
  #components = new Table('node-components', [
    {
      title: 'Component', tag: 'th', kind: 'name', child: () => h('a', { 'data-field': 'component' }),
      show: ({ firstChild: link }, { id }) => {
        sayName(link, id);
        attribute(link, 'href', address('component', id));
      },
    },
    counting('Delivered', 'delivered'),
    { ...counting('Waiting', 'queued'), hot: ({ queued }) => queued > 0 },
    { title: 'p99', kind: 'n', field: 'p99', text: ({ latency_p99_us: us }) => latency(us) },
  ]);
  #roles = new Table('node-roles', ROLES);

  constructor(_, cluster) {
    this.#cluster = cluster;
  }

  enter() {
    this.#model = new Model();
  }

  // A node that is not fresh is not asked.
  urls({ value }) {
    const row = this.#cluster.row(value);
    if (!row || value === this.#cluster.said.node) return { control: 'api/control' };
    return row.state === 'fresh' ? { told: `api/cluster?node=${encodeURIComponent(value)}` } : {};
  }

  render(model, { value }, { control, told }) {
    return value === model.snapshot.node ? this.#own(model, control) : this.#other(model, value, told);
  }

  #own({ snapshot, roles }, control) {
    const rows = Object.entries(control?.by_component ?? {}).map(([id, row]) => ({ ...row, id, queued: waiting(row) }))
      .sort((a, b) => b.queued - a.queued || b.delivered - a.delivered || (a.id < b.id ? -1 : 1));
    this.#components.draw(rows, ({ id }) => id, control?.error ?? 'No component is registered.');
    this.#draw(roles, false);
    stats($('node-stats'), numbers(snapshot, roles));
    const { pressure } = snapshot;
    return {
      verdict: pressure?.level
        ? `It is pressed by ${pressure.cause.replace('_', ' ')} and refuses ${pressure.refuses.join(', ')}.`
        : 'Nothing presses it: it refuses by limits alone.',
      lines: off(snapshot),
      note: `version ${snapshot.version ?? 'not known'}`,
    };
  }

  #other({ snapshot }, value, told) {
    this.#components.draw([], () => '', 'They are on the page of that node.');
    const { said } = this.#cluster;
    const row = this.#cluster.row(value);
    const fresh = row?.state === 'fresh';
    const now = fresh && told?.summary ? understood(this.#model, told.summary) : null;
    this.#draw(now ? now.model.roles : row?.roles ?? [], Boolean(row) && !fresh);
    stats($('node-stats'), now ? numbers(now.model.snapshot, now.model.roles) : []);
    if (!row) {
      const unknown = `${name(value)} is unknown: it was never heard here, or not for an hour.`;
      const asks = `This is the page of ${name(snapshot.node)}: ask ${name(value)} for its own.`;
      return { verdict: snapshot.cluster ? said && unknown : asks };
    }
    const state = { name: 'state', words: standing(row) };
    const note = `version ${row.vsn ?? 'not known'}, as ${name(said.node, 48)} has heard of it, ${clock(said.at_ms)}`;
    if (!now) {
      const failed = fresh ? told?.error : null;
      return { verdict: state.words, note, lines: failed ? [{ name: 'asked', words: failed }] : [] };
    }
    return {
      verdict: now.headline, level: now.level, note,
      lines: [state, ...now.reasons.map((words) => ({ name: 'reason', words })), ...off(now.model.snapshot)],
    };
  }

  #draw(roles, was) {
    this.#roles.draw(roleRows(roles, was).slice(0, MOST), ({ role }) => role, 'No role is known of it.');
    say($('node-roles-note'), roles.length > MOST ? `the worst ${count(MOST)} of ${plural(roles.length, 'role')}` : '');
  }
}
