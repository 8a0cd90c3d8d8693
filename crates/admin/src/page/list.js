// A table of sessions that stays quick with ten thousand of them: only the rows in sight are in the document, and of these
// only what has changed is drawn again. It sorts, filters, keeps its place, and goes from row to row by keys.

import {number, whose, wrong} from './words.js';

// So many screens of rows are drawn above and below what is in sight: scrolling is ahead of drawing.
const MARGIN_SCREENS = 1;
const MARGIN_ROWS = 8;

const element = (name, properties = {}) => Object.assign(document.createElement(name), properties);

export class List {
  // `columns`: `{key, name, value(item), text(item, now), paint?(cell, text, item), title?(item), lives?, first?}`;
  // `kind?(item)` tells what else is painted anew when it is another.
  constructor(section, {columns, sort, empty}) {
    this.columns = columns;
    this.sort = sort;
    this.empty = empty;
    this.items = new Map();
    this.order = [];
    this.words = [];
    this.rows = new Map();
    this.spare = [];
    this.active = null;
    this.open = null;
    this.now = Date.now();
    this.fresh = new Set();
    this.height = 36;
    this.section = section;
    this.scroller = section.querySelector('.scroll');
    this.emptied = section.querySelector('.empty');
    this.counts = [section.querySelector('.count')];
    this.build();
    this.measure();
    new ResizeObserver(() => this.measure()).observe(this.scroller);
    this.scroller.addEventListener('scroll', () => this.soon(), {passive: true});
    this.scroller.addEventListener('pointermove', event => this.point(event), {passive: true});
    this.scroller.addEventListener('pointerleave', () => this.leave());
    this.body.addEventListener('click', event => this.click(event));
    this.body.addEventListener('focusin', event => {
      const id = event.target.closest('tr')?.dataset.session;
      if (id) this.activate(id);
    });
  }

  build() {
    const title = this.section.querySelector('h2').id;
    this.table = element('table', {role: 'table'});
    this.table.setAttribute('aria-labelledby', title);
    const head = element('thead');
    const names = element('tr');
    head.setAttribute('role', 'rowgroup');
    names.setAttribute('role', 'row');
    names.setAttribute('aria-rowindex', '1');
    for (const column of this.columns) {
      const cell = element('th', {className: `c-${column.key}`, scope: 'col'});
      cell.setAttribute('role', 'columnheader');
      const button = element('button', {type: 'button', textContent: column.name});
      button.addEventListener('click', () => this.sortBy(column));
      cell.append(button);
      names.append(cell);
      column.cell = cell;
    }
    head.append(names);
    const gap = () => {
      const body = element('tbody', {className: 'gap'});
      body.setAttribute('aria-hidden', 'true');
      body.append(element('tr'));
      return body;
    };
    this.above = gap();
    this.below = gap();
    this.body = element('tbody');
    this.body.setAttribute('role', 'rowgroup');
    this.table.append(head, this.above, this.body, this.below);
    this.scroller.append(this.table);
    this.head = head;
    this.chooser();
    this.mark();
  }

  // With little room the names of the columns are not shown: it is sorted by this then.
  chooser() {
    this.chosen = element('select');
    for (const column of this.columns) this.chosen.append(element('option', {value: column.key, textContent: column.name}));
    this.turn = element('button', {type: 'button', className: 'button'});
    const label = element('label', {textContent: 'Sort by '});
    label.append(this.chosen);
    this.section.querySelector('.sort').append(label, this.turn);
    this.chosen.addEventListener('change', () => this.sortBy(this.columns.find(({key}) => key === this.chosen.value)));
    this.turn.addEventListener('click', () => this.sortBy(this.columns.find(({key}) => key === this.sort.key)));
  }

  // How high a row is, by the style sheet, in whole pixels.
  measure() {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const rows = parseFloat(getComputedStyle(this.body).getPropertyValue('--row')) || 2.25;
    const height = Math.round(rows * rem);
    if (height !== this.height) {
      const first = this.scroller.scrollTop / this.height;
      this.height = height;
      this.scroller.style.setProperty('--row-height', `${height}px`);
      this.draw();
      this.scroller.scrollTop = first * height;
    }
    this.soon();
  }

  sortBy(column) {
    const ascending = this.sort.key === column.key ? !this.sort.ascending : !column.largestFirst;
    this.sort = {key: column.key, ascending};
    this.mark();
    this.arrange();
    this.scroller.scrollTop = 0;
    this.draw();
  }

  mark() {
    for (const {key, cell} of this.columns) {
      const direction = this.sort.ascending ? 'ascending' : 'descending';
      if (key === this.sort.key) cell.setAttribute('aria-sort', direction);
      else cell.removeAttribute('aria-sort');
    }
    this.chosen.value = this.sort.key;
    this.turn.textContent = this.sort.ascending ? '↑' : '↓';
    this.turn.setAttribute('aria-label', this.sort.ascending ? 'Turn the order round: it is ascending' : 'Turn the order round: it is descending');
  }

  filter(text) {
    this.words = text.toLowerCase().split(/\s+/).filter(word => word !== '');
    this.scroller.scrollTop = 0;
    this.arrange();
    this.draw();
  }

  fits(item) {
    if (this.words.length === 0) return true;
    const text = `${whose(item)}\n${item.user ?? ''}\n${wrong(item)}\n${item.client}\n${item.session}`.toLowerCase();
    return this.words.every(word => text.includes(word));
  }

  arrange() {
    const {value} = this.columns.find(column => column.key === this.sort.key);
    const sign = this.sort.ascending ? 1 : -1;
    this.order = [...this.items.values()].filter(item => this.fits(item));
    const keys = new Map(this.order.map(item => [item, value(item)]));
    this.order.sort((one, two) => {
      const [a, b] = [keys.get(one), keys.get(two)];
      if (a !== b) return a < b ? -sign : sign;
      return one.began_ms - two.began_ms || (one.session < two.session ? -1 : 1);
    });
    const [all, shown] = [this.items.size, this.order.length];
    const count = this.words.length > 0 ? `${number(shown)} of ${number(all)}` : number(all);
    for (const place of this.counts) place.textContent = count;
    this.table.setAttribute('aria-rowcount', String(shown + 1));
    this.section.classList.toggle('is-empty', shown === 0);
    this.emptied.hidden = shown > 0;
    this.scroller.hidden = shown === 0;
    if (shown > 0) return;
    // What is said there stays while it is the same: it may have the focus.
    const [key, parts] = this.empty(all > 0);
    if (this.emptied.dataset.says === key) return;
    this.emptied.dataset.says = key;
    this.emptied.replaceChildren(...parts());
  }

  // The items are others now; what a person looks at stays where it is.
  changed() {
    const anchor = this.anchor();
    this.arrange();
    if (anchor) {
      const at = this.order.findIndex(item => item.session === anchor.session);
      if (at >= 0) this.scroller.scrollTop = at * this.height - anchor.offset;
    }
    this.draw();
  }

  // The row that has to stay in its place: the one under the pointer, the one with the focus, or the first in sight.
  anchor() {
    const {scrollTop} = this.scroller;
    const held = [this.over, this.body.contains(document.activeElement) ? this.active : null];
    const sessions = [...held, scrollTop > 0 ? this.order[Math.ceil(scrollTop / this.height)]?.session : null];
    const session = sessions.find(name => name && this.items.has(name) && this.rows.has(name));
    if (!session) return null;
    if (session === this.over && scrollTop === 0) this.wasAtTop = true;
    const at = this.order.findIndex(item => item.session === session);
    return at < 0 ? null : {session, offset: at * this.height - scrollTop};
  }

  point(event) {
    this.over = event.target.closest('tbody tr')?.dataset.session ?? null;
  }

  leave() {
    this.over = null;
    if (this.wasAtTop) this.scroller.scrollTop = 0;
    this.wasAtTop = false;
  }

  // At the next frame.
  soon() {
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => {
      this.waits = false;
      this.draw();
    });
  }

  draw() {
    const {scrollTop, clientHeight} = this.scroller;
    const screen = Math.ceil(clientHeight / this.height);
    const margin = screen * MARGIN_SCREENS + MARGIN_ROWS;
    const first = Math.max(0, Math.min(Math.floor(scrollTop / this.height) - margin, this.order.length - screen));
    const last = Math.min(this.order.length, first + screen + 2 * margin);
    const wanted = this.order.slice(first, last);
    const names = new Set(wanted.map(item => item.session));
    const focused = document.activeElement;
    for (const [name, row] of this.rows) {
      if (names.has(name)) continue;
      // Who goes by keys is not thrown out of the list.
      if (row.line.contains(focused)) this.scroller.focus({preventScroll: true});
      row.line.remove();
      this.rows.delete(name);
      if (this.spare.length < 2 * margin) this.spare.push(row);
    }
    let place = this.body.firstElementChild;
    wanted.forEach((item, index) => {
      const row = this.rows.get(item.session) ?? this.take(item);
      this.paint(row, item);
      row.line.setAttribute('aria-rowindex', String(first + index + 2));
      if (row.line === place) place = place.nextElementSibling;
      else this.body.insertBefore(row.line, place);
    });
    this.gap(this.above, first);
    this.gap(this.below, this.order.length - last);
    this.tabbable();
    this.fresh.clear();
  }

  gap(body, rows) {
    const height = `${rows * this.height}px`;
    if (body.firstChild.style.height !== height) body.firstChild.style.height = height;
    body.hidden = rows === 0;
  }

  take(item) {
    const row = this.spare.pop() ?? this.line();
    row.line.dataset.session = item.session;
    row.line.className = this.fresh.has(item.session) ? 'fresh' : '';
    row.link.href = `#${item.session}`;
    this.rows.set(item.session, row);
    return row;
  }

  line() {
    const line = element('tr');
    line.setAttribute('role', 'row');
    const link = element('a');
    const cells = this.columns.map(column => {
      const cell = element('td', {className: `c-${column.key}`});
      cell.setAttribute('role', 'cell');
      if (column.first) cell.append(link);
      line.append(cell);
      return {cell: column.first ? link : cell, text: null, title: null};
    });
    return {line, link, cells};
  }

  paint(row, item, onlyWhatLives = false) {
    this.columns.forEach((column, index) => {
      if (onlyWhatLives && !column.lives) return;
      const drawn = row.cells[index];
      const text = column.text(item, this.now);
      const kind = column.kind?.(item);
      if (drawn.text !== text || drawn.kind !== kind) {
        drawn.text = text;
        drawn.kind = kind;
        if (column.paint) column.paint(drawn.cell, text, item);
        else drawn.cell.textContent = text;
      }
      const title = column.title ? column.title(item) : text;
      if (drawn.title !== title) {
        drawn.title = title;
        drawn.cell.title = title;
      }
    });
    const isOpen = item.session === this.open;
    if (row.isOpen !== isOpen) {
      row.isOpen = isOpen;
      row.line.classList.toggle('open', isOpen);
      if (isOpen) row.link.setAttribute('aria-current', 'true');
      else row.link.removeAttribute('aria-current');
    }
  }

  // Time goes on, for those in sight.
  tick(now) {
    this.now = now;
    for (const [name, row] of this.rows) {
      const item = this.items.get(name);
      if (item) this.paint(row, item, true);
    }
  }

  // One row is reached by Tab; from there it goes on by the arrows.
  tabbable() {
    const tabbed = this.rows.has(this.active) ? this.active : this.order.find(item => this.rows.has(item.session))?.session;
    for (const [name, row] of this.rows) row.link.tabIndex = name === tabbed ? 0 : -1;
  }

  activate(session) {
    this.active = session;
    this.tabbable();
  }

  click(event) {
    const session = event.target.closest('tr')?.dataset.session;
    const plain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button);
    // Who marks an address to copy it does not want the diagram.
    if (!session || !plain || event.target.closest('a') || !getSelection().isCollapsed) return;
    this.activate(session);
    location.hash = session;
  }

  // Goes to the row at this place, and gives it the focus.
  go(at) {
    if (this.order.length === 0) return;
    const place = Math.max(0, Math.min(at, this.order.length - 1));
    const {session} = this.order[place];
    const head = this.head.offsetHeight;
    const [top, view] = [place * this.height, this.scroller.clientHeight - head];
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    if (top + this.height > this.scroller.scrollTop + view) this.scroller.scrollTop = top + this.height - view;
    this.active = session;
    this.draw();
    this.rows.get(session)?.link.focus({preventScroll: true});
  }

  where(session) {
    return this.order.findIndex(item => item.session === session);
  }

  step(by) {
    const at = this.where(this.active);
    this.go(at < 0 ? 0 : at + by);
  }

  page(by) {
    this.step(by * Math.max(1, Math.floor(this.scroller.clientHeight / this.height) - 2));
  }

  // Shows which session is open.
  show(session) {
    this.open = session;
    if (session && this.items.has(session)) this.active = session;
    this.draw();
  }
}
