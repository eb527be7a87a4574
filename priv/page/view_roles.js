// The table of all roles, the worst first.

import { $, attribute, badge, h, meter, row, say, sayHot, sayName, setBadge, setMeter, show, table } from './dom.js';
import { count, duration, limit as limitText, name, percent, plural, rate } from './format.js';
import { CLOSED, noRoles } from './verdict.js';

const FIRST = 12;
const MOST = 200;
/** While somebody points at a row or walks along the rows, they stay where they are. */
const HELD_MS = 8000;

const make = () => row([
  { tag: 'th', kind: 'name', child: h('button', { type: 'button', class: 'link' }) },
  { child: badge() },
  { field: 'full', child: meter() },
  { kind: 'n mid', field: 'fullest' },
  { kind: 'n wide', field: 'limit' },
  { kind: 'n wide', field: 'owners' },
  { kind: 'n wide', field: 'depth' },
  { kind: 'n', field: 'refused_rate' },
  { kind: 'n mid', field: 'retry_after' },
  { kind: 'n wide', field: 'refused' },
  { kind: 'n wide', field: 'drained_rate' },
  { kind: 'mid', field: 'breaker' },
]);

const update = (element, role, chosen) => {
  const [title, level, full, fullest, limit, owners, depth, refusing, retry, refused, drained, breaker] = element.cells;
  const button = title.firstChild;
  attribute(element, 'data-role', role.role);
  sayName(button, role.role);
  attribute(button, 'aria-pressed', String(role.role === chosen));
  setBadge(level.firstChild, role.state);
  attribute(level, 'title', role.closed ? CLOSED : '');
  setMeter(full.firstChild, role.full, role.state, role.closed ? 'limit is 0' : percent(role.full));
  say(fullest, count(role.fullest));
  say(limit, limitText(role.limit));
  say(owners, count(role.owners));
  say(depth, count(role.depth));
  sayHot(refusing, `${rate(role.refusedRate)}/s`, role.refusedRate > 0);
  say(retry, role.closed ? 'closed' : role.refusing ? duration(role.retry_after_ms) : '–');
  say(refused, count(role.refused));
  say(drained, `${rate(role.drained_per_s)}/s`);
  sayHot(breaker, role.breaker ?? '–', role.breaker === 'open');
};

export class RolesView {
  #shown = FIRST;
  #held = 0;
  #order = new Map();

  constructor({ choose, redraw }) {
    const body = $('roles').tBodies[0];
    body.addEventListener('click', ({ target }) => {
      const button = target.closest('button');
      if (button) choose(button.closest('tr').dataset.role);
    });
    const hold = () => { this.#held = performance.now() + HELD_MS; };
    for (const event of ['pointermove', 'focusin', 'keydown']) body.addEventListener(event, hold, { passive: true });
    $('roles-filter').addEventListener('input', redraw);
    $('roles-more').addEventListener('click', () => {
      this.#shown = Math.min(MOST, this.#shown * 4);
      redraw();
    });
  }

  render({ roles, snapshot }, chosen) {
    const wanted = $('roles-filter').value.trim().toLowerCase();
    const found = wanted ? roles.filter(({ role }) => name(role, 256).toLowerCase().includes(wanted)) : roles;
    const shown = this.#steady(found.slice(0, this.#shown));
    table('roles', shown, ({ role }) => role, make, (child, role) => update(child, role, chosen),
      wanted && roles.length > 0 ? 'No role has such a name.' : noRoles(snapshot));
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
