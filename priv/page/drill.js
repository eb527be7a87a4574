// What the address names, a role, an owner, a component or a node, and what the node says of it.

import { parsed } from './address.js';
import { $, h, list, say, setBadge, show } from './dom.js';
import { duration, name } from './format.js';
import { asked, pause } from './pace.js';
import { ComponentView } from './view_component.js';
import { NodeView } from './view_node.js';
import { OwnerView } from './view_owner.js';
import { RoleView } from './view_role.js';

const LATE_MS = 10000;
const VIEWS = { role: RoleView, owner: OwnerView, component: ComponentView, node: NodeView };

const ask = async (url, signal) => {
  const [answer, said, bytes] = await asked(url, AbortSignal.any([signal, AbortSignal.timeout(LATE_MS)]));
  return [answer.ok ? said : { error: `${said.reason ?? answer.statusText}` }, bytes];
};

export class Drill {
  #views;
  #redraw;
  #at = null;
  #answers = {};
  #asking = new AbortController();
  #timer = null;

  constructor(redraw, cluster) {
    this.#redraw = redraw;
    const again = () => this.#ask();
    this.#views = Object.fromEntries(Object.entries(VIEWS).map(([kind, View]) => [kind, new View(again, cluster)]));
    addEventListener('hashchange', () => this.#follow(true));
    document.addEventListener('visibilitychange', () => document.hidden || !this.#at || this.#ask());
    this.#follow(false);
  }

  /** What is looked at, as `parsed` has it. */
  get at() {
    return this.#at;
  }

  /** The role whose numbers are shown, or null. */
  get role() {
    return this.#at?.kind === 'role' ? this.#at.value : null;
  }

  /** For the title of the window. */
  get subject() {
    return this.#at && name(this.#at.value, 48);
  }

  /** The model of the node that charts are of, and why they have nothing to show, if so. */
  charts(model) {
    return this.#at?.kind === 'node' ? this.#views.node.charts(model, this.#at.value) : [model, null];
  }

  #follow(moved) {
    this.#at = parsed(location.hash);
    this.#answers = {};
    say($('drill-every'), '');
    if (this.#at) this.#views[this.#at.kind].enter?.();
    const view = this.#at?.kind ?? 'all';
    for (const section of document.querySelectorAll('main > section')) {
      show(section, (section.dataset.of ?? 'all').split(' ').includes(view));
    }
    this.#draw(null);
    this.#ask();
    if (moved) {
      const to = this.#at ? $('drill-title') : $('main');
      scrollTo(0, 0);
      to.focus({ preventScroll: true });
    }
    this.#redraw();
  }

  // What was asked for before is not waited for.
  async #ask() {
    clearTimeout(this.#timer);
    this.#asking.abort();
    const at = this.#at;
    if (!at || document.hidden) return;
    const { signal } = this.#asking = new AbortController();
    const began = performance.now();
    let size = 0;
    const urls = this.#views[at.kind].urls(at);
    // What is not asked for any more is not known any more.
    for (const key of Object.keys(this.#answers)) if (!(key in urls)) delete this.#answers[key];
    await Promise.all(Object.entries(urls).map(async ([key, url]) => {
      try {
        const [said, bytes] = await ask(url, signal);
        if (signal.aborted) return;
        // What was is asked for once.
        if (key !== 'past') size += bytes;
        this.#answers[key] = said;
        this.#redraw();
      } catch {
        // The node does not answer, which the top of the page says.
      }
    }));
    if (signal.aborted) return;
    performance.clearMarks('drill-data');
    requestAnimationFrame(() => requestAnimationFrame(() => performance.mark('drill-data')));
    const again = pause(performance.now() - began, size);
    say($('drill-every'), `asked every ${duration(Math.round(again / 1000) * 1000)}`);
    this.#timer = setTimeout(() => this.#ask(), again);
  }

  render(model) {
    if (this.#at) this.#draw(model);
  }

  #draw(model) {
    if (!this.#at) return;
    const at = this.#at;
    const { note = '', verdict, level = null, lines = [] } = model
      ? this.#views[at.kind].render(model, at, this.#answers) : {};
    say($('drill-kind'), at.kind);
    say($('drill-title'), name(at.value, 256));
    say($('drill-note'), note);
    show($('drill-level'), level !== null);
    if (level !== null) setBadge($('drill-level'), level);
    say($('drill-verdict'), verdict ?? 'Asking the node.');
    list($('drill-lines'), lines.map((line, i) => ({ ...line, i })), ({ i }) => i,
      () => h('div', {}, h('dt'), h('dd')), (child, { name: what, words }) => {
        say(child.firstChild, what);
        say(child.lastChild, words);
      });
  }
}
