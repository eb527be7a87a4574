// The connection to the node's event stream, and the watch over it.

/** Without new ones for so long, the numbers are stale. */
export const STALE_MS = 3000;
/** A connection that says nothing for so long is given up: it may be half open. */
const SILENT_MS = 10000;
const LONGEST_PAUSE_MS = 15000;

/** A snapshot with what has changed in it, as erlmcp_native_http_change says that. */
export const changed = (was, change) => {
  const known = typeof was === 'object' && was !== null;
  if (!known || typeof change !== 'object' || change === null) return change;
  if (Array.isArray(change)) return Array.isArray(was) ? change : change[0];
  const is = Array.isArray(was) ? [...was] : { ...was };
  for (const [key, value] of Object.entries(change)) is[key] = changed(was[key], value);
  return is;
};

/** Its listener has a function for each event, and `opened`, told whether no event was lost that the node still had. */
export class Stream {
  #url;
  #listener;
  #source = null;
  #heardAt = performance.now();
  #snapshotAt = null;
  #retryAt = 0;
  #failures = 0;
  #opened = false;

  constructor(url, listener) {
    this.#url = url;
    this.#listener = listener;
  }

  /** New numbers have come, by the stream or otherwise; the last ones sent again are none. */
  refreshed() {
    this.#snapshotAt = performance.now();
  }

  /** Milliseconds since the last new numbers; null before the first. */
  get age() {
    return this.#snapshotAt === null ? null : performance.now() - this.#snapshotAt;
  }

  /** Whether the connection stands, as far as the browser knows. */
  get open() {
    return this.#source?.readyState === EventSource.OPEN;
  }

  connect() {
    this.close();
    this.#heardAt = performance.now();
    const source = new EventSource(this.#url);
    this.#source = source;
    const first = !this.#opened;
    let again = false;
    source.addEventListener('open', () => {
      this.#heard();
      this.#opened = true;
      this.#listener.opened(first || again);
      again = true;
    });
    let last = null;
    const snapshot = (data) => {
      last = data;
      this.#failures = 0;
      this.#listener.snapshot(data);
    };
    this.#hear('snapshot', snapshot);
    this.#hear('change', (data) => last && snapshot(changed(last, data)));
    for (const event of ['alert', 'breaker', 'missed']) this.#hear(event, (data) => this.#listener[event](data));
  }

  close() {
    this.#source?.close();
    this.#source = null;
  }

  /** To be called now and then: takes a connection up again that the browser has given up, or that is silent. */
  check() {
    const now = performance.now();
    const closed = this.#source === null || this.#source.readyState === EventSource.CLOSED;
    const dead = closed || now - this.#heardAt > SILENT_MS;
    if (!dead || now < this.#retryAt) return;
    this.#failures += 1;
    const pause = Math.min(LONGEST_PAUSE_MS, 1000 * 2 ** Math.min(this.#failures - 1, 4));
    this.#retryAt = now + pause * (0.75 + Math.random() / 2);
    this.connect();
  }

  #heard() {
    this.#heardAt = performance.now();
  }

  #hear(event, then) {
    this.#source.addEventListener(event, ({ data }) => {
      this.#heard();
      then(JSON.parse(data));
    });
  }
}
