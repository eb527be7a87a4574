// Refusals a second, and when to come back.

import { $, attribute, row, say, sayHot, sayName, table } from './dom.js';
import { TimeChart } from './chart.js';
import { clock, count, duration, rate } from './format.js';

const MOST = 6;

const make = () => row([
  { tag: 'th', kind: 'name' },
  { kind: 'n', field: 'refused_rate' },
  { kind: 'n', field: 'retry_after' },
  { kind: 'n', field: 'last_refused' },
]);

const update = (element, role) => {
  const [title, refused, retry, last] = element.cells;
  sayName(title, role.role);
  sayHot(refused, `${rate(role.refusedRate)}/s`, role.refusedRate > 0);
  say(retry, role.closed ? 'closed' : duration(role.retry_after_ms));
  say(last, clock(role.last_refused_ms ?? null));
};

export class RefusalsView {
  #chart = new TimeChart($('refusals-chart'), [{ colour: 'overload', fill: 'overload-fill' }], {
    least: 5, readout: $('refusals-at'), read: ([value]) => `${rate(value)}/s`,
  });

  render({ roles, refusedRate, history }) {
    const ever = roles.filter(({ refused }) => refused > 0);
    const worst = ever
      .sort((a, b) => (b.refusedRate ?? 0) - (a.refusedRate ?? 0) ||
        (b.last_refused_ms ?? 0) - (a.last_refused_ms ?? 0) || (a.role < b.role ? -1 : 1))
      .slice(0, MOST);
    const peak = history.highest('refused');
    const total = roles.reduce((sum, { refused }) => sum + refused, 0);
    const text = `now ${rate(refusedRate)}/s, ${count(total)} in total`;
    say($('refusals-note'), text);
    attribute($('refusals-chart'), 'aria-label',
      `Refusals a second over the last 10 minutes: ${text}, at most ${rate(peak)}/s`);
    this.#chart.draw(history.read(['refused']));
    table('refusals', worst, ({ role }) => role, make, update, 'Nothing has been refused.');
  }
}
