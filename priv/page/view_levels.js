// How long each role was at each level.

import { $, Table, attribute, h, naming, say, setWidth } from './dom.js';
import { count, duration, percent } from './format.js';

const MOST = 12;
const LEVELS = ['ok', 'warning', 'critical', 'overload'];

const share = ({ times, total }, level) => (total > 0 ? times[level] / total : 0);

const table = new Table('levels', [
  naming('Role', 'role'),
  {
    title: 'Share of the window', kind: 'spread mid',
    child: () => h('span', { class: 'shares', role: 'img' }, ...LEVELS.map((level) => h('b', { 'data-level': level }))),
    show: ({ firstChild: bar }, row) => {
      LEVELS.forEach((level, i) => setWidth(bar.children[i], share(row, level)));
      attribute(bar, 'aria-label', LEVELS.map((level) => `${level} ${percent(share(row, level))}`).join(', '));
    },
  },
  ...LEVELS.map((level) => ({
    title: level, kind: level === 'ok' ? 'n mid' : 'n', field: level,
    show: (cell, { times }) => {
      say(cell, times[level] > 0 ? duration(times[level]) : '–');
      attribute(cell, 'data-level', times[level] > 0 ? level : 'ok');
    },
  })),
]);

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
    table.draw(shown, ({ role }) => role, 'No role has been used yet.');
    say($('levels-note'), shown.length < rows.length ? `the worst ${count(MOST)} of ${count(rows.length)} roles` : '');
  }
}
