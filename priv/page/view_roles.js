// The table of all roles, the worst first.

import { address } from './address.js';
import { $, Table, attribute, badge, counting, h, meter, say, sayName, setBadge, setMeter, show } from './dom.js';
import { count, duration, limit, name, percent, plural, rate } from './format.js';
import { CLOSED, noRoles } from './verdict.js';

const FIRST = 12;
const MOST = 200;
/** While somebody points at a row or walks along the rows, they stay where they are. */
const HELD_MS = 8000;

/** The column of what is refused now. */
export const refused = {
  title: 'Refused', kind: 'n', field: 'refused_rate',
  text: ({ refusedRate }) => `${rate(refusedRate)}/s`, hot: ({ refusedRate }) => refusedRate > 0,
};

const COLUMNS = [
  {
    title: 'Role', tag: 'th', kind: 'name', child: () => h('a', { class: 'link' }),
    show: ({ firstChild }, { role }) => {
      sayName(firstChild, role);
      attribute(firstChild, 'href', address('role', role));
    },
  },
  {
    title: 'Level', child: badge,
    show: (cell, { state, closed }) => {
      setBadge(cell.firstChild, state);
      attribute(cell, 'title', closed ? CLOSED : '');
    },
  },
  {
    title: 'Fullest owner', field: 'full', child: meter,
    show: ({ firstChild }, { full, state, closed }) =>
      setMeter(firstChild, full, state, closed ? 'limit is 0' : percent(full)),
  },
  counting('Its depth', 'fullest', 'mid'),
  { title: 'Limit', kind: 'n wide', field: 'limit', text: (role) => limit(role.limit) },
  counting('Owners', 'owners', 'wide'),
  counting('Depth of all', 'depth', 'wide'),
  refused,
  {
    title: 'Retry after', kind: 'n mid', field: 'retry_after',
    text: ({ closed, refusing, retry_after_ms: ms }) => (closed ? 'closed' : refusing ? duration(ms) : '–'),
  },
  counting('Refused in total', 'refused', 'wide'),
  { title: 'Drained', kind: 'n wide', field: 'drained_rate', text: (role) => `${rate(role.drained_per_s)}/s` },
  {
    title: 'Breaker', kind: 'mid', field: 'breaker',
    text: ({ breaker }) => breaker ?? '–', hot: ({ breaker }) => breaker === 'open',
  },
];

export class RolesView {
  #table = new Table('roles', COLUMNS);
  #shown = FIRST;
  #held = 0;
  #order = new Map();

  constructor(redraw) {
    const body = $('roles').tBodies[0];
    const hold = () => { this.#held = performance.now() + HELD_MS; };
    for (const event of ['pointermove', 'focusin', 'keydown']) body.addEventListener(event, hold, { passive: true });
    $('roles-filter').addEventListener('input', redraw);
    $('roles-more').addEventListener('click', () => {
      this.#shown = Math.min(MOST, this.#shown * 4);
      redraw();
    });
  }

  render({ roles, snapshot }) {
    const wanted = $('roles-filter').value.trim().toLowerCase();
    const found = wanted ? roles.filter(({ role }) => name(role, 256).toLowerCase().includes(wanted)) : roles;
    const shown = this.#steady(found.slice(0, this.#shown));
    const rows = this.#table.draw(shown, ({ role }) => role,
      wanted && roles.length > 0 ? 'No role has such a name.' : noRoles(snapshot));
    rows.forEach((row, i) => attribute(row, 'data-role', shown[i].role));
    const hidden = found.length - shown.length;
    const many = hidden > 0
      ? `the worst ${count(shown.length)} of ${count(found.length)}`
      : plural(found.length, 'role');
    const among = wanted ? ` found among ${count(roles.length)}` : '';
    say($('roles-note'), `${many}${among}${roles.length > 0 ? ', limits for each owner' : ''}`);
    show($('roles-more'), hidden > 0 && this.#shown < MOST);
    const more = Math.min(hidden, Math.min(MOST, this.#shown * 4) - shown.length);
    say($('roles-more'), `Show ${count(more)} more of ${count(hidden)}`);
  }

  #steady(shown) {
    if (performance.now() < this.#held) {
      const place = ({ role }) => this.#order.get(role) ?? Infinity;
      shown.sort((a, b) => (place(a) === place(b) ? 0 : place(a) - place(b)));
    }
    this.#order = new Map(shown.map(({ role }, i) => [role, i]));
    return shown;
  }
}
