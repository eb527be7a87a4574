// Refusals a second, and when to come back.

import { $, Table, attribute, naming, say } from './dom.js';
import { TimeChart } from './chart.js';
import { clock, count, duration, rate } from './format.js';
import { refused } from './view_roles.js';

const MOST = 6;

const table = new Table('refusals', [
  naming('Role', 'role'),
  refused,
  {
    title: 'Retry after', kind: 'n', field: 'retry_after',
    text: ({ closed, retry_after_ms: ms }) => (closed ? 'closed' : duration(ms)),
  },
  { title: 'Last refusal', kind: 'n', field: 'last_refused', text: ({ last_refused_ms: at }) => clock(at) },
]);

export class RefusalsView {
  #chart = new TimeChart($('refusals-chart'), [{ colour: 'overload', fill: 'overload-fill' }], {
    least: 5, readout: $('refusals-at'), read: ([value]) => `${rate(value)}/s`,
  });

  render({ roles, refusedRate, history }, missing) {
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
    table.draw(worst, ({ role }) => role, missing ?? 'Nothing has been refused.');
  }
}
