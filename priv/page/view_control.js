// What control messages wait: over time, how it is spread, and in numbers.

import { address } from './address.js';
import { $, Table, attribute, counting, fields, instead, say, show, stats } from './dom.js';
import { SpreadChart, TimeChart } from './chart.js';
import { count, latency, percent } from './format.js';
import { percentile, total } from './latency.js';

/** The types of control messages, the most urgent first. */
export const LANES = [
  ['circuit_breaker', 'circuit breaker'],
  ['health_check', 'health check'],
  ['drain_session', 'drain session'],
  ['cancel_task', 'cancel task'],
];

const within = (bands) => {
  const some = bands.map(({ count: number }, i) => [number, i]).filter(([number]) => number > 0);
  return some.length ? [some[0][1], some.at(-1)[1]] : null;
};

export class ControlView {
  #lanes = new Table('lanes', [
    { title: 'Type', tag: 'th', text: ({ title }) => title },
    counting('Delivered', 'delivered'),
    { ...counting('Waiting', 'queued'), hot: ({ queued }) => queued > 0 },
    { ...counting('Refused by a rate', 'refused'), hot: ({ refused }) => refused > 0 },
  ]);
  #table = new Table('spread', [
    { title: 'Latency', tag: 'th', text: ({ from, to }) => `${latency(from)} to ${latency(to)}` },
    { title: 'Since start', kind: 'n', text: ({ count: all, share }) => `${count(all)} (${percent(share)})` },
    counting('Last minute', 'last'),
  ]);
  #bands = [];
  #time = new TimeChart($('control-chart'), [{ colour: 'violet', dash: [6, 3] }, { colour: 'blue' }], {
    y: (us) => latency(us).replace('\u202f', ' '), log: true, size: 52, readout: $('control-at'),
    read: ([p99, p50]) => `p99 ${latency(p99)}, p50 ${latency(p50)}`,
  });
  #spread = new SpreadChart($('spread-chart'), (band) =>
    (Number.isInteger(band) && this.#bands[band] ? `<${latency(this.#bands[band].to)}` : ''));

  render({ snapshot, history, latencies }) {
    const { control } = snapshot;
    attribute($('control-by'), 'href', address('node', snapshot.node));
    show($('control'), Boolean(control));
    instead($('control-empty'), !control, 'The control plane is not started: there is nothing to measure.');
    if (!control) {
      say($('control-note'), '');
      return;
    }
    const recent = latencies.recent(10000);
    const [p50, p99] = recent ? [percentile(recent, 0.5), percentile(recent, 0.99)] : [null, null];
    const now = recent === null ? 'measuring'
      : p99 === null ? 'no message in the last 10 s'
        : `last 10 s: p50 about ${latency(p50)}, p99 about ${latency(p99)}`;
    say($('control-note'), now);
    attribute($('control-chart'), 'aria-label', `Control latency over the last 10 minutes; ${now}`);
    this.#time.draw(history.read(['p99', 'p50']));
    this.#distribution(latencies);
    stats($('control-stats'), fields(control, NUMBERS));
    const { by_type: delivered, queued, refused_by_rate: refused } = control;
    const lane = ([key, title]) => ({
      title, delivered: delivered?.[key], queued: queued?.[key], refused: refused?.[key],
    });
    this.#lanes.draw(LANES.map(lane), ({ title }) => title, '');
  }

  #distribution(latencies) {
    const all = latencies.all() ?? [];
    const minute = latencies.recent(60000) ?? all.map((band) => ({ ...band, count: 0 }));
    const range = within(all);
    const [from, to] = range
      ? [Math.max(0, range[0] - 1), Math.min(all.length - 1, Math.max(range[1] + 1, range[0] + 5))]
      : [0, Math.min(all.length - 1, 8)];
    const places = all.map((_, i) => i).slice(from, to + 1);
    const shares = (bands) => places.map((i) => (total(bands) > 0 ? (100 * bands[i].count) / total(bands) : null));
    this.#bands = all;
    if (places.length > 0) this.#spread.draw([places, shares(all), shares(minute)]);
    const percentiles = `p50 ${latency(percentile(all, 0.5))}, p99 ${latency(percentile(all, 0.99))}`;
    attribute($('spread-chart'), 'aria-label',
      `Distribution of control latency since start: ${percentiles}; the table below has the counts`);
    const counts = total(all);
    const rows = (range ? all.slice(range[0], range[1] + 1) : []).map((band) => ({
      ...band,
      share: counts > 0 ? band.count / counts : 0,
      last: minute.find(({ to: us }) => us === band.to)?.count ?? 0,
    }));
    this.#table.draw(rows, ({ to: us }) => us, '');
  }
}

const NUMBERS = [
  ['p50 since start', latency, 'latency_p50_us'],
  ['p95', latency, 'latency_p95_us'],
  ['p99', latency, 'latency_p99_us'],
  ['p99.9', latency, 'latency_p999_us'],
  ['Longest', latency, 'max_latency_us'],
  ['Handler start, p50', latency, 'delivery_p50_us'],
  ['Handler start, p99', latency, 'delivery_p99_us'],
  ['Delivered', count, 'delivered'],
  ['Components', count, 'components'],
  ['Health checks over 100 ms', count, 'slo_violations'],
  ['Timeouts', count, 'timeouts'],
  ['Handler crashes', count, 'handler_crashes'],
];
