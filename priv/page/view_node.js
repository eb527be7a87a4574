// A node: the one that is asked with its components, or another one of its cluster.

import { address } from './address.js';
import { $, Table, attribute, counting, h, say, sayName, stats } from './dom.js';
import { clock, count, latency, name, plural, rate } from './format.js';
import { Model } from './model.js';
import { samples } from './past.js';
import { found, switches, verdict } from './verdict.js';
import { ROLES, roleRows, standing } from './view_cluster.js';
import { waiting } from './view_component.js';

const MOST = 50;
/** Another node is asked as seldom as once a minute, see pace.js. */
const GAP_MS = 90000;

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
  /** Of the other node that is looked at, and of which epoch of its charts the past is there. */
  #model = new Model(GAP_MS);
  #begun = null;
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
    this.#model = new Model(GAP_MS);
    this.#begun = null;
  }

  // A node that is not fresh is not asked.
  urls({ value }) {
    const row = this.#cluster.row(value);
    if (!row || value === this.#cluster.said.node) return { control: 'api/control' };
    if (row.state !== 'fresh') return {};
    const node = encodeURIComponent(value);
    return {
      told: `api/cluster?node=${node}`,
      ...(this.#begun !== this.#model.history.epoch && { past: `api/history?node=${node}` }),
    };
  }

  render(model, { value }, { control, ...answers }) {
    return value === model.snapshot.node ? this.#own(model, control) : this.#other(model, value, answers);
  }

  /** The model of the node that is looked at, and why nothing is drawn of it, if so. */
  charts(model, value) {
    if (value === model.snapshot.node) return [model, null];
    const { state } = this.#cluster.row(value) ?? {};
    const words = !state ? 'Nothing is known of it here.'
      : state === 'fresh' ? 'Asking the node.' : `It is ${state} and not asked, so nothing is drawn.`;
    return [this.#model, this.#model.snapshot ? null : words];
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

  #other({ snapshot }, value, { told, past }) {
    this.#components.draw([], () => '', 'They are on the page of that node.');
    const { said } = this.#cluster;
    const row = this.#cluster.row(value);
    const fresh = row?.state === 'fresh';
    // What it was is asked for again when it is heard again.
    if (!fresh) this.enter();
    else if (past?.roles && this.#begun !== this.#model.history.epoch) this.#begin(past);
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
    const failed = [['asked', told], ['history', past]]
      .filter(([, answer]) => fresh && answer?.error).map(([what, { error }]) => ({ name: what, words: error }));
    if (!now) return { verdict: state.words, note, lines: failed };
    return {
      verdict: now.headline, level: now.level, note,
      lines: [state, ...failed, ...now.reasons.map((words) => ({ name: 'reason', words })), ...off(now.model.snapshot)],
    };
  }

  #begin(past) {
    const { history } = this.#model;
    this.#begun = history.epoch;
    try {
      history.begin(samples(past));
    } catch {
      // Of another version it may be anything: then its charts begin empty.
    }
  }

  #draw(roles, was) {
    this.#roles.draw(roleRows(roles, was).slice(0, MOST), ({ role }) => role, 'No role is known of it.');
    say($('node-roles-note'), roles.length > MOST ? `the worst ${count(MOST)} of ${plural(roles.length, 'role')}` : '');
  }
}
