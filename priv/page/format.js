// Numbers, times and names as text. Whatever is not a number is a dash.

const THIN = '\u202f';
const NONE = '–';

const known = (value) => typeof value === 'number' && Number.isFinite(value);

const grouped = (digits) => digits.replace(/\B(?=(\d{3})+$)/g, THIN);

const SUPER = '⁰¹²³⁴⁵⁶⁷⁸⁹';

const scientific = (value) => {
  const [mantissa, exponent] = value.toExponential(2).split('e+');
  return `${mantissa}${THIN}×${THIN}10${[...exponent].map((digit) => SUPER[digit]).join('')}`;
};

/** A count: 1 234 567; from 10^15 on as a power of ten, since JSON numbers are not exact there. */
export const count = (value) => {
  if (!known(value)) return NONE;
  if (Math.abs(value) >= 1e15) return scientific(value);
  return (value < 0 ? '−' : '') + grouped(String(Math.abs(Math.round(value))));
};

/** A limit, of which null is none. */
export const limit = (value) => (value === null ? 'no limit' : count(value));

/** So much of a limit. */
export const of = (value, most) => (most === null ? `${count(value)}, no limit` : `${count(value)} of ${count(most)}`);

/** A number a second, without its unit. */
export const rate = (value) => {
  if (!known(value)) return NONE;
  return value > 0 && value < 9.95 ? value.toFixed(1) : count(value);
};

/** For axes: 950, 1.2k, 30M, 6e17. */
export const short = (value) => {
  if (!known(value)) return '';
  for (const [power, letter] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']]) {
    if (value >= 1e15) return value.toExponential(0).replace('+', '');
    if (value >= power) return `${Number((value / power).toPrecision(3))}${letter}`;
  }
  return String(Number(value.toPrecision(3)));
};

/** A share: 0.876 is 87 %. Only what is full reads 100 %, and only what is empty 0 %. */
export const percent = (share) => {
  if (!known(share)) return NONE;
  if (share > 0 && share < 0.01) return `<${THIN}1${THIN}%`;
  return `${count(Math.floor(share * 100 + 1e-9))}${THIN}%`;
};

const UNITS_MS = [['d', 86400e3], ['h', 3600e3], ['min', 60e3], ['s', 1e3]];

/** A length of time in milliseconds, in its two largest units. */
export const duration = (ms) => {
  if (!known(ms)) return NONE;
  if (ms < 1000) return `${Math.round(ms)}${THIN}ms`;
  if (ms < 59950) return `${Number((ms / 1000).toFixed(1))}${THIN}s`;
  const seconds = Math.round(ms / 1000) * 1000;
  const at = UNITS_MS.findIndex(([, size]) => seconds >= size);
  const [unit, size] = UNITS_MS[at];
  const [minor, minorSize] = UNITS_MS[at + 1];
  const rest = Math.floor((seconds % size) / minorSize);
  const whole = `${count(Math.floor(seconds / size))}${THIN}${unit}`;
  return rest > 0 ? `${whole} ${rest}${THIN}${minor}` : whole;
};

/** A latency in microseconds, with three significant digits. */
export const latency = (us) => {
  if (!known(us)) return NONE;
  if (us < 1000) return `${Number(us.toPrecision(3))}${THIN}µs`;
  if (us < 1e6) return `${Number((us / 1000).toPrecision(3))}${THIN}ms`;
  return `${Number((us / 1e6).toPrecision(3))}${THIN}s`;
};

export const bytes = (value) => {
  if (!known(value)) return NONE;
  const power = value < 1024 ? 0 : Math.min(4, Math.floor(Math.log2(value) / 10));
  return `${Number((value / 1024 ** power).toPrecision(3))}${THIN}${['B', 'KiB', 'MiB', 'GiB', 'TiB'][power]}`;
};

const two = (number) => String(number).padStart(2, '0');

/** The local time of day, with the date unless it is of today. */
export const clock = (ms, now = Date.now()) => {
  if (!known(ms)) return NONE;
  const at = new Date(ms);
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  if (at.toDateString() === new Date(now).toDateString()) return time;
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${time}`;
};

/**
 * A name made by others, fit to be shown: nothing that is invisible or turns the text around it. What is too long is
 * cut in the middle: what tells Elixir.Shop.Checkout.Worker from its neighbours is its end.
 */
export const name = (value, most = 64) => {
  const text = String(value ?? NONE).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, '\ufffd');
  if (text.trim() === '') return '(no name)';
  const signs = [...text];
  if (signs.length <= most) return text;
  const start = Math.floor((most - 1) / 3);
  return [...signs.slice(0, start), '…', ...signs.slice(start + 1 - most)].join('');
};

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** The first few of a list in words: a, b and 5 more. */
export const some = (items, most = 3) => {
  const rest = items.length - most;
  return rest > 0 ? `${items.slice(0, most).join(', ')} and ${count(rest)} more` : items.join(', ');
};
