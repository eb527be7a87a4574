// How long each role was at each level.

import { $, attribute, h, row, say, sayName, setWidth, table } from './dom.js';
import { count, duration, percent } from './format.js';

const MOST = 12;
const LEVELS = ['ok', 'warning', 'critical', 'overload'];

const make = () => {
  const bar = h('span', { class: 'shares', role: 'img' }, ...LEVELS.map((level) => h('b', { 'data-level': level })));
  return row([
    { tag: 'th', kind: 'name' },
    { kind: 'spread mid', child: bar },
    ...LEVELS.map((level) => ({ kind: level === 'ok' ? 'n mid' : 'n', field: level })),
  ]);
};

const update = (element, { role, times, total }) => {
  const [title, spread, ...cells] = element.cells;
  const bar = spread.firstChild;
  const share = (level) => (total > 0 ? times[level] / total : 0);
  sayName(title, role);
  LEVELS.forEach((level, i) => {
    setWidth(bar.children[i], share(level));
    say(cells[i], times[level] > 0 ? duration(times[level]) : '–');
    attribute(cells[i], 'data-level', times[level] > 0 ? level : 'ok');
  });
  attribute(bar, 'aria-label', LEVELS.map((level) => `${level} ${percent(share(level))}`).join(', '));
};

export class LevelsView {
  constructor(redraw) {
    for (const radio of document.getElementsByName('window')) radio.addEventListener('change', redraw);
  }

  render({ roles }) {
    const chosen = document.querySelector('input[name="window"]:checked').value;
    const rows = roles
      .filter(({ ms_at_level: at }) => at?.[chosen])
      .map(({ role, ms_at_level: at }) => {
        const times = Object.fromEntries(LEVELS.map((level) => [level, at[chosen][level] ?? 0]));
        const total = LEVELS.reduce((sum, level) => sum + times[level], 0);
        return { role, times, total };
      })
      .sort((a, b) => b.times.overload - a.times.overload || b.times.critical - a.times.critical ||
        b.times.warning - a.times.warning || (a.role < b.role ? -1 : 1));
    const shown = rows.slice(0, MOST);
    table('levels', shown, ({ role }) => role, make, update, 'No role has been used yet.');
    say($('levels-note'), shown.length < rows.length ? `the worst ${count(MOST)} of ${count(rows.length)} roles` : '');
  }
}
