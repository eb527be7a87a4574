// A component of the control plane.

import { $, Table, counting, fields, stats } from './dom.js';
import { clock, count, latency, name, plural } from './format.js';
import { LANES } from './view_control.js';

const NUMBERS = [
  ['Delivered', count, 'delivered'],
  ['Waits, p50', latency, 'latency_p50_us'],
  ['p95', latency, 'latency_p95_us'],
  ['p99', latency, 'latency_p99_us'],
  ['p99.9', latency, 'latency_p999_us'],
  ['Longest', latency, 'max_latency_us'],
  ['Its handler failed', count, 'crashes'],
];
/** How many messages of a component wait. */
export const waiting = ({ queued }) => Object.values(queued ?? {}).reduce((all, each) => all + each, 0);

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
