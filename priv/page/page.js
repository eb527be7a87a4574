// Puts the page together: the model takes what comes, the views draw it once a frame at most.

import { address } from './address.js';
import { recolour } from './chart.js';
import { Cluster } from './cluster.js';
import { $, fields, say, show, stats } from './dom.js';
import { Drill } from './drill.js';
import { bytes, count, duration } from './format.js';
import { Model } from './model.js';
import { samples } from './past.js';
import { Stream } from './stream.js';
import { Announcer, AlertsView } from './view_alerts.js';
import { renderBreakers } from './view_breakers.js';
import { ClusterView } from './view_cluster.js';
import { ControlView } from './view_control.js';
import { LevelsView } from './view_levels.js';
import { renderOwners } from './view_owners.js';
import { QueuesView } from './view_queues.js';
import { renderRates } from './view_rates.js';
import { RefusalsView } from './view_refusals.js';
import { RolesView } from './view_roles.js';
import { found } from './verdict.js';
import { freshness, renderFreshness, renderStatus } from './view_status.js';

const TICK_MS = 500;

const model = new Model();
const announcer = new Announcer();
let feed = 'connecting';
let frame = null;
let whole = false;

/** Draws with the next frame: all, or what news between two snapshots change. */
const redraw = (all = true) => {
  if (document.hidden || !model.snapshot) return;
  whole ||= all;
  frame ??= requestAnimationFrame(() => {
    frame = null;
    renderNews();
    if (whole) renderNumbers();
    whole = false;
  });
};

const choose = (role) => {
  location.hash = role === null ? '' : address('role', role);
};

const alertsView = new AlertsView();
const views = {
  cluster: new ClusterView(),
  roles: new RolesView(() => redraw()),
  queues: new QueuesView(choose),
  refusals: new RefusalsView(),
  control: new ControlView(),
  levels: new LevelsView(() => redraw()),
};

const renderNews = () => {
  alertsView.render(model);
  renderBreakers(model);
};

const cluster = new Cluster(() => redraw());
const drill = new Drill(() => redraw(), cluster);

const renderNumbers = () => {
  renderStatus(model, feed, drill.subject);
  cluster.follow(model.snapshot);
  drill.render(model);
  views.cluster.render(cluster, drill.at, model.snapshot.node);
  views.roles.render(model);
  const [charted, missing] = drill.charts(model);
  show($('queues-role'), charted === model);
  views.queues.render(charted, drill.role, missing);
  views.refusals.render(charted, missing);
  renderOwners(model);
  renderRates(model);
  views.control.render(model);
  views.levels.render(model);
  renderSelf(model.snapshot);
  rendered();
};

const pressed = (pressure) => [['Memory', 'memory'], ['Run queue', 'run_queue']]
  .filter(([, cause]) => pressure?.[cause])
  .map(([label, cause]) => [label, found[cause](pressure[cause]), cause]);

const renderSelf = ({ self, version, pressure, up_ms: up }) => stats($('self'), [
  ['Version', String(version ?? '–'), 'version'],
  ['Runs for', duration(up), 'up'],
  ...pressed(pressure),
  ...fields(self, [
    ['Owners tracked', count, 'owners'],
    ['Native memory', bytes, 'memory_bytes'],
    ['Alerts lost', count, 'alerts_lost'],
    ['Wake-ups dropped', count, 'wakeups_dropped'],
    ['Mailboxes passed over', count, 'mailboxes_passed_over'],
    ['Pages and other streams', count, 'streams'],
  ]),
]);

// The first numbers are painted when the frame after them begins.
let rendered = () => {
  rendered = () => {};
  requestAnimationFrame(() => requestAnimationFrame(() => performance.mark('first-data')));
};

/** Takes in a snapshot, as the stream gives it; for tests, too. */
export const receive = (snapshot) => {
  if (model.receive(snapshot)) stream.refreshed();
  if (asked !== null && asked !== model.history.epoch) unless(loadPast());
  tick();
  redraw();
};

/** Takes in an alert event, as the stream gives it; for tests, too. */
export const receiveAlert = (alert) => {
  if (alert.what === 'cleared') {
    if (model.alerts.cleared(alert, alert.timestamp)) announcer.cleared(alert);
  } else if (model.alerts.raised(alert)) {
    announcer.raised(alert);
  }
  redraw(false);
};

const fetched = async (url) => {
  const answer = await fetch(url, { signal: AbortSignal.timeout(5000) });
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return answer.json();
};

let alertsAsked = false;

const loadAlerts = async () => {
  alertsAsked = true;
  const { alerts } = await fetched('api/alerts');
  model.alerts.load(alerts);
  redraw(false);
};

// Whatever fails here comes with the stream, or is tried again when the stream opens.
const unless = (promise) => promise.catch(() => null);

const loadFirst = async () => {
  const [summary, queues] = await Promise.all([unless(fetched('api/summary')), unless(fetched('api/queues?top=10'))]);
  if (summary && !model.snapshot) receive({ ...summary, ...(queues && { fullest: queues.queues }) });
};

// Of which epoch of the charts the past was asked for, and is there.
let asked = null;
let begun = null;

const loadPast = async () => {
  const epoch = asked = model.history.epoch;
  const past = samples(await fetched('api/history'));
  if (begun === epoch || model.history.epoch !== epoch) return;
  model.history.begin(past);
  begun = epoch;
  redraw();
};

const stream = new Stream('events?changes', {
  snapshot: receive,
  alert: receiveAlert,
  breaker: ({ role, action }) => {
    model.breaker(role, action, Date.now());
    redraw(false);
  },
  missed: ({ events }) => {
    alertsView.missed(events);
    model.alerts.doubt();
    unless(loadAlerts());
  },
  opened: (resumed) => {
    if (!resumed) model.alerts.doubt();
    unless(loadAlerts());
    if (begun !== model.history.epoch) unless(loadPast());
  },
});

const tick = () => {
  const fresh = freshness(stream.age, stream.open);
  renderFreshness(fresh);
  if (fresh.feed === feed) return;
  if (fresh.feed === 'stale') announcer.tell('The numbers are stale: the connection to the node is lost.');
  if (feed === 'stale') announcer.tell('The numbers are live again.');
  feed = fresh.feed;
  redraw();
};

const followTheme = () => {
  const themes = ['auto', 'light', 'dark'];
  const root = document.documentElement;
  const label = () => say($('theme-name'), root.dataset.theme ?? 'auto');
  $('theme').addEventListener('click', () => {
    const next = themes[(themes.indexOf(root.dataset.theme ?? 'auto') + 1) % themes.length];
    if (next === 'auto') delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      localStorage.setItem('erlmcp_native.theme', next);
    } catch {
      // Then it holds for this visit.
    }
    label();
    recolour();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', recolour);
  label();
};

// The address says what is looked at, and stays.
document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  $('main').focus();
});
followTheme();
unless(loadFirst());
stream.connect();
// The history is asked for when the stream stands, so that nothing falls between the two.
setTimeout(() => alertsAsked || unless(loadAlerts()), TICK_MS);
const watch = setInterval(() => {
  stream.check();
  tick();
}, TICK_MS);

/** From now on there is only what `receive` and `receiveAlert` are given: for tests. */
export const disconnect = () => {
  clearInterval(watch);
  stream.close();
};

document.addEventListener('visibilitychange', () => {
  stream.check();
  tick();
  redraw();
});
addEventListener('pagehide', () => stream.close());
addEventListener('pageshow', ({ persisted }) => persisted && stream.connect());
