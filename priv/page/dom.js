// Making and changing elements. All text goes in as text, never as markup.

import { count, name } from './format.js';

export const $ = (id) => document.getElementById(id);

/** An element with attributes and children; strings are text. */
export const h = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};

/** Sets text if it differs, so that what did not change is not laid out again. */
export const say = (element, text) => {
  const only = element.firstChild;
  if (only?.nodeType === Node.TEXT_NODE && only === element.lastChild) {
    if (only.nodeValue !== text) only.nodeValue = text;
  } else if (only || text !== '') {
    element.textContent = text;
  }
};

export const attribute = (element, key, value) => {
  if (element.getAttribute(key) !== value) element.setAttribute(key, value);
};

/** Sets text, and whether it stands out. */
export const sayHot = (element, text, hot) => {
  say(element, text);
  attribute(element, 'data-hot', String(hot));
};

/** A name of others: what is cut off is in the title. */
export const sayName = (element, value) => {
  say(element, name(value, 40));
  attribute(element, 'title', name(value, 256));
};

/** An owner: an identifier of a process is one word, however many digits it has. */
export const sayPlace = (element, value) => {
  sayName(element, value);
  attribute(element, 'class', /^<\d+\.\d+\.\d+>$/.test(value) ? 'name pid' : 'name');
};

export const show = (element, visible) => {
  if (element.hidden === visible) element.hidden = !visible;
};

/** Words in the place of what is not there. */
export const instead = (element, missing, text) => {
  show(element, missing);
  say(element, missing ? text : '');
};

const held = new WeakMap();

/** Has one child for each item, in the items' order; a child lives as long as its key is there. */
export const list = (parent, items, key, make, update) => {
  const before = held.get(parent) ?? new Map();
  const after = new Map();
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  for (const item of items) after.set(key(item), before.get(key(item)) ?? make(item));
  for (const [gone, child] of before) if (after.get(gone) !== child) child.remove();
  let next = parent.firstElementChild;
  for (const item of items) {
    const child = after.get(key(item));
    update(child, item);
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
  held.set(parent, after);
  if (focused && document.activeElement !== focused && focused.isConnected) focused.focus({ preventScroll: true });
};

/** A level in a word, with a shape of its own. */
export const badge = () => h('span', { class: 'badge', 'data-field': 'level' });

export const setBadge = (element, level) => {
  attribute(element, 'data-level', level);
  say(element, level);
};

/** How much of its parent a bar fills, as a share. */
export const setWidth = ({ style }, share) => {
  const width = `${Math.round(Math.min(1, Math.max(0, share)) * 1000) / 10}%`;
  if (style.width !== width) style.width = width;
};

/** A bar and the text beside it. */
export const meter = () => h('span', { class: 'meter' }, h('i', { 'aria-hidden': 'true' }, h('b')), h('span'));

export const setMeter = (element, share, level, text) => {
  setWidth(element.firstChild.firstChild, share);
  attribute(element, 'data-level', level);
  say(element.lastChild, text);
};

/** The column of names that rows begin with. */
export const naming = (title, field) =>
  ({ title, tag: 'th', kind: 'name', field, show: (cell, row) => sayName(cell, row[field]) });

/** A column of counts, by the field of the API. */
export const counting = (title, field, kind = '') =>
  ({ title, kind: `n ${kind}`, field, text: ({ [field]: value }) => count(value) });

/**
 * A table that is described by its columns. A cell has a `text`, which may be `hot` and so stand out, or is shown by
 * `show` in a way of its own, in the `child` that it is made with, if any.
 */
export class Table {
  #body = h('tbody');
  #empty = h('p', { class: 'empty', hidden: '' });
  #element;
  #columns;

  constructor(id, columns) {
    this.#element = $(id);
    this.#columns = columns;
    const heading = ({ title, kind = '', about }) =>
      h('th', { scope: 'col', class: kind, ...(about && { title: about }) }, title);
    this.#element.append(h('thead', {}, h('tr', {}, ...columns.map(heading))), this.#body);
    this.#element.after(this.#empty);
  }

  /** Has a row for each item, or, if there are none, words in its place. @returns {Element[]} the rows */
  draw(items, key, empty) {
    list(this.#body, items, key, () => this.#row(), (row, item) => this.#columns.forEach((column, i) => {
      const { text, hot, show: custom = (cell) => sayHot(cell, text(item), Boolean(hot?.(item))) } = column;
      custom(row.cells[i], item);
    }));
    show(this.#element, items.length > 0);
    instead(this.#empty, items.length === 0, empty);
    return [...this.#body.rows];
  }

  #row() {
    return h('tr', {}, ...this.#columns.map(({ tag = 'td', kind = '', field, child }) => h(tag, {
      class: kind, ...(tag === 'th' && { scope: 'row' }), ...(field && { 'data-field': field }),
    }, ...(child ? [child()] : []))));
  }
}

/** Of each term, how a field of the API is said, and which: what `stats` takes. */
export const fields = (from, terms) => terms.map(([term, text, field]) => [term, text(from?.[field]), field]);

/** Pairs of term and value. @param {[string, string, string?][]} pairs with the field of the API */
export const stats = (element, pairs) =>
  list(element, pairs, ([term]) => term,
    ([term, , field]) => h('div', {}, h('dt', {}, term), h('dd', field ? { 'data-field': field } : {})),
    (child, [, value]) => say(child.lastChild, value));
