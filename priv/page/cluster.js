// What the node has heard of others, which is asked for while a cluster is configured there.

import { asked, pause } from './pace.js';

const LATEST_MS = 15000;

export class Cluster {
  /** The last answer of `/api/cluster`; null: none yet, or no cluster is configured. */
  said = null;
  #redraw;
  #asking = false;
  #next = 0;

  constructor(redraw) {
    this.#redraw = redraw;
  }

  /** Asks again if it is time to; to be called with each snapshot. */
  follow({ cluster }) {
    if (!cluster) this.said = null;
    else if (!this.#asking && performance.now() >= this.#next) this.#ask();
  }

  /** What was heard of a node, if anything was. */
  row(node) {
    return this.said?.nodes.find((each) => each.node === node);
  }

  async #ask() {
    this.#asking = true;
    const began = performance.now();
    let size = 0;
    try {
      const [answer, said, bytes] = await asked('api/cluster', AbortSignal.timeout(LATEST_MS));
      size = bytes;
      if (answer.ok) this.said = said;
    } catch {
      // The node does not answer, which the top of the page says.
    }
    const now = performance.now();
    this.#next = now + pause(now - began, size, LATEST_MS);
    this.#asking = false;
    this.#redraw();
  }
}
