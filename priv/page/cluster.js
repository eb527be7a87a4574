// What the node has heard of others, which is asked for while a cluster is configured there.

const SOONEST_MS = 2000;
const LATEST_MS = 15000;
/** So many times as long as an answer took is waited before the next is asked for. */
const REST = 10;

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
      const answer = await fetch('api/cluster', { signal: AbortSignal.timeout(LATEST_MS) });
      const text = await answer.text();
      size = text.length;
      if (answer.ok) this.said = JSON.parse(text);
    } catch {
      // The node does not answer, which the top of the page says.
    }
    const now = performance.now();
    // What is large is asked for less often: a millisecond for each byte.
    this.#next = now + Math.min(LATEST_MS, Math.max(SOONEST_MS, REST * (now - began), size));
    this.#asking = false;
    this.#redraw();
  }
}
