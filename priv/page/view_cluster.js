// All nodes of a cluster as one has heard of them, the sums of their roles, and which one to look at.

import { address } from './address.js';
import { SEVERITY } from './alerts.js';
import { $, Table, attribute, badge, counting, h, list, naming, say, sayHot, sayName, show } from './dom.js';
import { clock, count, duration, limit, name, plural, some } from './format.js';

const MOST = 12;
const STATES = ['gone', 'stale', 'fresh'];

const severity = ({ level: is }) => SEVERITY[is] ?? (is ? SEVERITY.overload : 0);
/** How full owners are on average; their limit is for each. */
const fullness = ({ depth, limit: most, owners }) => (most > 0 && owners > 0 ? depth / (most * owners) : 0);
const worstFirst = (a, b) => severity(b) - severity(a) || fullness(b) - fullness(a) || (a.role < b.role ? -1 : 1);
const fullest = ({ roles }) => [...roles].sort(worstFirst)[0];

/** How it stands with a node, in words. */
export const standing = ({ state, age_ms: age }) => ({
  fresh: `It is fresh: heard ${duration(age)} ago.`,
  stale: `It is stale: not heard for ${duration(age)}, or cut off. What it said last is below, and it is not asked.`,
  gone: `It is gone: not heard for ${duration(age)}. What it said last is below, and it is not asked.`,
}[state]);

/** A level as a badge; that of a node that is not heard is of the past. */
const level = {
  title: 'Level', child: badge,
  show: ({ firstChild }, { level: is, was }) => {
    show(firstChild, Boolean(is));
    attribute(firstChild, 'data-level', is ?? '');
    say(firstChild, was ? `was ${is}` : is ?? '');
  },
};

/** The columns of roles of a node, or of all. */
export const ROLES = [
  naming('Role', 'role'),
  level,
  counting('Depth of all', 'depth'),
  { title: 'Limit', kind: 'n', field: 'limit', text: (row) => limit(row.limit) },
  counting('Owners', 'owners', 'mid'),
  counting('Refused in total', 'refused', 'mid'),
];

/** Rows of roles, the worst first. @param {boolean} was whether they are of the past */
export const roleRows = (roles, was) =>
  roles.map((row) => ({ ...row, level: row.state ?? row.level, was })).sort(worstFirst);

const missing = ({ fresh, stale, gone }, expected) => [
  fresh < expected && `${count(expected - fresh)} of ${count(expected)} that are expected ${
    expected - fresh === 1 ? 'is' : 'are'} not heard`,
  stale > 0 && `${count(stale)} stale`,
  gone > 0 && `${count(gone)} gone`,
].filter(Boolean);

export class ClusterView {
  #nodes = new Table('cluster-nodes', [
    {
      title: 'Node', tag: 'th', kind: 'name', child: () => h('a', { 'data-field': 'node' }),
      show: ({ firstChild: link }, { node }) => {
        sayName(link, node);
        attribute(link, 'href', address('node', node));
      },
    },
    {
      title: 'State', field: 'state', text: ({ state, own }) => (own ? `${state}, this one` : state),
      hot: ({ state }) => state !== 'fresh',
    },
    { title: 'Heard', kind: 'n', field: 'age', text: ({ age_ms: age }) => `${duration(age)} ago` },
    { title: 'Fullest role', kind: 'name mid', field: 'role', show: (cell, { role }) => sayName(cell, role ?? '–') },
    level,
  ]);
  #roles = new Table('cluster-roles', [...ROLES, counting('Nodes', 'nodes', 'mid')]);

  constructor() {
    $('cluster-node').addEventListener('change', ({ target }) => { location.hash = address('node', target.value); });
  }

  /** It is there where all is shown, or a node. @param {string} own the node of the page */
  render({ said }, at, own) {
    const shown = said !== null && (at === null || at.kind === 'node');
    show($('cluster'), shown);
    if (!shown) return;
    const { nodes, roles, counted, expected, unsent } = said;
    const rows = nodes.map((row) => {
      const most = fullest(row);
      return {
        ...row, own: row.node === said.node, was: row.state !== 'fresh',
        role: most?.role, level: most?.level, full: most ? fullness(most) : 0,
      };
    }).sort((a, b) => STATES.indexOf(a.state) - STATES.indexOf(b.state) || severity(b) - severity(a) ||
      b.full - a.full || (a.node < b.node ? -1 : 1));
    const away = missing(counted, expected);
    sayHot($('cluster-said'), `${plural(counted.fresh, 'node is', 'nodes are')} fresh${
      away.length ? `; ${away.join(', ')}` : ', as many as are expected'}.`, away.length > 0);
    say($('cluster-note'), [
      `as ${name(said.node, 48)} has heard of them, ${clock(said.at_ms)}`,
      unsent > 0 && `${plural(unsent, 'message')} of its own not sent`,
    ].filter(Boolean).join('; '));
    this.#nodes.draw(rows.slice(0, MOST), (row) => row.node, 'No node is heard.');
    const sums = roleRows(roles, false);
    this.#roles.draw(sums.slice(0, MOST), ({ role }) => role, 'No role has been used on a node that is fresh.');
    const rest = [[rows, 'node'], [sums, 'role']].filter(([all]) => all.length > MOST)
      .map(([all, what]) => `the worst ${count(MOST)} of ${plural(all.length, what)}`);
    say($('cluster-rest'), some(rest));
    this.#choose(nodes.map((row) => row.node), at?.value ?? own);
  }

  #choose(names, node) {
    const chooser = $('cluster-node');
    const known = names.includes(node) ? names : [node, ...names];
    list(chooser, known, (each) => each, (each) => h('option', { value: each }), (option, each) =>
      say(option, name(each, 64)));
    // Whoever is choosing is not disturbed.
    if (document.activeElement !== chooser) chooser.value = node;
  }
}
