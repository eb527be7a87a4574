// Making and changing elements. All text goes in as text, never as markup.

import { name } from './format.js';

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

export const show = (element, visible) => {
  if (element.hidden === visible) element.hidden = !visible;
};

/** Words in the place of what is not there. */
export const instead = (element, missing, text) => {
  show(element, missing);
  say(element, missing ? text : '');
};

const held = new WeakMap();

/**
 * Has one child for each item, in the items' order; a child lives as long as its key is there.
 * @template T
 * @param {Element} parent
 * @param {T[]} items
 * @param {(item: T) => string} key
 * @param {(item: T) => Element} make
 * @param {(child: any, item: T) => void} update
 */
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

/** A table row from the kinds of its cells; its cells are at `row.cells`. */
export const row = (cells) =>
  h('tr', {}, ...cells.map(({ tag = 'td', kind = '', field, child }) => {
    const cell = h(tag, tag === 'th' ? { scope: 'row' } : {}, ...(child ? [child] : []));
    if (kind) cell.className = kind;
    if (field) cell.dataset.field = field;
    return cell;
  }));

/** The rows of a table, or, if there are none, words in its place: in the element that is named after it. */
export const table = (id, items, key, make, update, empty) => {
  list($(id).tBodies[0], items, key, make, update);
  show($(id), items.length > 0);
  instead($(`${id}-empty`), items.length === 0, empty);
};

/** Pairs of term and value. @param {[string, string, string?][]} pairs with the field of the API */
export const stats = (element, pairs) =>
  list(element, pairs, ([term]) => term,
    ([term, , field]) => h('div', {}, h('dt', {}, term), h('dd', field ? { 'data-field': field } : {})),
    (child, [, value]) => say(child.lastChild, value));
