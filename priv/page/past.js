// What it was like before the page was opened: the answer of api/history, as samples of the page's own history.

/** As much as the percentile on the page looks back. */
const P99_STEPS = 10;

const highest = (values, from, to) => {
  const known = values.slice(Math.max(0, from), to).filter((value) => value !== null);
  return known.length > 0 ? Math.max(...known) : null;
};

/**
 * The samples of all seconds that are over, from the first of which anything is known.
 * @returns {[at: number, values: [string, number | null][]][]} system time in ms, and values by the series' names
 */
export const samples = ({ to_ms: to, step_ms: step, points, node, roles }) => {
  const past = [];
  for (let i = 0; i < points - 1; i++) {
    const values = [
      ...roles.map(({ role, fullest }) => [`fullest ${role}`, fullest[i]]),
      ['refused', node.refused_per_s[i]],
      ['p99', highest(node.control_p99_us, i + 1 - P99_STEPS, i + 1)],
    ];
    if (past.length > 0 || values.some(([, value]) => value !== null)) {
      past.push([to - (points - 1 - i) * step, values]);
    }
  }
  return past;
};
