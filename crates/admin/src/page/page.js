// The live page: what the server tells of its sessions, in lists, figures and one diagram; and the keys.

import {Detail} from './detail.js';
import {List} from './list.js';
import {listen} from './stream.js';
import {PHASES, ago, clock, doing, lasted, number, octets, plural, span, tls, tlsInWords, whose} from './words.js';

const TICK_MS = 1000;
// The figure of the rate is a mean over so many ticks.
const RATE_TICKS = 4;
const SPARK_TICKS = 120;
const SPARK_HEIGHT = 28;
// The most of those that have ended that are kept, where the server tells more than it remembers itself.
const ENDED_MAX = 1000;

const byId = id => document.getElementById(id);
const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

let ahead = 0;
const now = () => Date.now() + ahead;

const text = value => value.toLowerCase();
// Addresses by their numbers: 9 stands before 10.
const address = item => item.client.replace(/\d+/g, digits => digits.padStart(5, '0'));

const COMMON = {
  user: {
    key: 'user', name: 'User', first: true,
    value: item => (item.user === null ? '\uffff' : text(item.user)),
    text: whose,
    paint: (cell, words, item) => {
      cell.textContent = words;
      cell.classList.toggle('nobody', item.user === null);
    },
  },
  client: {key: 'client', name: 'Address', value: address, text: item => item.client, title: item => `${item.client}, session ${item.session}`},
  tls: {
    key: 'tls', name: 'TLS', value: tls, text: tls, title: tlsInWords,
    paint: (cell, words, item) => {
      cell.textContent = words;
      cell.classList.toggle('bare', item.tls === null);
    },
  },
  retrieved: {key: 'retrieved', name: 'Retrieved', largestFirst: true, value: item => item.retrieved, text: item => number(item.retrieved), title: item => `${plural(item.retrieved, 'message')} retrieved, ${number(item.deleted)} removed`},
  received: {key: 'received', name: 'Received', largestFirst: true, value: item => item.received_octets, text: item => octets(item.received_octets), title: item => `${number(item.received_octets)} octets`},
  sent: {key: 'sent', name: 'Sent', largestFirst: true, value: item => item.sent_octets, text: item => octets(item.sent_octets), title: item => `${number(item.sent_octets)} octets`},
};

const on = new List(byId('on'), {
  sort: {key: 'age', ascending: true},
  empty: nothingOn,
  columns: [
    {...COMMON.user}, {...COMMON.client}, {...COMMON.tls},
    {
      key: 'phase', name: 'Phase', value: item => PHASES[item.phase] ?? 'p4', text: item => item.phase,
      paint: (cell, words) => cell.replaceChildren(element('span', {className: `pill ${PHASES[words] ?? 'p3'}`, textContent: words})),
    },
    {
      key: 'doing', name: 'Does', lives: true, largestFirst: true,
      value: item => -item.doing_since_ms,
      text: (item, time) => doing(item, time).join(' '),
      paint: (cell, words, item) => {
        const verb = item.doing;
        cell.replaceChildren(element('b', {textContent: verb, className: verb === 'waits' ? 'idle' : ''}), words.slice(verb.length));
      },
    },
    {...COMMON.retrieved}, {...COMMON.received}, {...COMMON.sent},
    {key: 'age', name: 'On for', lives: true, value: item => -item.began_ms, text: (item, time) => span(time - item.began_ms), title: item => `since ${clock(item.began_ms)}`},
  ],
});

const ended = new List(byId('ended'), {
  sort: {key: 'ended', ascending: true},
  empty: nothingEnded,
  columns: [
    {...COMMON.user}, {...COMMON.client}, {...COMMON.tls},
    {
      key: 'why', name: 'Why', value: item => text(item.why), text: item => item.why,
      title: item => (item.heard ? `${item.why}; it was heard, and can be drawn` : `${item.why}; nothing was heard of it`),
      paint: (cell, words, item) => {
        const mark = item.heard ? [element('span', {className: 'heard', title: 'It was heard, and can be drawn'}, element('span', {className: 'hidden', textContent: 'Drawn: '}))] : [];
        cell.replaceChildren(...mark, words);
      },
    },
    {...COMMON.retrieved}, {...COMMON.received}, {...COMMON.sent},
    {key: 'lasted', name: 'Lasted', largestFirst: true, value: item => item.ended_ms - item.began_ms, text: item => lasted(item.ended_ms - item.began_ms)},
    {key: 'ended', name: 'Ended', lives: true, value: item => -item.ended_ms, text: (item, time) => ago(time - item.ended_ms), title: item => `at ${clock(item.ended_ms)}`},
  ],
});

const lists = {on, ended};
for (const [name, list] of Object.entries(lists)) {
  list.counts.push(document.querySelector(`.which [data-list=${name}] .count`));
}

const board = byId('board');
const detail = new Detail({now});
const filter = byId('filter');

// What is said where there is nothing.

function clearFilter() {
  const button = element('button', {type: 'button', className: 'button', textContent: 'Clear the filter'});
  button.addEventListener('click', () => {
    setFilter('');
    filter.focus();
  });
  return button;
}

function nothingOn(isFiltered) {
  if (!isLive) return [];
  if (isFiltered) return [element('p', {textContent: 'No session that is on fits the filter.'}), clearFilter()];
  const server = [...ended.items.values()].find(item => item.server && item.port === 'pop3')?.server ?? 'ADDRESS:PORT';
  return [
    element('p', {textContent: 'No session is on.'}),
    element('p', {}, 'It shows up here as soon as a mail client calls, for one:'),
    element('pre', {}, element('code', {textContent: `curl pop3://${server}/ --user NAME`})),
  ];
}

function nothingEnded(isFiltered) {
  if (!isLive) return [];
  if (isFiltered) return [element('p', {textContent: 'None that ended lately fits the filter.'}), clearFilter()];
  return [element('p', {textContent: 'No session has ended since the server began. Those that do are told of here, with why they ended.'})];
}

// What the server tells.

let isLive = false;
let totals = null;

function take(session) {
  if (isLive && !on.items.has(session.session)) on.fresh.add(session.session);
  on.items.set(session.session, session);
}

function all(data) {
  ahead = data.now_ms - Date.now();
  on.items = new Map(data.on.map(session => [session.session, session]));
  ended.items = new Map(data.ended.map(session => [session.session, session]));
  byId('host').textContent = data.hostname;
  byId('host').title = `Restante ${data.version}`;
  samples.length = 0;
  isLive = true;
}

function change(data) {
  ahead = data.now_ms - Date.now();
  for (const session of data.on) take(session);
  for (const name of data.gone) on.items.delete(name);
  // The latest comes first: it is put in last.
  for (const session of data.ended.toReversed()) {
    on.items.delete(session.session);
    ended.items.delete(session.session);
    ended.items.set(session.session, session);
    ended.fresh.add(session.session);
  }
  const least = [...ended.items.values()].sort((one, two) => one.ended_ms - two.ended_ms);
  for (const session of least.slice(0, Math.max(0, least.length - ENDED_MAX))) ended.items.delete(session.session);
}

function event(name, data) {
  if (name === 'all') all(data);
  else if (name === 'change') change(data);
  else return;
  totals = data.totals;
  for (const list of Object.values(lists)) {
    list.now = now();
    list.changed();
  }
  figures();
  if (detail.isOpen) know();
}

const LINKS = {
  live: 'live',
  lost: 'reconnecting…',
  denied: 'not logged in',
  missing: 'no such server',
};

function link(state) {
  const place = byId('link');
  if (place.dataset.link !== state) {
    place.dataset.link = state;
    place.textContent = LINKS[state];
  }
  byId('banner').hidden = state !== 'denied';
  document.body.classList.toggle('stale', state !== 'live');
}

// Figures.

const samples = [];

function put(id, words, title) {
  const place = byId(id);
  if (place.textContent !== words) place.textContent = words;
  if (title !== undefined && place.title !== title) place.title = title;
}

function figures() {
  put('meter-on', number(totals.on));
  put('meter-ended', number(totals.ended));
  put('meter-received', octets(totals.received_octets), `${number(totals.received_octets)} octets`);
  put('meter-sent', octets(totals.sent_octets), `${number(totals.sent_octets)} octets`);
  document.title = `${number(totals.on)} on · ${byId('host').textContent} · Restante`;
}

function sample() {
  if (!totals) return;
  samples.push({at: performance.now(), received: totals.received_octets, sent: totals.sent_octets});
  if (samples.length > SPARK_TICKS + RATE_TICKS) samples.shift();
  const rates = samples.slice(1).map((one, index) => rate(samples[Math.max(0, index + 1 - RATE_TICKS)], one));
  const latest = rates.at(-1) ?? {received: 0, sent: 0};
  put('meter-rate', `${octets(latest.sent)}/s`, `received: ${octets(latest.received)}/s`);
  spark(rates.slice(-SPARK_TICKS).map(one => one.sent));
}

function rate(one, two) {
  const seconds = Math.max(0.001, (two.at - one.at) / 1000);
  return {
    received: Math.max(0, two.received - one.received) / seconds,
    sent: Math.max(0, two.sent - one.sent) / seconds,
  };
}

function spark(rates) {
  const most = Math.max(1, ...rates);
  const from = SPARK_TICKS - rates.length;
  const points = rates.map((one, index) => `${from + index + 1} ${(SPARK_HEIGHT - 1 - (one / most) * (SPARK_HEIGHT - 3)).toFixed(1)}`);
  const [under, line] = byId('spark').children;
  if (points.length < RATE_TICKS) return;
  line.setAttribute('d', `M${points.join('L')}`);
  under.setAttribute('d', `M${from + 1} ${SPARK_HEIGHT}L${points.join('L')}L${SPARK_TICKS} ${SPARK_HEIGHT}Z`);
}

function tick() {
  if (document.hidden) return;
  const time = now();
  for (const list of Object.values(lists)) list.tick(time);
  if (detail.isOpen) detail.tick();
}

// The session that is open, by the address: `#ID`, and `#ID/ROW`.

// What is known of it, asked for where the lists do not have it.
async function know() {
  const {id} = detail;
  const known = on.items.get(id) ?? ended.items.get(id);
  if (known || detail.session || !isLive) {
    if (known && known !== detail.session) detail.update(known);
    return;
  }
  if (detail.asked) return;
  detail.asked = true;
  const answer = await fetch(`/sessions/${id}`).catch(() => null);
  if (detail.id !== id) return;
  if (answer?.ok) detail.update(await answer.json());
  else if (answer?.status === 404) detail.unknown();
}

function route() {
  const [, id, row] = location.hash.match(/^#([A-Za-z0-9-]{1,64})(?:\/(\d{1,9}))?$/) ?? [];
  if (!id) return shut();
  if (detail.id === id) return row && detail.point(row);
  detail.open(id, {isOver: ended.items.has(id)});
  detail.update(null);
  detail.wanted = row ?? null;
  board.classList.add('split');
  for (const list of Object.values(lists)) list.show(id);
  know();
  byId('detail-title').focus({preventScroll: true});
}

function shut() {
  if (!detail.isOpen) return;
  const {id} = detail;
  detail.close();
  board.classList.remove('split');
  for (const list of Object.values(lists)) list.show(null);
  const list = Object.values(lists).find(one => one.where(id) >= 0);
  if (list) list.go(list.where(id));
}

function leave() {
  history.pushState(null, '', location.pathname);
  route();
}

// The server asks for its token then.
byId('login').addEventListener('click', () => location.reload());

addEventListener('hashchange', route);
addEventListener('popstate', route);
byId('close').addEventListener('click', leave);

// Ending a session.

const kickDialog = byId('kick-dialog');
byId('kick').addEventListener('click', () => {
  const session = detail.session;
  if (!session) return;
  byId('kick-whose').textContent = `${whose(session)}, from ${session.client}, on for ${span(now() - session.began_ms)}.`;
  byId('kick-failed').hidden = true;
  kickDialog.dataset.session = session.session;
  kickDialog.showModal();
});
byId('kick-sure').addEventListener('click', async () => {
  const answer = await fetch(`/sessions/${kickDialog.dataset.session}/kick`, {method: 'POST'}).catch(() => null);
  if (answer?.ok) {
    kickDialog.close();
    detail.say('The session is told to end.');
    return;
  }
  const why = {404: 'It is on no more.', 401: 'You are not logged in any more.'};
  byId('kick-failed').textContent = why[answer?.status] ?? 'The server did not take it. Try again.';
  byId('kick-failed').hidden = false;
});

// Filter, and on small screens which list.

function setFilter(words) {
  filter.value = words;
  for (const list of Object.values(lists)) list.filter(words);
}
filter.addEventListener('input', () => setFilter(filter.value));

function choose(name) {
  board.dataset.list = name;
  for (const button of document.querySelectorAll('.which button')) {
    button.setAttribute('aria-pressed', String(button.dataset.list === name));
  }
}
for (const button of document.querySelectorAll('.which button')) {
  button.addEventListener('click', () => choose(button.dataset.list));
}

// Keys.

function current() {
  const focused = Object.values(lists).find(list => list.section.contains(document.activeElement));
  const holding = detail.isOpen ? Object.values(lists).find(list => list.where(detail.id) >= 0) : null;
  const preferred = focused ?? holding ?? last;
  return preferred.order.length > 0 ? preferred : on;
}
let last = on;

function move(act) {
  last = current();
  if (last.section.offsetParent === null) choose(last === on ? 'on' : 'ended');
  act(last);
}

function other() {
  last = current() === on ? ended : on;
  choose(last === on ? 'on' : 'ended');
  last.go(Math.max(0, last.where(last.active)));
}

const keys = {
  '/': () => {
    filter.focus();
    filter.select();
  },
  j: () => move(list => list.step(1)),
  k: () => move(list => list.step(-1)),
  g: () => move(list => list.go(0)),
  G: () => move(list => list.go(Infinity)),
  l: other,
  n: () => detail.isOpen && detail.jump(1),
  p: () => detail.isOpen && detail.jump(-1),
  f: () => detail.isOpen && detail.follow(),
  r: () => detail.isOpen && byId('remarks').click(),
  '?': () => byId('keys').showModal(),
  Escape: () => detail.isOpen && leave(),
};
const inList = {
  ArrowDown: list => list.step(1),
  ArrowUp: list => list.step(-1),
  Home: list => list.go(0),
  End: list => list.go(Infinity),
  PageDown: list => list.page(1),
  PageUp: list => list.page(-1),
};

addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (document.querySelector('dialog[open]')) return;
  const {target} = event;
  if (target === filter) {
    inFilter(event);
    return;
  }
  const list = Object.values(lists).find(one => one.scroller.contains(target) && !target.closest('thead'));
  if (list && Object.hasOwn(inList, event.key)) {
    event.preventDefault();
    last = list;
    inList[event.key](list);
    return;
  }
  if (Object.hasOwn(keys, event.key)) {
    event.preventDefault();
    keys[event.key]();
  }
});

function inFilter(event) {
  if (event.key === 'Escape') {
    event.preventDefault();
    setFilter('');
    filter.blur();
  } else if (event.key === 'ArrowDown' || event.key === 'Enter') {
    event.preventDefault();
    const list = [last, on, ended].find(one => one.order.length > 0);
    if (list) move(() => list.go(0));
  }
}

byId('keys-open').addEventListener('click', () => byId('keys').showModal());
// A click beside a dialog closes it.
for (const dialog of document.querySelectorAll('dialog')) {
  dialog.addEventListener('click', event => event.target === dialog && dialog.close());
}

// Now it begins.

for (const list of Object.values(lists)) list.scroller.tabIndex = -1;
setInterval(tick, TICK_MS);
setInterval(sample, TICK_MS);
listen('/sessions/events', {event, state: link});
route();
