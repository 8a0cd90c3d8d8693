// The live page: what the server tells of its sessions, in lists, figures and one diagram; and the keys.

import {Detail} from './detail.js';
import {ask, fromAddress, hasToken, keep} from './door.js';
import {List} from './list.js';
import {address as shownAddress, veil} from './names.js';
import {listen} from './stream.js';
import {PHASES, ago, clock, doing, isBare, lasted, number, octets, plural, span, tls, tlsInWords, whose, wrong} from './words.js';

const TICK_MS = 1000;
// The figure of the rate is a mean over so many ticks.
const RATE_TICKS = 4;
const SPARK_TICKS = 60;
const SPARK_WIDTH = 120;
const SPARK_HEIGHT = 28;
// The most of those that have ended that are kept, where the server tells more than it remembers itself.
const ENDED_MAX = 1000;
// So long a tab that nobody sees goes on with the lists: its title tells of them.
const HIDDEN_MAX_MS = 60_000;
// How long it may take to end a session, and to ask for its facts once more.
const KICK_MAX_MS = 10_000;
const ASK_AGAIN_MS = 2000;
const COPIED_MS = 2000;

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
    value: item => (item.user === null ? `\uffff${text(item.tried ?? '')}` : text(item.user)),
    text: item => [whose(item), wrong(item)].filter(words => words !== '').join(', '),
    paint: (cell, words, item) => {
      const fails = wrong(item);
      cell.replaceChildren(element('span', {className: 'name', textContent: whose(item)}), ...(fails ? [' ', element('span', {className: 'wrong-login', textContent: fails})] : []));
      cell.classList.toggle('nobody', item.user === null);
    },
  },
  client: {key: 'client', name: 'Address', value: address, text: item => shownAddress(item.client), title: item => `${shownAddress(item.client)}, session ${item.session}`},
  tls: {
    key: 'tls', name: 'TLS', value: tls, text: tls, kind: isBare, title: item => (isBare(item) ? 'A password went in clear over the network' : tlsInWords(item)),
    paint: (cell, words, item) => {
      cell.textContent = words;
      cell.classList.toggle('without', item.tls === null);
      cell.classList.toggle('bare', isBare(item));
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

const say = text => element('p', {textContent: text});

function nothing(of) {
  if (state === 'lost') return ['lost', () => [say(`The server does not answer: what is ${of} is not known.`)]];
  return isLive ? null : ['', () => []];
}

// Where a mail client finds the server, as a command to try it.
function example() {
  const port = ['pop3', 'pop3s'].map(name => listening.find(one => one.port === name)).find(one => one);
  const place = port?.address.replace(/^(0\.0\.0\.0|\[::\])(?=:)/, location.hostname) ?? 'ADDRESS:PORT';
  return `curl ${port?.port ?? 'pop3'}://${place}/ --user USER`;
}

function nothingOn(isFiltered) {
  const why = nothing('on');
  if (why) return why;
  if (isFiltered) return ['filtered', () => [say('No session that is on fits the filter.'), clearFilter()]];
  const command = example();
  return [command, () => {
    const copy = element('button', {type: 'button', className: 'button', textContent: 'Copy'});
    const code = element('code', {textContent: command});
    copy.addEventListener('click', () => copied(copy, code));
    const line = element('div', {className: 'command'}, element('pre', {}, code), copy);
    return [say('No session is on.'), say('It shows up here as soon as a mail client calls, for one:'), line];
  }];
}

async function copied(button, code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = 'Copy'; }, COPIED_MS);
  } catch {
    // It may not: then it is marked, to be copied by hand.
    getSelection().selectAllChildren(code);
  }
}

function nothingEnded(isFiltered) {
  const why = nothing('over');
  if (why) return why;
  if (isFiltered) return ['filtered', () => [say('None that ended lately fits the filter.'), clearFilter()]];
  return ['none', () => [say('No session has ended since the server began. Those that do are told of here, with why they ended.')]];
}

// What the server tells.

let isLive = false;
// Of the stream that tells: `connecting`, `live`, `lost`, `denied`, `missing`, `paused`.
let state = 'connecting';
let lostAt = null;
let totals = null;
let listening = [];

function take(session) {
  if (isLive && !on.items.has(session.session)) on.fresh.add(session.session);
  on.items.set(session.session, session);
}

function all(data) {
  ahead = data.now_ms - Date.now();
  on.items = new Map(data.on.map(session => [session.session, session]));
  ended.items = new Map(data.ended.map(session => [session.session, session]));
  listening = data.listening ?? [];
  byId('host').textContent = data.hostname;
  byId('host').title = `Restante ${data.version}`;
  samples.length = 0;
  isLive = true;
}

function change(data) {
  ahead = data.now_ms - Date.now();
  const began = data.on.filter(session => isLive && !on.items.has(session.session) && !ended.items.has(session.session));
  for (const session of data.on) take(session);
  for (const name of data.gone) on.items.delete(name);
  // The latest comes first: it is put in last.
  for (const session of data.ended.toReversed()) {
    on.items.delete(session.session);
    ended.items.delete(session.session);
    ended.items.set(session.session, session);
    ended.fresh.add(session.session);
  }
  // One that is over before it was told of has begun all the same.
  if (byId('newest').checked) follow([...began, ...data.ended.filter(({began_ms: at}) => at > latest)]);
  const least = [...ended.items.values()].sort((one, two) => one.ended_ms - two.ended_ms);
  for (const session of least.slice(0, Math.max(0, least.length - ENDED_MAX))) ended.items.delete(session.session);
}

// Opens the one that began last, for who looks on; history is not filled by it.
let latest = 0;

function follow(sessions) {
  const newest = sessions.reduce((one, two) => (one && one.began_ms >= two.began_ms ? one : two), null);
  if (!newest || newest.began_ms < latest) return;
  latest = newest.began_ms;
  history.replaceState(history.state, '', `#${newest.session}`);
  route({isFocused: false});
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
  connecting: 'connecting…',
  live: 'live',
  denied: 'token needed',
  missing: 'no such server',
  paused: 'paused',
};

function link(now) {
  if (now === 'lost') lostAt ??= Date.now();
  else lostAt = null;
  state = now;
  const place = byId('link');
  const words = now === 'lost' ? `lost at ${clock(lostAt)}, trying again` : LINKS[now];
  place.dataset.link = now;
  if (place.textContent !== words) place.textContent = words;
  document.body.classList.toggle('stale', now === 'lost' || now === 'missing');
  for (const list of Object.values(lists)) list.arrange();
  name();
  if (now === 'live') unlock();
}

// The name of the tab.
function name() {
  const host = byId('host').textContent;
  const first = {lost: 'Lost', denied: 'Token needed'}[state] ?? (totals ? `${number(totals.on)} on` : '');
  document.title = [first, host, 'Restante'].filter(words => words !== '').join(' · ');
}

// The token. The server's list is the first that is asked for, without one: behind a unix socket none is needed.

let stopList = null;
let isLocked = false;
let isTrying = false;

function begin() {
  halt();
  stopList = listen('/sessions/events', {event, state: link});
}

function halt() {
  stopList?.();
  stopList = null;
}

// Nothing is shown to who has no token, or another one than the server.
function lock(why) {
  const said = why ?? (!hasToken() ? '' : isLive ? 'The server has another token now.' : 'This is not the token.');
  keep(null);
  halt();
  detail.pause();
  isLocked = true;
  isTrying = false;
  isLive = false;
  totals = null;
  for (const list of Object.values(lists)) list.items.clear();
  for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
  document.body.classList.add('locked');
  byId('door').hidden = false;
  board.hidden = true;
  byId('door-said').textContent = said;
  byId('door-said').hidden = said === '';
  byId('token').value = '';
  byId('token').focus();
  link('denied');
}

function unlock() {
  isTrying = false;
  if (!isLocked) return;
  isLocked = false;
  document.body.classList.remove('locked');
  byId('door').hidden = true;
  byId('token').value = '';
  board.hidden = false;
  if (detail.isOpen) {
    detail.resume();
    byId('detail-title').focus({preventScroll: true});
  } else {
    filter.focus();
  }
}

function unlockBy() {
  isTrying = true;
  byId('door-said').hidden = true;
  link('connecting');
  begin();
}

// Several questions may be refused at once: one of them locks.
addEventListener('refused', () => (isTrying || !isLocked) && lock());
byId('door-form').addEventListener('submit', event => {
  event.preventDefault();
  if (keep(byId('token').value)) unlockBy();
  else lock('This is not the token.');
});
byId('forget').addEventListener('click', () => lock(''));

// A tab that nobody sees leaves its connections to others.
let hiding = null;

function looked() {
  clearTimeout(hiding);
  if (document.hidden) {
    detail.pause();
    hiding = setTimeout(() => {
      if (isLocked) return;
      halt();
      link('paused');
    }, HIDDEN_MAX_MS);
  } else if (!isLocked) {
    if (!stopList) begin();
    detail.resume();
  }
}
document.addEventListener('visibilitychange', looked);

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
  name();
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
  const step = SPARK_WIDTH / SPARK_TICKS;
  const points = rates.map((one, index) => `${(from + index + 1) * step} ${(SPARK_HEIGHT - 1 - (one / most) * (SPARK_HEIGHT - 3)).toFixed(1)}`);
  const [under, line] = byId('spark').children;
  const scale = `last ${SPARK_TICKS} s, most ${octets(most > 1 ? most : 0)}/s`;
  put('spark-scale', scale);
  byId('spark').setAttribute('aria-label', `Sent: ${scale}`);
  if (points.length < RATE_TICKS) return;
  line.setAttribute('d', `M${points.join('L')}`);
  under.setAttribute('d', `M${(from + 1) * step} ${SPARK_HEIGHT}L${points.join('L')}L${SPARK_WIDTH} ${SPARK_HEIGHT}Z`);
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
  const answer = await ask(`/sessions/${id}`).catch(() => null);
  const facts = answer?.ok ? await answer.json().catch(() => null) : null;
  if (detail.id !== id) return;
  if (facts) detail.update(facts);
  else if (answer?.status === 404) detail.unknown();
  else setTimeout(() => {
    if (detail.id !== id) return;
    detail.asked = false;
    know();
  }, ASK_AGAIN_MS);
}

function route({isFocused = true} = {}) {
  if (fromAddress()) unlockBy();
  const [, id, row] = location.hash.match(/^#([A-Za-z0-9-]{1,64})(?:\/(\d{1,9}))?$/) ?? [];
  if (!id) return shut();
  if (detail.id === id) return row && detail.point(row);
  detail.open(id, {isOver: ended.items.has(id)});
  detail.update(on.items.get(id) ?? ended.items.get(id) ?? null);
  detail.wanted = row ?? null;
  board.classList.add('split');
  for (const list of Object.values(lists)) list.show(id);
  know();
  if (isFocused) byId('detail-title').focus({preventScroll: true});
  if (document.documentElement.scrollHeight > innerHeight) board.scrollIntoView();
}

function shut() {
  if (!detail.isOpen) return;
  const {id} = detail;
  detail.close();
  board.classList.remove('split');
  enlarge(false);
  for (const list of Object.values(lists)) list.show(null);
  const list = Object.values(lists).find(one => one.where(id) >= 0);
  if (list) list.go(list.where(id));
}

function leave() {
  history.pushState(null, '', location.pathname);
  route();
}

// The diagram alone, in bigger type, for a projector.
function enlarge(isLarge = !document.body.classList.contains('large')) {
  document.documentElement.classList.toggle('big', isLarge);
  document.body.classList.toggle('large', isLarge);
  byId('large').setAttribute('aria-pressed', String(isLarge));
}

byId('large').addEventListener('click', () => enlarge());
byId('veil').addEventListener('change', event => {
  veil(event.target.checked);
  for (const list of Object.values(lists)) list.draw();
  if (!detail.isOpen) return;
  detail.update(detail.session);
  detail.again();
});
byId('newest').addEventListener('change', () => { latest = now(); });

addEventListener('hashchange', () => route());
addEventListener('popstate', () => route());
byId('close').addEventListener('click', leave);

// Ending a session.

const kickDialog = byId('kick-dialog');
byId('kick').addEventListener('click', () => {
  const session = detail.session;
  if (!session) return;
  byId('kick-whose').textContent = `${whose(session)}, from ${shownAddress(session.client)}, on for ${span(now() - session.began_ms)}.`;
  byId('kick-failed').hidden = true;
  kickDialog.dataset.session = session.session;
  kickDialog.showModal();
});
byId('kick-sure').addEventListener('click', async () => {
  byId('kick-sure').disabled = true;
  byId('kick-failed').hidden = true;
  const options = {method: 'POST', signal: AbortSignal.timeout(KICK_MAX_MS)};
  const answer = await ask(`/sessions/${kickDialog.dataset.session}/kick`, options).catch(error => ({status: error.name}));
  byId('kick-sure').disabled = false;
  if (answer.ok) {
    kickDialog.close();
    detail.say('The session is told to end.');
    return;
  }
  const why = {
    404: 'It is on no more.',
    TimeoutError: `The server has not answered in ${KICK_MAX_MS / 1000} s. Try again, or by restante admin kick.`,
    TypeError: 'The server cannot be reached. Try again.',
  };
  byId('kick-failed').textContent = why[answer.status] ?? 'The server did not take it. Try again.';
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

function showKeys() {
  byId('forget').hidden = !hasToken();
  byId('keys').showModal();
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
  o: other,
  l: () => detail.isOpen && enlarge(),
  d: () => detail.isOpen && detail.unfold(),
  n: () => detail.isOpen && detail.jump(1),
  p: () => detail.isOpen && detail.jump(-1),
  e: () => detail.isOpen && detail.follow(),
  f: () => byId('newest').click(),
  h: () => byId('veil').click(),
  r: () => detail.isOpen && byId('remarks').click(),
  '?': showKeys,
  Escape: () => (document.body.classList.contains('large') ? enlarge(false) : detail.isOpen && leave()),
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
  if (isLocked || document.querySelector('dialog[open]')) return;
  const {target} = event;
  if (target.matches('select')) return;
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

byId('keys-open').addEventListener('click', showKeys);
// A click beside a dialog closes it.
for (const dialog of document.querySelectorAll('dialog')) {
  dialog.addEventListener('click', event => event.target === dialog && dialog.close());
}

// Now it begins.

for (const list of Object.values(lists)) list.scroller.tabIndex = -1;
setInterval(tick, TICK_MS);
setInterval(sample, TICK_MS);
fromAddress();
begin();
looked();
route();
