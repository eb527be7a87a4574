// A component of the control plane, and a node with its components.

import { address } from './address.js';
import { $, Table, attribute, counting, fields, h, sayName, stats } from './dom.js';
import { clock, count, latency, name, plural, rate } from './format.js';
import { LANES } from './view_control.js';
import { found, switches } from './verdict.js';

const NUMBERS = [
  ['Delivered', count, 'delivered'],
  ['Waits, p50', latency, 'latency_p50_us'],
  ['p95', latency, 'latency_p95_us'],
  ['p99', latency, 'latency_p99_us'],
  ['p99.9', latency, 'latency_p999_us'],
  ['Longest', latency, 'max_latency_us'],
  ['Its handler failed', count, 'crashes'],
];
const waiting = ({ queued }) => Object.values(queued ?? {}).reduce((all, each) => all + each, 0);

export class ComponentView {
  #lanes = new Table('component-lanes', [
    { title: 'Type', tag: 'th', text: ({ title }) => title },
    counting('Delivered', 'delivered'),
    { ...counting('Waiting', 'queued'), hot: ({ queued }) => queued > 0 },
    { title: 'May be sent', kind: 'n words', field: 'rate', text: ({ rate: set }) => set ?? 'without a rate' },
    counting('Refused by that', 'refused'),
  ]);
  #errors = new Table('component-errors', [
    { title: 'At', tag: 'th', field: 'at', text: ({ at_ms: at }) => clock(at) },
    { title: 'Its handler', field: 'reason', text: ({ reason }) => name(reason, 400) },
  ]);

  urls({ value }) {
    return { component: `api/component?id=${encodeURIComponent(value)}` };
  }

  render(_, __, { component: of }) {
    const known = of && !of.error;
    stats($('component-stats'), known ? fields(of, NUMBERS) : []);
    this.#lanes.draw(known ? LANES.map(([type, title]) => {
      const set = of.rates?.[type];
      return {
        title, delivered: of.by_type?.[type], queued: of.queued?.[type], refused: set?.refused,
        rate: set && `${count(set.limit)} ${set.period === 'hour' ? 'an' : 'a'} ${set.period}`,
      };
    }) : [], ({ title }) => title, of?.error ?? 'Asking the node.');
    this.#errors.draw(known ? of.errors.map((error, place) => ({ ...error, place })) : [], ({ place }) => place,
      'It has not failed since the control plane was started, or its numbers were reset.');
    return {
      note: known ? `${plural(waiting(of), 'message')} waiting` : '',
      verdict: of && (of.error ?? (of.crashes > 0
        ? `Its handler failed ${plural(of.crashes, 'time')}; the last ${count(of.errors.length)} are below.`
        : 'Its handler has not failed.')),
    };
  }
}

export class NodeView {
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

  urls() {
    return { control: 'api/control' };
  }

  render({ snapshot, roles }, { value }, { control }) {
    if (value !== snapshot.node) {
      stats($('node-stats'), []);
      this.#components.draw([], () => '', 'They are on the page of that node.');
      return { verdict: `This is the page of ${name(snapshot.node)}: ask ${name(value)} for its own.` };
    }
    const rows = Object.entries(control?.by_component ?? {}).map(([id, row]) => ({ ...row, id, queued: waiting(row) }))
      .sort((a, b) => b.queued - a.queued || b.delivered - a.delivered || (a.id < b.id ? -1 : 1));
    this.#components.draw(rows, ({ id }) => id, control?.error ?? 'No component is registered.');
    const { pressure } = snapshot;
    const pressed = ['memory', 'run_queue'].filter((cause) => pressure?.[cause]);
    stats($('node-stats'), [
      ['Roles', count(roles.length), 'roles'],
      ['Refused now', `${rate(roles.reduce((all, { refusedRate }) => all + (refusedRate ?? 0), 0))}/s`, 'refused'],
      ...pressed.map((cause) => [cause.replace('_', ' '), found[cause](pressure[cause]), cause]),
    ]);
    const off = switches(snapshot).filter(({ off: is }) => is);
    return {
      verdict: pressure?.level
        ? `It is pressed by ${pressure.cause.replace('_', ' ')} and refuses ${pressure.refuses.join(', ')}.`
        : 'Nothing presses it: it refuses by limits alone.',
      lines: off.map(({ text }) => ({ name: 'off', words: text })),
      note: `version ${snapshot.version ?? 'not known'}`,
    };
  }
}
