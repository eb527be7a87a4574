// The top of the page: how fresh it is, what is wrong, and what is switched off.

import { address } from './address.js';
import { $, attribute, h, list, say } from './dom.js';
import { clock, name } from './format.js';
import { STALE_MS } from './stream.js';
import { switches, verdict } from './verdict.js';

const seconds = (ms) => (ms < 9950 ? (ms / 1000).toFixed(1) : String(Math.round(ms / 1000)));

/** How old the numbers are, in words. @returns {{feed: string, text: string}} */
export const freshness = (age, open) => {
  if (age === null) return { feed: 'connecting', text: open ? 'connected, no data yet' : 'connecting' };
  if (age <= STALE_MS) return { feed: 'live', text: `live, ${seconds(age)} s ago` };
  const waits = open ? 'waiting' : 'reconnecting';
  return { feed: 'stale', text: `STALE: no data for ${Math.floor(age / 1000)} s, ${waits}` };
};

export const renderFreshness = ({ feed, text }) => {
  attribute($('fresh'), 'data-feed', feed);
  say($('fresh'), text);
  attribute(document.documentElement, 'data-feed', feed);
};

/** A verdict on old numbers is no verdict on the node. */
export const renderStatus = (model, feed, subject) => {
  const { snapshot } = model;
  if (!snapshot) return;
  const stale = feed === 'stale';
  const { level, headline, short, reasons } = verdict(model);
  attribute($('verdict'), 'data-level', stale ? 'stale' : level);
  say($('headline'), stale ? `As of ${clock(snapshot.at_ms)}: ${headline}` : headline);
  say($('node'), name(snapshot.node));
  attribute($('node'), 'href', address('node', snapshot.node));
  const parts = [stale ? 'STALE' : short, subject, name(snapshot.node, 80), 'erlmcp_native'];
  const title = parts.filter(Boolean).join(' · ');
  if (document.title !== title) document.title = title;
  list($('reasons'), reasons, (text) => text.split(' ')[0], () => h('li'), (child, text) => say(child, text));
  list($('switches'), switches(snapshot), ({ text }) => text, () => h('li'), (child, { text, off }) => {
    attribute(child, 'data-off', String(off));
    say(child, text);
  });
};
