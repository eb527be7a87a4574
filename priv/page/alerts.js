// The last alerts, and what became of them.

export const MOST = 100;
/** The levels in order. */
export const SEVERITY = { ok: 0, warning: 1, critical: 2, overload: 3 };
/** A snapshot may have been taken before an alert that came before it. */
const SETTLED_MS = 2000;
/** An alert that is later by so much is of before the node's clock was set back. */
const LATER_MS = 10000;

/**
 * @typedef {{
 *   level: string, role: string, process: string, depth: number, limit: number, utilization: number, timestamp: number,
 * }} Alert
 * @typedef {Alert & {id: string, state: 'holds' | 'cleared' | 'unknown', clearedAt: number | null}} Entry
 *   unknown: it was raised while this page did not listen, and may be over
 */

const identity = (alert) => [alert.timestamp, alert.level, alert.role, alert.process].join('\n');
const same = (a, b) => a.level === b.level && a.role === b.role && a.process === b.process;

export class AlertLog {
  /** @type {Entry[]} newest first */
  entries = [];

  /** Takes in a history: what is already known stays as it is. */
  load(history) {
    const known = new Set(this.entries.map((entry) => entry.id));
    for (const alert of history.slice(0, MOST)) {
      const id = identity(alert);
      if (!known.has(id)) this.entries.push({ ...alert, id, state: 'unknown', clearedAt: null });
      known.add(id);
    }
    this.entries.sort((a, b) => b.timestamp - a.timestamp);
    this.#bound();
  }

  /** @returns {boolean} whether it is new */
  raised(alert) {
    const id = identity(alert);
    const known = this.entries.find((entry) => entry.id === id);
    if (known) {
      if (known.state === 'unknown') known.state = 'holds';
      return false;
    }
    const later = this.entries.findIndex((entry) => entry.timestamp <= alert.timestamp);
    this.entries.splice(later < 0 ? this.entries.length : later, 0, { ...alert, id, state: 'holds', clearedAt: null });
    this.#bound();
    return true;
  }

  /** @returns {boolean} whether anything held until now */
  cleared(alert, at) {
    let any = false;
    for (const entry of this.entries) {
      if (entry.state !== 'cleared' && same(entry, alert)) {
        any = true;
        entry.state = 'cleared';
        entry.clearedAt = Math.max(at, entry.timestamp);
      }
    }
    return any;
  }

  /**
   * What a snapshot says of alerts: a role whose level is lower has no owner left at the levels above, and an owner
   * that is still as full still holds its alerts.
   * @param {{role: string, level: string}[]} roles
   * @param {{role: string, process: string, status: string}[]} owners the fullest
   */
  settle(roles, owners, at) {
    const levels = new Map(roles.map(({ role, level }) => [role, SEVERITY[level] ?? 3]));
    for (const entry of this.entries) {
      const since = at - entry.timestamp;
      if (entry.state === 'cleared' || (since < SETTLED_MS && since > -LATER_MS)) continue;
      const owner = entry.state === 'unknown' &&
        owners.find(({ role, process }) => role === entry.role && process === entry.process);
      if (owner && SEVERITY[owner.status] >= SEVERITY[entry.level]) entry.state = 'holds';
      if ((levels.get(entry.role) ?? 0) < SEVERITY[entry.level]) {
        entry.state = 'cleared';
        entry.clearedAt = null;
      }
    }
  }

  /** Something may have been missed: whether the rest still holds is not known. */
  doubt() {
    for (const entry of this.entries) if (entry.state === 'holds') entry.state = 'unknown';
  }

  #bound() {
    if (this.entries.length > MOST) this.entries.length = MOST;
  }
}
