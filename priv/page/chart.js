// Charts by uPlot, in the colours of the page.

import { clock, short } from './format.js';

/* global uPlot */

const FONT = '11px system-ui, sans-serif';
const LEAST_SPAN_S = 60;

let colours = null;

/** The page's colours as the canvas wants them; custom properties are resolved through an element. */
const palette = () => {
  if (colours) return colours;
  const probe = document.body.appendChild(document.createElement('i'));
  const read = (property) => {
    probe.style.color = `var(--${property})`;
    return getComputedStyle(probe).color;
  };
  const properties = ['ink2', 'line', 'blue', 'blue-fill', 'overload', 'overload-fill', 'violet', 'teal'];
  colours = Object.fromEntries(properties.map((key) => [key, read(key)]));
  probe.remove();
  return colours;
};

const charts = new Set();

/** Another scheme: every chart is made anew when it is drawn next. */
export const recolour = () => {
  colours = null;
  for (const chart of charts) chart.drop();
};

const grown = new ResizeObserver((entries) => entries.forEach(({ target }) => target.chart?.fit()));

const powerOfTen = (value) => Number.isInteger(Math.round(Math.log10(value) * 1e6) / 1e6);
const decades = (_, all) => all.map((value) => (powerOfTen(value) ? value : null));

const axes = ({ ink2: stroke, line: grid }, { y, size, x, filter }) => [
  { stroke, grid: { show: false }, ticks: { stroke: grid, size: 4 }, font: FONT, size: 24, gap: 3, ...x },
  {
    stroke, grid: { stroke: grid, width: 1, ...filter }, ticks: { show: false }, font: FONT, size, gap: 5, space: 26,
    values: (_, all) => all.map((value) => (value === null ? '' : y(value))), ...filter,
  },
];

/** A chart in an element that has a height. What it is made of, `options` of its class make of the palette. */
class Chart {
  #host;
  #plot = null;
  #data = null;

  constructor(host) {
    this.#host = host;
    host.chart = this;
    grown.observe(host);
    charts.add(this);
  }

  /** What is drawn, in columns. */
  get data() {
    return this.#data;
  }

  draw(data) {
    this.#data = data;
    if (this.#plot) {
      this.#plot.setData(data);
    } else if (this.#host.clientWidth > 0) {
      const size = { width: this.#host.clientWidth, height: this.#host.clientHeight };
      this.#plot = new uPlot({ ...size, legend: { show: false }, ...this.options(palette()) }, data, this.#host);
    }
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.#host;
    if (!this.#plot) {
      if (this.#data) this.draw(this.#data);
    } else if (width > 0 && (this.#plot.width !== width || this.#plot.height !== height)) {
      this.#plot.setSize({ width, height });
    }
  }

  drop() {
    this.#plot?.destroy();
    this.#plot = null;
    this.fit();
  }
}

/** Series over time. The pointer tells what it is on: in `readout`, what `read` makes of the values there. */
export class TimeChart extends Chart {
  #lines;
  #more;

  constructor(host, lines, more = {}) {
    super(host);
    this.#lines = lines;
    this.#more = more;
  }

  options(palette) {
    const { y = short, log = false, least = 1, size = 40, readout, read } = this.#more;
    return {
      padding: [8, 24, 0, 0],
      cursor: {
        drag: { x: false, y: false }, points: { show: false }, sync: { key: 'time', setSeries: false }, y: false,
      },
      scales: {
        x: { time: true, range: (_, from, to) => [Math.min(from ?? 0, (to ?? 0) - LEAST_SPAN_S), to ?? 0] },
        y: log
          ? {
            distr: 3,
            range: (_, low, high) => [
              10 ** Math.floor(Math.log10(Math.max(1, low ?? 1))),
              10 ** Math.ceil(Math.log10(Math.max(100, (high ?? 1) * 1.01))),
            ],
          }
          : { range: (_, low, high) => [0, Math.max(least, high ?? 0) * 1.08] },
      },
      axes: axes(palette, {
        y, size, filter: log && { filter: decades },
        x: {
          space: 70,
          values: (_, all, __, ___, step) => all.map((at) => clock(at * 1000, at * 1000).slice(0, step < 60 ? 8 : 5)),
        },
      }),
      series: [{}, ...this.#lines.map(({ colour, fill, dash, width = 1.5 }) => ({
        stroke: palette[colour], fill: fill && palette[fill], dash, width, points: { show: false }, spanGaps: false,
      }))],
      hooks: readout ? { setCursor: [(plot) => this.#tell(plot, readout, read)] } : {},
    };
  }

  #tell({ cursor: { idx }, data: [times, ...columns] }, readout, read) {
    const there = idx !== null && idx !== undefined && times[idx] !== undefined;
    readout.textContent = there ? `${clock(times[idx] * 1000)}: ${read(columns.map((column) => column[idx]))}` : '';
  }
}

/** Two shares for each band, the second as a narrower bar in front of the first. */
export class SpreadChart extends Chart {
  #label;

  constructor(host, label) {
    super(host);
    this.#label = label;
  }

  options(palette) {
    const bar = (colour, width) => ({
      stroke: palette[colour], fill: palette[colour], width: 0, points: { show: false },
      paths: uPlot.paths.bars({ size: [width, 60] }),
    });
    return {
      padding: [8, 8, 0, 0],
      cursor: { show: false },
      scales: {
        x: { time: false, range: (_, from, to) => [(from ?? 0) - 0.6, (to ?? 0) + 0.6] },
        y: { range: (_, low, high) => [0, Math.max(10, high ?? 0) * 1.08] },
      },
      axes: axes(palette, {
        size: 40, y: (value) => `${value} %`,
        x: { space: 52, incrs: [1, 2, 3, 4, 6, 8], values: (_, all) => all.map((band) => this.#label(band)) },
      }),
      series: [{}, bar('teal', 0.9), bar('violet', 0.45)],
    };
  }
}
