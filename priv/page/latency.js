// Percentiles of the last seconds, from the difference of cumulative counts below powers of two.

/** @typedef {{us: number, count: number}[]} Below cumulative counts below so many microseconds */
/** @typedef {{from: number, to: number, count: number}[]} Bands counts between two latencies */

const KEPT = 61;

/** The messages of each band that came between two observations. @returns {Bands} */
export const bands = (now, before = null) => {
  const earlier = new Map((before ?? []).map(({ us, count }) => [us, count]));
  let from = 0;
  let below = 0;
  return now.map(({ us, count }) => {
    const total = count - (earlier.get(us) ?? 0);
    const band = { from, to: us, count: Math.max(0, total - below) };
    from = us;
    below = total;
    return band;
  });
};

export const total = (some) => some.reduce((sum, band) => sum + band.count, 0);

/** A percentile as good as the bands tell: within its band on a logarithmic scale; null when there is none. */
export const percentile = (some, share) => {
  const rank = share * total(some);
  if (!(rank > 0)) return null;
  let below = 0;
  for (const { from, to, count } of some) {
    if (below + count >= rank) {
      const low = Math.max(from, 0.5);
      return low * (to / low) ** ((rank - below) / count);
    }
    below += count;
  }
  return null;
};

/** The observations of the last minute. */
export class Latencies {
  #kept = [];

  clear() {
    this.#kept = [];
  }

  /** Adds an observation; whatever went back makes a new beginning. */
  add(at, below) {
    const last = this.#kept.at(-1);
    if (last && below.some(({ us, count }, i) => last.below[i]?.us !== us || last.below[i].count > count)) this.clear();
    this.#kept.push({ at, below });
    if (this.#kept.length > KEPT) this.#kept.shift();
  }

  /** What came in the last so many milliseconds; null before there are two observations. */
  recent(ms) {
    const last = this.#kept.at(-1);
    if (this.#kept.length < 2) return null;
    const since = last.at - ms - 500;
    const first = this.#kept.find(({ at }) => at >= since);
    return first === last ? null : bands(last.below, first.below);
  }

  /** All there was since the node counts. */
  all() {
    const last = this.#kept.at(-1);
    return last ? bands(last.below) : null;
  }
}
