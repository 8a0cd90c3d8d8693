// Looks at a drawn page from inside, and says what a person would be disturbed by: one fault a line.
'use strict';
const faults = [];
const facts = {};
const fault = text => faults.push(text);
const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];
const name = element => (element.closest('[id]')?.id ?? '') + ' «' + element.textContent.trim().slice(0, 40) + '»';

// The boxes of all lines of text that a person sees.
function lines(from) {
  const walker = document.createTreeWalker(from, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const element = node.parentElement;
    if (!node.data.trim() || element.closest('.hidden,title,desc,style,script')) continue;
    if (!element.checkVisibility({visibilityProperty: true})) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) if (box.width > 1) found.push({box, element});
  }
  return found;
}

// No two lines of text stand on one another. Boxes of lines hold more than the letters: a little is allowed.
function overlaps(from, free = 3) {
  const all = lines(from).sort((a, b) => a.box.top - b.box.top);
  facts.lines = all.length;
  for (let one = 0; one < all.length; one++) {
    for (let two = one + 1; two < all.length && all[two].box.top < all[one].box.bottom - free; two++) {
      const [a, b] = [all[one].box, all[two].box];
      if (a.left < b.right - 1 && b.left < a.right - 1) {
        fault(`texts overlap: ${name(all[one].element)} and ${name(all[two].element)}`);
      }
    }
  }
}

function luminance([r, g, b]) {
  const part = value => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
}
const colour = text => text.match(/[\d.]+/g).map(Number);
function contrast(text, ground) {
  const [a, b] = [luminance(colour(text)), luminance(colour(ground))].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}
const REQUIRED_CONTRAST = 4.5;

function near(one, two, what, free = 1) {
  if (Math.abs(one - two) > free) fault(`${what}: ${one} and ${two}`);
}

const page = {
  // Nothing is wider than the place that it has.
  cut() {
    const root = document.documentElement;
    if (root.scrollWidth > root.clientWidth) fault(`the page is ${root.scrollWidth} wide, the window ${root.clientWidth}`);
    const boxes = '.label,.carried,.block,.block code,.remark,.finding,.finding p,.facts dd,.actor,.actor span,.across,.when,.when span,.band,td,th,h1,h2,.figures dd,.found-list li,.end span';
    for (const box of $$(boxes)) {
      if (!box.checkVisibility()) continue;
      const inline = getComputedStyle(box).display === 'inline';
      if (!inline && box.scrollWidth > box.clientWidth + 1) fault(`cut: ${name(box)} ${box.scrollWidth} > ${box.clientWidth}`);
      if (!inline && box.scrollHeight > box.clientHeight + 2) fault(`cut below: ${name(box)} ${box.scrollHeight} > ${box.clientHeight}`);
    }
  },

  // What stands across the lifelines ends inside of its row, where it would be clipped.
  across() {
    for (const across of $$('.across')) {
      const [inner, outer] = [across, across.closest('.row')].map(element => element.getBoundingClientRect());
      if (inner.left < outer.left || inner.right > outer.right) fault(`clipped: ${name(across)}`);
    }
  },

  // Arrows go from lifeline to lifeline, and lifelines from head to end without a gap.
  lines() {
    let arrows = 0;
    for (const arrow of $$('.arrow')) {
      if (!arrow.checkVisibility()) continue;
      arrows++;
      const lane = arrow.closest('.lane').getBoundingClientRect();
      const box = arrow.getBoundingClientRect();
      near(box.left, lane.left + 2, `arrow at the client ${name(arrow)}`);
      near(box.right, lane.right - 2, `arrow at the server ${name(arrow)}`);
      const row = arrow.closest('.row');
      const [start, tip] = row.classList.contains('client') ? ['left', 'right'] : ['right', 'left'];
      near(parseFloat(getComputedStyle(arrow, '::before')[start]), 0, `start of the arrow ${name(row)}`);
      near(parseFloat(getComputedStyle(arrow, '::after')[tip]), 0, `tip of the arrow ${name(row)}`);
    }
    facts.arrows = arrows;
    for (const diagram of $$('.diagram')) {
      const rows = $$('.row', diagram).filter(row => row.checkVisibility());
      let bottom = diagram.querySelector('.heads .lane').getBoundingClientRect().bottom;
      const first = rows[0].querySelector('.lane').getBoundingClientRect();
      for (const row of rows) {
        const cells = $$(':scope>*', row).filter(cell => cell.checkVisibility());
        const lined = cells.filter(cell => parseFloat(getComputedStyle(cell).borderLeftWidth) === 2);
        const boxes = lined.map(cell => cell.getBoundingClientRect()).sort((a, b) => a.top - b.top);
        for (const box of boxes) {
          if (box.height === 0) continue;
          near(box.top, bottom, `lifelines have a gap ${name(row)}`, 0.6);
          near(box.left, first.left, `client's lifeline ${name(row)}`);
          near(box.right, first.right, `server's lifeline ${name(row)}`);
          bottom = box.bottom;
        }
      }
      const end = diagram.querySelector('.end .lane').getBoundingClientRect();
      near(end.top, bottom, 'end of the lifelines', 0.6);
      near(end.left, first.left, 'end of the client\'s lifeline');
    }
  },

  contrast() {
    for (const {element} of lines(document.body)) {
      let ground = element;
      while (ground && /^rgba\(.*, 0\)$/.test(getComputedStyle(ground).backgroundColor)) ground = ground.parentElement;
      const under = ground ? getComputedStyle(ground).backgroundColor : 'rgb(255,255,255)';
      const over = getComputedStyle(element).color;
      const has = contrast(over, under);
      if (has < REQUIRED_CONTRAST) fault(`contrast ${has.toFixed(2)} of ${over} on ${under}: ${name(element)}`);
    }
  },

  // Every row can be found by who says what to whom, and by its id.
  names() {
    for (const row of $$('.row')) {
      if (!row.id.match(/^s\d+-r\d+$/)) fault(`no id: ${name(row)}`);
      if (!/^(Client to server, |Server to client, |Note|Folded|TCP)/.test(row.querySelector('summary').textContent)) fault(`no name: ${name(row)}`);
    }
    for (const link of $$('a[href^="#"]')) {
      if (!document.getElementById(link.hash.slice(1))) fault(`a link to nowhere: ${link.hash}`);
    }
    const ids = $$('[id]').map(element => element.id);
    if (new Set(ids).size !== ids.length) fault('an id stands twice');
  },

  folds() {
    const seen = selector => $$(selector).filter(element => element.checkVisibility()).length;
    const counts = () => [seen('.row.segment:not(.found)'), seen('.row.segment.found'), seen('summary>.carried'), seen('.block'), seen('.remark'), seen('.finding')];
    const before = counts();
    facts.counts = before.join(' ');
    const press = key => document.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
    const check = (key, expected) => {
      press(key);
      const now = counts();
      this.page.across();
      if (now.join() !== expected.join()) fault(`folded with ${key}: ${now} and not ${expected}`);
      this.page.lines();
      press(key);
      if (counts().join() !== before.join()) fault(`not unfolded with ${key}`);
    };
    const [segments, found, carried, blocks, remarks, findings] = before;
    const kept = seen('.row:is(:not(.segment),.found) .remark');
    check('t', [0, found, 0, blocks, kept, findings]);
    check('b', [segments, found, carried, 0, remarks, findings]);
    check('r', [segments, found, carried, blocks, 0, findings]);
    // And without keys: the boxes alone, which need no script.
    for (const id of ['show-segments', 'show-bodies', 'show-remarks']) {
      const box = document.getElementById(id);
      if (!box.checked) fault(`${id} is off`);
    }
    press('e');
    if ($$('details.lane:not([open])').length) fault('not all details are open');
    press('e');
    if ($$('details.lane[open]').length) fault('not all details are closed');
  },

  jumps() {
    const places = $$('.row.found').map(row => row.id);
    facts.found = places.length;
    const gone = [];
    for (let step = 0; step < places.length; step++) {
      document.dispatchEvent(new KeyboardEvent('keydown', {key: 'n', bubbles: true}));
      gone.push(location.hash.slice(1));
      const row = document.getElementById(gone.at(-1));
      if (document.activeElement !== row.querySelector('summary')) fault(`no focus on ${gone.at(-1)}`);
      const box = row.getBoundingClientRect();
      if (box.bottom < 0 || box.top > innerHeight) fault(`not in sight: ${row.id}`);
    }
    if ([...gone].sort().join() !== [...places].sort().join()) fault(`went to ${gone}, and not to ${places}`);
    document.dispatchEvent(new KeyboardEvent('keydown', {key: 'p', bubbles: true}));
    if (places.length > 1 && location.hash.slice(1) !== gone.at(-2)) fault(`back to ${location.hash}, and not to ${gone.at(-2)}`);
  },
};
this.page = page;

const picture = {
  cut() {
    const {width, height} = document.querySelector('svg').getBoundingClientRect();
    for (const text of $$('svg text')) {
      if (!text.textContent.trim()) continue;
      const box = text.getBoundingClientRect();
      if (box.left < 8 || box.right > width - 8 || box.top < 0 || box.bottom > height) fault(`outside: ${name(text)}`);
    }
    // What stands between the lifelines stays between them.
    const lives = $$('svg line.life').filter(line => line.x1.baseVal.value === line.x2.baseVal.value);
    facts.lifelines = lives.length;
    for (const row of $$('svg g[id]')) {
      const ys = row.getBoundingClientRect();
      const xs = lives.filter(line => line.y1.baseVal.value <= ys.top + 9 && line.y2.baseVal.value >= ys.bottom - 9).map(line => line.x1.baseVal.value);
      const [client, server] = [Math.min(...xs), Math.max(...xs)];
      if (!(client < server)) {
        if (!row.querySelector('rect.fold')) fault(`no lifelines beside ${row.id}`);
        continue;
      }
      for (const text of $$('text', row)) {
        const box = text.getBoundingClientRect();
        for (const x of [client, server]) {
          if (box.left < x && box.right > x) fault(`crosses a lifeline: ${name(text)}`);
        }
      }
      for (const head of $$('path:not([fill-rule])', row)) {
        const box = head.getBoundingClientRect();
        const off = Math.min(Math.abs(box.left - client - 1), Math.abs(box.right - server + 1));
        if (off > 1) fault(`an arrow does not meet its lifeline: ${row.id} by ${off}`);
      }
      for (const line of $$('line.arrow', row)) {
        const x = line.x1.baseVal.value;
        if (Math.min(Math.abs(x - client), Math.abs(x - server)) > 1.1) fault(`an arrow begins beside its lifeline: ${row.id}`);
      }
    }
  },

  contrast() {
    // In the order of painting: the last one that a text stands on is its ground.
    const grounds = $$('svg rect').map(rect => ({rect, box: rect.getBoundingClientRect(), style: getComputedStyle(rect)}));
    for (const text of $$('svg text, svg tspan')) {
      if (!text.textContent.trim()) continue;
      const box = text.getBoundingClientRect();
      const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
      let under = null;
      for (const {rect, box, style} of grounds) {
        if (!(rect.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING)) continue;
        if (box.left <= x && x <= box.right && box.top <= y && y <= box.bottom) under = style.fill;
      }
      // Outside of the page, which is a fault already.
      if (!under) continue;
      const over = getComputedStyle(text).fill;
      const has = contrast(over, under);
      if (has < REQUIRED_CONTRAST) fault(`contrast ${has.toFixed(2)} of ${over} on ${under}: ${name(text)}`);
    }
  },
};

// The page's rows are laid out only where they are in sight; to be measured, all are.
function all() {
  if (document.querySelector('svg[role=img]') && !document.querySelector('main')) {
    facts.ground = getComputedStyle(document.querySelector('svg rect.page')).fill;
    for (const check of [picture.cut, picture.contrast]) check();
    overlaps(document.querySelector('svg'));
  } else {
    facts.ground = getComputedStyle(document.body).backgroundColor;
    facts.width = innerWidth;
    const row = document.querySelector('.row');
    facts.visibility = getComputedStyle(row).contentVisibility;
    const style = document.createElement('style');
    style.textContent = '.row{content-visibility:visible!important}.tools,.heads{position:static!important}';
    document.head.append(style);
    facts.rows = $$('.row').length;
    for (const check of [page.cut, page.across, page.lines, page.contrast, page.names]) check();
    overlaps(document.body);
    page.folds.call(this);
    for (const details of $$('details.lane')) details.open = true;
    page.cut();
    page.lines();
    overlaps(document.body);
    for (const details of $$('details.lane')) details.open = false;
    page.jumps();
  }
}

addEventListener('load', () => {
  try {
    all.call(globalThis);
  } catch (error) {
    fault(`the check itself failed: ${error.stack}`);
  }
  const text = [...Object.entries(facts).map(([key, value]) => `${key}: ${value}`), '--', ...faults].join('\n');
  parent.postMessage(text, '*');
});
