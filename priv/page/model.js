// What is known of the node: the last snapshot, what changed since the one before, and the history.

import { AlertLog, SEVERITY } from './alerts.js';
import { History } from './history.js';
import { Latencies, percentile } from './latency.js';

const MOST_ROLES = 1024;
/** Below this, a difference of totals says little about a second. */
const SHORTEST_MS = 500;
/** Where a node does not say when it was started, one that has run for so much less than before is another one. */
const DISORDER_MS = 5000;
/** For so long after its last refusal a role counts as refusing. */
const REFUSING_MS = 5000;
const TOTALS = ['enqueued', 'dequeued', 'refused'];

/** A limit of null is none. */
const utilization = (depth, limit) => (limit === null ? 0 : limit > 0 ? depth / limit : depth > 0 ? 1 : 0);

/** For how long its node had run, which no clock changes; a node of before 0.2 does not say. */
const age = ({ up_ms: up, at_ms: at }) => up ?? at;

/** Somebody set its limit to 0, and limits are in force. */
const isClosed = ({ limit }, { switches }) => limit === 0 && switches?.limits !== false;

/**
 * @typedef {object} Role what the page shows of a role: the fields of the API, and
 * @property {boolean} closed by a limit of 0: whatever its level is, it refuses everything
 * @property {string} state its level, or closed
 * @property {number} fullest depth of its fullest owner, as fresh as can be told
 * @property {number} full that depth by the limit
 * @property {number | null} refusedRate refusals a second since the last snapshot
 * @property {boolean} refusing
 * @property {boolean} stuck an owner has taken nothing out for long, where a wait is promised or somebody full refuses
 */

export class Model {
  /** The last snapshot as it came, or null. */
  snapshot = null;
  /** @type {Role[]} the worst first */
  roles = [];
  /** Refusals a second of all roles. @type {number | null} */
  refusedRate = null;
  /** When the node's totals last began anew, system time in ms. @type {number | null} */
  resetAt = null;
  alerts = new AlertLog();
  /**
   * `seen`: when it was first seen, in ms. `since`: when it changed; null if that was before.
   * @type {Map<string, {open: boolean, seen: number, since: number | null, changes: number}>}
   */
  breakers = new Map();
  /** When the first snapshot was taken. @type {number | null} */
  firstAt = null;
  history;
  latencies = new Latencies();
  #base = null;
  #resetAge = 0;
  #samples = 0;

  /** @param {number} [gapMs] after so long without a snapshot the lines of its charts have a gap */
  constructor(gapMs) {
    this.history = new History(gapMs);
  }

  /** Takes in a snapshot. @returns {boolean} whether it was news */
  receive(snapshot) {
    const last = this.snapshot;
    this.firstAt ??= snapshot.at_ms;
    const younger = last ? age(last) - age(snapshot) : -1;
    const same = last && snapshot.node === last.node && snapshot.started_ms === last.started_ms &&
      (younger < DISORDER_MS || typeof last.started_ms === 'number');
    if (same && younger >= 0) {
      if (!last.fullest && snapshot.fullest) last.fullest = snapshot.fullest;
      return false;
    }
    if (last && !same) this.#forget(snapshot);
    // Its clock was set back: what is drawn is of a time that comes again.
    else if (last && snapshot.at_ms <= last.at_ms) this.history.clear();
    const rows = (snapshot.roles ?? []).slice(0, MOST_ROLES);
    if (this.#base && wentBack(rows, this.#base.totals)) this.#restart(snapshot);
    const rates = this.#rates(age(snapshot), rows);
    const tops = topDepths(snapshot.fullest ?? last?.fullest ?? []);
    this.snapshot = { ...snapshot, fullest: snapshot.fullest ?? last?.fullest };
    this.roles = rows.map((row) => this.#role(row, rates, tops, snapshot)).sort(worstFirst);
    this.refusedRate = this.roles.length > 0 ? sum(this.roles, 'refusedRate') : 0;
    this.#observe(snapshot, age(snapshot));
    this.#followBreakers(snapshot.at_ms);
    this.alerts.settle(this.roles, this.snapshot.fullest ?? [], snapshot.at_ms);
    return true;
  }

  /** For how long the totals have counted since they began anew, in ms; null if they did not. */
  get sinceReset() {
    return this.resetAt === null ? null : age(this.snapshot) - this.#resetAge;
  }

  /** A breaker event; `at` is system time in ms. */
  breaker(role, action, at) {
    this.#breaker(role, action === 'open', at);
  }

  #role(row, rates, tops, snapshot) {
    const [enqueuedRate, dequeuedRate, refusedRate] =
      rates?.get(row.role) ?? [null, null, rates ? null : row.refused_per_s];
    const fullest = row.owners === 1 ? row.depth : tops.get(row.role) ?? row.fullest;
    const refusedAt = row.last_refused_ms ?? null;
    const quiet = refusedAt === null || Math.abs(snapshot.at_ms - refusedAt) > REFUSING_MS;
    const closed = isClosed(row, snapshot);
    const refusing = refusedRate > 0 || (!quiet && row.refused > 0);
    return {
      ...row, enqueuedRate, dequeuedRate, refusedRate, fullest, closed,
      state: closed ? 'closed' : row.level,
      full: utilization(fullest, row.limit),
      refusing,
      // A place may be held for hours, where it stands for a connection. So it is asked as the alert asks.
      stuck: isStuck(row.max_stalled_ms) &&
        ((refusing && row.max_utilization >= 1) || (row.wait_target_ms ?? null) !== null),
    };
  }

  // Keeps its base until enough time has passed: two snapshots may come at once.
  #rates(at, rows) {
    const totals = new Map(rows.map((row) => [row.role, TOTALS.map((field) => row[field])]));
    const base = this.#base;
    if (base && at - base.at < SHORTEST_MS) return base.rates;
    const seconds = base ? (at - base.at) / 1000 : 0;
    const rates = base && new Map(rows.map(({ role }) => {
      const before = base.totals.get(role) ?? [0, 0, 0];
      return [role, totals.get(role).map((now, i) => Math.max(0, now - before[i]) / seconds)];
    }));
    this.#base = { at, totals, rates };
    return rates;
  }

  #observe({ at_ms: at, control }, now) {
    let recent = null;
    if (control?.latency_below) {
      this.latencies.add(now, control.latency_below);
      recent = this.latencies.recent(10000);
    } else {
      this.latencies.clear();
    }
    this.history.add(at, this.#series(recent));
    this.#samples += 1;
    if (this.#samples % 600 === 0) this.history.prune();
  }

  * #series(recent) {
    for (const role of this.roles) {
      yield [`fullest ${role.role}`, role.fullest];
      yield [`limit ${role.role}`, role.limit];
      yield [`mean ${role.role}`, role.owners > 0 ? role.depth / role.owners : 0];
    }
    yield ['refused', this.refusedRate];
    yield ['p50', recent && percentile(recent, 0.5)];
    yield ['p99', recent && percentile(recent, 0.99)];
  }

  #followBreakers(at) {
    const present = new Set(this.roles.map(({ role }) => role));
    for (const role of this.breakers.keys()) if (!present.has(role)) this.breakers.delete(role);
    for (const { role, breaker } of this.roles) {
      const open = breaker === 'open';
      if (!this.breakers.has(role)) this.breakers.set(role, { open, seen: at, since: null, changes: 0 });
      else this.#breaker(role, open, at);
    }
  }

  #breaker(role, open, at) {
    const known = this.breakers.get(role);
    if (known?.open === open || (!known && this.breakers.size >= MOST_ROLES)) return;
    this.breakers.set(role, { open, seen: known?.seen ?? at, since: at, changes: (known?.changes ?? 0) + 1 });
  }

  #restart(snapshot) {
    this.resetAt = snapshot.at_ms;
    this.#resetAge = age(snapshot);
    this.#base = null;
    this.history.interrupt();
    this.latencies.clear();
    this.alerts.doubt();
  }

  #forget(snapshot) {
    this.#restart(snapshot);
    this.history.clear();
    this.breakers.clear();
  }
}

const wentBack = (rows, totals) =>
  rows.some((row) => totals.get(row.role)?.some((before, i) => row[TOTALS[i]] < before));

// The rows come fullest first, so the first of a role is its fullest owner.
const topDepths = (rows) => {
  const depths = new Map();
  for (const { role, depth } of rows) if (!depths.has(role)) depths.set(role, depth);
  return depths;
};

/** From then on nobody is said to be at work. */
const STUCK_MS = 60000;

/** @param {number?} stalledMs for how long nobody was taken out while somebody waited */
export const isStuck = (stalledMs) => stalledMs >= STUCK_MS;

const sum = (rows, field) =>
  rows.reduce((total, { [field]: value }) => ((value ?? null) === null ? total : (total ?? 0) + value), null);

const worstFirst = (a, b) =>
  (SEVERITY[b.level] ?? 0) - (SEVERITY[a.level] ?? 0) ||
  Number(b.refusing) - Number(a.refusing) ||
  Number(b.closed) - Number(a.closed) ||
  Number(b.breaker === 'open') - Number(a.breaker === 'open') ||
  Math.floor(b.full * 20) - Math.floor(a.full * 20) ||
  (a.role < b.role ? -1 : a.role > b.role ? 1 : 0);
