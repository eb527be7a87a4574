// What the charts draw: the last ten minutes of every series, in rings that are made once.

/** A sample a second for ten minutes. */
export const LENGTH = 600;
const WINDOW_MS = LENGTH * 1000;
/** As many roles as a node can have, each with three series, and those of the whole node. */
const MOST_SERIES = 3 * 1024 + 8;
const GAP_MS = 3500;

export class History {
  #times = new Float64Array(LENGTH).fill(NaN);
  #series = new Map();
  #head = -1;
  #size = 0;
  #gapMs;
  /** How often all was forgotten. */
  epoch = 0;

  constructor(gapMs = GAP_MS) {
    this.#gapMs = gapMs;
  }

  get latest() {
    return this.#size === 0 ? null : this.#times[this.#head];
  }

  clear() {
    this.epoch += 1;
    this.#empty();
  }

  #empty() {
    this.#series.clear();
    this.#size = 0;
    this.#head = -1;
  }

  /** A break in every line, such as a restart. */
  interrupt() {
    if (this.#size > 0) this.#open(this.latest + 1);
  }

  /**
   * Adds a sample of each series.
   * @param {number} at system time in ms, later than the last
   * @param {Iterable<[string, number | null]>} values by the series' names
   */
  add(at, values) {
    if (this.#size > 0 && at - this.latest > this.#gapMs) this.interrupt();
    this.#open(at);
    for (const [key, value] of values) {
      const ring = this.#series.get(key) ?? this.#start(key);
      if (ring !== null) ring[this.#head] = value ?? NaN;
    }
  }

  /**
   * Puts samples in front of those that there are, as far as they are older.
   * @param {[at: number, values: [string, number | null][]][]} samples the oldest first
   */
  begin(samples) {
    const rings = [...this.#series];
    const had = [];
    for (let back = this.#size - 1; back >= 0; back--) {
      const at = (this.#head - back + LENGTH) % LENGTH;
      had.push([this.#times[at], rings.map(([key, ring]) => [key, Number.isNaN(ring[at]) ? null : ring[at]])]);
    }
    const first = had[0]?.[0] ?? Infinity;
    this.#empty();
    for (const [at, values] of [...samples.filter(([at]) => at < first), ...had]) this.add(at, values);
  }

  /** Forgets the series of which nothing is left. */
  prune() {
    for (const [key, ring] of this.#series) if (ring.every(Number.isNaN)) this.#series.delete(key);
  }

  /**
   * The times in seconds, then a column for each key; null where nothing is known.
   * @param {string[]} keys
   */
  read(keys) {
    const since = (this.latest ?? 0) - WINDOW_MS;
    const columns = [[], ...keys.map(() => [])];
    const rings = keys.map((key) => this.#series.get(key));
    for (let back = this.#size - 1; back >= 0; back--) {
      const at = (this.#head - back + LENGTH) % LENGTH;
      if (this.#times[at] < since) continue;
      columns[0].push(this.#times[at] / 1000);
      rings.forEach((ring, i) => {
        const value = ring?.[at] ?? NaN;
        columns[i + 1].push(Number.isNaN(value) ? null : value);
      });
    }
    return columns;
  }

  /** The highest value of a series in its last samples, or -Infinity. */
  highest(key, samples = LENGTH) {
    const ring = this.#series.get(key);
    let highest = -Infinity;
    for (let back = Math.min(samples, this.#size) - 1; ring && back >= 0; back--) {
      const value = ring[(this.#head - back + LENGTH) % LENGTH];
      if (value > highest) highest = value;
    }
    return highest;
  }

  #open(at) {
    this.#head = (this.#head + 1) % LENGTH;
    this.#size = Math.min(this.#size + 1, LENGTH);
    this.#times[this.#head] = at;
    for (const ring of this.#series.values()) ring[this.#head] = NaN;
  }

  #start(key) {
    if (this.#series.size >= MOST_SERIES) return null;
    const ring = new Float32Array(LENGTH).fill(NaN);
    this.#series.set(key, ring);
    return ring;
  }
}
