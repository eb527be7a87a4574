// The state of the node in plain words.

import { bytes, clock, count, duration, name, of as within, percent, plural, rate, some } from './format.js';

const SERVICES = {
  erlmcp_queue_limits: ['Queue limits are', 'nothing is counted and nothing is refused'],
  erlmcp_overload_monitor: ['The overload monitor is', 'no alerts come, and breakers stay as they are'],
  erlmcp_control_plane: ['The control plane is', 'control messages cannot be sent'],
};
const SWITCHES = {
  limits: ['Limits', 'are OFF: nothing is refused'],
  overload: ['Overload alerts', 'are OFF: no alerts come, and breakers stay as they are'],
  priority: ['Control priority', 'is OFF: control messages wait behind data'],
};
/** Why a request was refused. */
export const REASONS = {
  full: 'its owner was full',
  class: 'the rest of the limit is kept for higher classes',
  deadline: 'it would have waited for longer than it may',
  role: 'all owners together had as many as they may',
  bytes: 'all owners together had as many bytes as they may',
  node: 'the node was pressed, by memory or by its run queue',
};
const SHORT_NAME = 48;
/** From this share on, keys and early cancellations are nearly as many as may be. */
const NEAR = 0.8;
/** For so long it is said that the totals began anew. */
const RESET_SHOWN_MS = 60000;

/** What it is to have a limit of 0. */
export const CLOSED = 'closed: its limit is 0, everything is refused';

const named = (rows) => some(rows.map((row) => name(row.role ?? row.name, SHORT_NAME)));

const still = ({ max_stalled_ms: ms }) => `nobody taken out for ${duration(ms)}`;
const standing = (role) => `${name(role.role, SHORT_NAME)} (${still(role)})`;

const refusal = (role) => {
  const { role: of, refusedRate, retry_after_ms: retry, closed, stuck } = role;
  const then = closed ? CLOSED : stuck ? `stuck: ${still(role)}` : `retry in ${duration(retry)}`;
  return `${name(of, SHORT_NAME)} (${refusedRate > 0 ? `${rate(refusedRate)}/s, ` : ''}${then})`;
};

/** What one of the two that press a node has come to. */
export const found = {
  memory: ({ used, limit: most, share }) =>
    (most === null ? `${bytes(used)} in use` : `${bytes(used)} of ${bytes(most)}, ${percent(share)}`),
  run_queue: ({ length, per_scheduler: each }) => `${count(length)} waiting, ${rate(each)} for each scheduler`,
};

const strain = ({ level, cause, refuses, ...of }) =>
  `The node refuses ${level === 2 ? 'all but critical_plus' : some(refuses)}: ${
    cause.replace('_', ' ')} ${found[cause](of[cause])}`;

export const isRefusing = ({ refusing_since_ms: since }) => since !== null;
export const isCrowded = ({ keys, max_keys: most }) => most > 1 && keys >= NEAR * most;
const isNear = ({ tombstones: some, tombstones_limit: most }) => some > 0 && some >= NEAR * most;
export const early = ({ tombstones, tombstones_limit: most }) => within(tombstones, most);

/** Why there are no roles. */
export const noRoles = ({ services }) =>
  services?.erlmcp_queue_limits === false
    ? 'Queue limits are not running: nothing is counted and nothing is refused.'
    : 'No role has been used yet.';

/** Each switch and service that needs saying. @returns {{text: string, off: boolean}[]} */
export const switches = ({ services, switches: states }) => [
  ...Object.entries(SWITCHES)
    .filter(([key]) => typeof states?.[key] === 'boolean')
    .map(([key, [what, off]]) => ({ text: states[key] ? `${what}: on` : `${what} ${off}`, off: !states[key] })),
  ...Object.entries(SERVICES)
    .filter(([key]) => services?.[key] === false)
    .map(([key, [what, then]]) => ({ text: `${what} not running (${key}): ${then}`, off: true })),
];

/**
 * @param {import('./model.js').Model} model that has a snapshot
 * @returns {{level: 'ok' | 'warning' | 'critical' | 'overload', headline: string, short: string, reasons: string[]}}
 */
export const verdict = ({ snapshot, roles: all, resetAt, sinceReset }) => {
  const { pressure, cancel, rates = [] } = snapshot;
  const [held, crowded] = [rates.filter(isRefusing), rates.filter(isCrowded)];
  // Its role says in a number what is said in words here.
  const roles = pressure ? all.filter(({ role }) => role !== 'node') : all;
  const down = Object.keys(SERVICES).filter((key) => snapshot.services?.[key] === false);
  const off = Object.keys(SWITCHES).filter((key) => snapshot.switches?.[key] === false);
  const refusing = roles.filter((role) => role.refusing).sort((a, b) => (b.refusedRate ?? 0) - (a.refusedRate ?? 0));
  const closed = roles.filter((role) => role.closed);
  const stuck = roles.filter((role) => role.stuck && !role.closed);
  const at = (level) => roles.filter((role) => role.state === level);
  const [overload, critical, warning] = [at('overload'), at('critical'), at('warning')];
  const full = ({ used, most }) => used >= (most ?? Infinity);
  const capped = roles.filter(({ caps }) => Object.values(caps ?? {}).some(full));
  const open = roles.filter(({ breaker }) => breaker === 'open');
  const began = sinceReset !== null && sinceReset < RESET_SHOWN_MS;
  const each = ({ name: of, refused_per_s: often }) => `${name(of, SHORT_NAME)} (${rate(often)}/s)`;
  const reasons = [
    pressure?.level && strain(pressure),
    overload.length && `In overload: ${named(overload)}`,
    critical.length && `Critical, from 90 %: ${named(critical)}`,
    warning.length && `Warning, from 80 %: ${named(warning)}`,
    stuck.length && `Stuck: ${some(stuck.map(standing))}`,
    closed.length && `Closed by a limit of 0: ${named(closed)}`,
    capped.length && `At a cap over all owners: ${named(capped)}`,
    open.length && `${open.length === 1 ? 'Breaker' : 'Breakers'} open for ${named(open)}`,
    held.length && `Rates refuse clients that ask too often: ${some(held.map(each))}`,
    crowded.length && `Keys nearly as many as may be: ${named(crowded)}`,
    cancel && isNear(cancel) && `Early cancellations nearly as many as may be: ${early(cancel)}`,
    began && `Totals began anew at ${clock(resetAt)}: the node or its counters were restarted`,
  ].filter(Boolean);

  const of = `of ${plural(roles.length, 'role')}`;
  const calm = held.length ? 'no queue refuses' : 'nothing refused';
  const result = (level, short, headline) => ({ level, short, headline, reasons });
  if (pressure?.level === 2) return result('overload', 'node pressed', strain(pressure));
  if (refusing.length) {
    return result('overload', `${refusing.length} refusing`,
      `${refusing.length} ${of} ${refusing.length === 1 ? 'refuses' : 'refuse'}: ${some(refusing.map(refusal))}`);
  }
  if (overload.length) {
    return result('overload', 'overload', `${overload.length} ${of} in overload, ${calm} just now`);
  }
  if (pressure?.level) return result('critical', 'node pressed', strain(pressure));
  if (stuck.length) {
    return result('critical', 'stuck',
      `${stuck.length} ${of} ${stuck.length === 1 ? 'is' : 'are'} stuck: ${some(stuck.map(standing))}`);
  }
  if (critical.length) return result('critical', 'critical', `${critical.length} ${of} critical, ${calm}`);
  if (down.length) {
    return result('critical', 'service down',
      down.length === 3 ? 'No service is running' : `Not running: ${down.join(', ')}`);
  }
  if (closed.length) {
    return result('warning', 'closed', closed.length === 1 ? `${named(closed)} is ${CLOSED}`
      : `${closed.length} ${of} are closed: their limit is 0, everything is refused`);
  }
  if (warning.length) return result('warning', 'warning', `${warning.length} ${of} filling up, ${calm}`);
  if (off.length) return result('warning', 'switched off', `${plural(off.length, 'protection')} switched off`);
  if (open.length) {
    return result('warning', 'breaker open',
      `No queue is full, but ${plural(open.length, 'breaker is', 'breakers are')} open`);
  }
  if (held.length) return result('ok', 'ok', `No queue refuses, ${plural(held.length, 'rate does', 'rates do')}`);
  if (roles.length === 0) return result('ok', 'ok', 'Nothing to protect yet: no role has been used');
  const fullest = roles.reduce((most, role) => (role.full > most.full ? role : most));
  const which = roles.length === 1 ? 'the only role' : `the fullest of ${roles.length} roles`;
  return result('ok', 'ok', `All well: nothing refused, ${which} at ${percent(fullest.full)}`);
};
