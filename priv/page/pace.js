// How soon a node is asked again: as seldom as what it costs, the node in time and the network in bytes.

const SOONEST_MS = 2000;
const LATEST_MS = 15000;
/** So many times as long as an answer took is waited before the next is asked for. */
const REST = 10;
/** And so long for each of its bytes: what is asked for again and again takes 1.8 MB an hour. */
const BYTE_MS = 2;
const LATEST_BY_SIZE_MS = 60000;

const within = (ms, most) => Math.min(most, Math.max(SOONEST_MS, ms));

/** The milliseconds from an answer to the next question. */
export const pause = (tookMs, bytes, most = LATEST_BY_SIZE_MS) =>
  Math.max(within(REST * tookMs, LATEST_MS), within(BYTE_MS * bytes, most));

/** Asks, and counts the bytes as they came, compressed or not. @returns {Promise<[Response, unknown, number]>} */
export const asked = async (url, signal) => {
  const answer = await fetch(url, { signal });
  const text = await answer.text();
  return [answer, JSON.parse(text), Number(answer.headers.get('content-length')) || text.length];
};
