// One session: what is known of it, and its diagram as it grows.

import {ask} from './door.js';
import {address, inDiagram} from './names.js';
import {listen} from './stream.js';
import {PHASES, clock, doing, isBare, lasted, number, octets, plural, span, tls, whose, wrong} from './words.js';

// The most rows that are kept; whoever wants them all has the dialogue.
const ROWS_MAX = 5000;
const ROWS_DROPPED = 1000;
// So near to the end it counts as the end.
const NEAR_PX = 48;
// How long is waited for more to say, so that a screen reader is not talked to death.
const SAY_AFTER_MS = 1200;
const SAID_MAX = 3;
// So long a browser may take to begin to save a file.
const SAVED_AFTER_MS = 60_000;
const UNKNOWN = 'No session of this name is on, or ended lately';

const byId = id => document.getElementById(id);
const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

export class Detail {
  constructor({now}) {
    this.now = now;
    this.section = byId('detail');
    this.paper = byId('paper');
    this.body = this.section.querySelector('.detail-body');
    this.readings = this.section.querySelector('.readings');
    this.below = byId('below');
    this.below.addEventListener('click', () => this.follow());
    const scrolled = () => this.scrolled();
    // Wide, the paper scrolls below the readings; narrow, all of it does.
    for (const place of [this.paper, this.body]) place.addEventListener('scroll', scrolled, {passive: true});
    this.resized = new ResizeObserver(() => this.isFollowing && this.toEnd());
    this.resized.observe(this.paper);
    byId('remarks').addEventListener('change', event => this.paper.classList.toggle('quiet', !event.target.checked));
    this.paper.addEventListener('click', event => this.clicked(event));
    byId('unfold').addEventListener('click', () => this.unfold());
    byId('dialogue').addEventListener('click', () => this.download());
  }

  get isOpen() {
    return !this.section.hidden;
  }

  scroller() {
    return getComputedStyle(this.paper).overflowY === 'auto' ? this.paper : this.body;
  }

  // One that has ended is read from its beginning; one that is on is followed.
  open(id, {isOver}) {
    this.close();
    this.id = id;
    this.isOver = isOver;
    this.isUnknown = false;
    this.asked = false;
    this.session = null;
    this.section.hidden = false;
    this.returning = null;
    this.clear();
    this.drawn = '';
    this.readings.replaceChildren();
    this.fault('');
    this.start();
  }

  // Asks for the diagram, in a tab that is looked at: a browser has few connections to one server, and each tab takes them.
  start() {
    this.stop?.();
    this.stop = null;
    this.isDone = false;
    if (!this.diagram) this.notice('waits', 'The diagram is asked for…');
    if (document.hidden) return;
    this.stop = listen(`/sessions/${this.id}/diagram`, {
      event: (name, data) => this.event(name, data),
      state: state => this.link(state),
    });
  }

  pause() {
    if (!this.isOpen || !this.stop || this.isDone) return;
    this.stop();
    this.stop = null;
    this.returning = this.place();
    this.section.dataset.link = 'paused';
  }

  resume() {
    if (this.isOpen && !this.stop && !this.isDone) this.start();
  }

  // Once more from the beginning: names are shown in another way.
  again() {
    if (!this.isOpen) return;
    this.returning = this.place();
    this.start();
  }

  // What is looked at, to be found again when all of it is drawn again.
  place() {
    if (this.isFollowing || !this.diagram) return null;
    const {top} = this.scroller().getBoundingClientRect();
    const row = [...this.paper.querySelectorAll('.row[id]')].find(one => one.getBoundingClientRect().bottom > top);
    return row ? {row: row.id} : null;
  }

  close() {
    this.stop?.();
    this.stop = null;
    this.id = null;
    this.session = null;
    this.queue = [];
    clearTimeout(this.saying);
    this.saying = null;
    this.words = [];
    byId('said').textContent = '';
    this.section.hidden = true;
  }

  clear() {
    this.queue = [];
    this.count = 0;
    this.unseen = 0;
    this.dropped = 0;
    this.phase = undefined;
    this.rows = null;
    this.found = [];
    this.isFollowing = !this.isOver && !this.returning;
    this.learnt = new Map();
    this.diagram = null;
    this.paper.replaceChildren();
    byId('findings').replaceChildren();
    byId('findings').hidden = true;
    this.showBelow();
  }

  link(state) {
    if (state === 'lost') {
      this.returning ??= this.place();
      this.say('The diagram is lost, and asked for again.');
    }
    if (state === 'missing') this.unknown();
    this.section.dataset.link = state;
  }

  event(name, data) {
    if (name === 'waiting') {
      this.clear();
      this.notice('waits', data.why);
    } else if (name === 'begin') {
      this.begin(data);
    } else if (name === 'row') {
      this.queue.push(data);
      this.soon();
    } else if (name === 'end') {
      this.flush();
      this.end(data);
      this.isDone = true;
      return 'last';
    } else if (name === 'over') {
      this.over(data.why);
      this.isDone = true;
      return 'done';
    } else if (name === 'gone') {
      this.flush();
      if (!this.diagram) this.clear();
      this.notice('nothing', data.why);
      this.isDone = true;
      return 'done';
    }
    return null;
  }

  // There is no such session, as far as the server remembers.
  unknown() {
    this.isUnknown = true;
    byId('detail-title').textContent = UNKNOWN;
    this.readings.replaceChildren();
    if (!this.diagram && !this.paper.querySelector('.notice.nothing')) this.notice('nothing', `${UNKNOWN}.`);
  }

  notice(kind, text) {
    this.paper.querySelector('.notice')?.remove();
    this.paper.append(element('p', {className: `notice ${kind}`, textContent: text}));
  }

  begin(data) {
    // The stream may have been lost and have begun anew.
    this.clear();
    if (data.joined) {
      this.paper.append(element('p', {className: 'lead', textContent: 'Its beginning was not heard: it is drawn from where somebody began to look.'}));
    }
    this.diagram = element('div', {className: 'diagram'}, this.fragment(data.html));
    if (!this.diagram.querySelector('.heads .when')) this.diagram.classList.add('untimed');
    this.paper.append(this.diagram);
    this.resized.observe(this.diagram);
  }

  // In a frame of its own; a page out of sight has no frames.
  soon() {
    if (this.waits) return;
    this.waits = true;
    const flush = () => {
      this.waits = false;
      this.flush();
    };
    if (document.hidden) setTimeout(flush, 0);
    else requestAnimationFrame(flush);
  }

  flush() {
    if (this.queue.length === 0 || !this.diagram) return;
    const queue = this.queue;
    this.queue = [];
    for (const row of queue) this.row(row);
    this.unseen = this.isFollowing || this.isOver ? 0 : this.unseen + queue.length;
    if (this.count - this.dropped > ROWS_MAX) this.drop();
    if (this.isFollowing) this.toEnd();
    this.showBelow();
    this.back();
    if (this.wanted && this.point(this.wanted)) this.wanted = null;
  }

  back() {
    const row = this.returning && document.getElementById(this.returning.row);
    if (!row) return;
    this.returning = null;
    row.scrollIntoView({block: 'start'});
  }

  row({number: at, phase, class: style, findings, html}) {
    if (this.rows === null || phase !== this.phase) {
      if (this.rows !== null && phase) this.say(`${phase} begins.`);
      this.phase = phase;
      this.rows = element('ol', {className: 'rows'});
      const title = phase
        ? element('h3', {className: 'band'}, element('span', {textContent: phase}))
        : element('h3', {className: 'hidden', textContent: 'Outside of the session’s states'});
      this.diagram.append(element('section', {className: style ? `phase ${style}` : 'phase'}, title, this.rows));
    }
    const drawn = this.fragment(html);
    for (const link of drawn.querySelectorAll('a[href^="#"]')) {
      const place = link.getAttribute('href').match(/^#s\d+-r(\d+)$/);
      if (place) link.setAttribute('href', `#${this.id}/${place[1]}`);
    }
    this.rows.append(drawn);
    this.count++;
    for (const finding of findings) this.finding(at, finding);
  }

  finding(at, {severity, title}) {
    this.found.push(at);
    const bar = byId('findings');
    bar.hidden = false;
    const old = [...bar.children].find(link => link.dataset.title === title);
    if (old) {
      old.dataset.count = Number(old.dataset.count ?? 1) + 1;
      old.querySelector('small').textContent = `${old.dataset.count} times`;
      return;
    }
    this.say(`${title}: ${severity}.`);
    const link = element('a', {className: severity, href: `#${this.id}/${at}`}, element('b', {textContent: title}), ' ', element('small', {textContent: `row ${at}`}));
    link.dataset.title = title;
    link.addEventListener('click', event => this.clicked(event));
    bar.append(link);
  }

  drop() {
    for (let left = ROWS_DROPPED; left > 0; left--) {
      const section = this.diagram.querySelector('.phase');
      const row = section?.querySelector('.row');
      row?.remove();
      if (section && !section.querySelector('.row') && section !== this.rows.parentElement) section.remove();
    }
    this.dropped += ROWS_DROPPED;
    this.paper.querySelector('.lead')?.remove();
    const text = `The first ${number(this.dropped)} rows are not shown any more; the dialogue has them all.`;
    this.paper.prepend(element('p', {className: 'lead', textContent: text}));
  }

  end(data) {
    if (!this.diagram) return;
    this.diagram.append(this.fragment(data.html));
    this.returning = null;
    this.say(`The session has ended: ${data.ending}.`);
    if (this.isFollowing) this.toEnd();
  }

  // Why the server has ended it, which no octet of it tells.
  over(why) {
    if (!why || !this.diagram) return;
    this.paper.querySelector('.over')?.remove();
    this.paper.append(element('p', {className: 'over', textContent: `The session is over: ${why}.`}));
    this.say(`The session is over: ${why}.`);
    if (this.isFollowing) this.toEnd();
  }

  fragment(html) {
    return inDiagram(fragment(html), this.learnt, this.session);
  }

  unfold(isOpen = !this.section.classList.contains('unfolded')) {
    this.section.classList.toggle('unfolded', isOpen);
    byId('unfold').setAttribute('aria-expanded', String(isOpen));
  }

  // Something did not work, and is told where it was asked for.
  fault(text) {
    byId('fault').textContent = text;
    byId('fault').hidden = text === '';
  }

  // By a question of our own, as a link would carry no token.
  async download() {
    const {id} = this;
    this.fault('');
    const answer = await ask(`/sessions/${id}/dialogue`).catch(() => null);
    const text = answer?.ok ? await answer.blob().catch(() => null) : null;
    if (!text) {
      if (this.id === id) this.fault('The dialogue could not be had. Try again.');
      return;
    }
    const link = element('a', {href: URL.createObjectURL(text), download: `${id}.pop3`});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), SAVED_AFTER_MS);
  }

  clicked(event) {
    const place = event.target.closest('a[href^="#"]')?.getAttribute('href').match(/\/(\d+)$/);
    const plain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
    if (place && plain) {
      event.preventDefault();
      this.point(Number(place[1]));
    } else if (event.detail && event.target.closest('summary') && !getSelection().isCollapsed) {
      // Who marks text to copy it does not want its details.
      event.preventDefault();
    }
  }

  // Shows one row; false if it is not there yet.
  point(at) {
    const row = this.paper.querySelector(`.row[id$="-r${Number(at)}"]`);
    if (!row) return false;
    this.paper.querySelector('.row.pointed')?.classList.remove('pointed');
    row.classList.add('pointed');
    this.isFollowing = false;
    row.scrollIntoView({block: 'center'});
    row.querySelector('summary')?.focus({preventScroll: true});
    history.replaceState(history.state, '', `#${this.id}/${at}`);
    this.at = at;
    return true;
  }

  // The finding before or behind the row that was last shown.
  jump(step) {
    const places = [...new Set(this.found)];
    if (places.length === 0) return;
    const pointed = this.paper.querySelector('.row.pointed') ? this.at : step > 0 ? 0 : Infinity;
    const ahead = step > 0 ? places.find(at => at > pointed) : places.findLast(at => at < pointed);
    this.point(ahead ?? (step > 0 ? places[0] : places.at(-1)));
  }

  scrolled() {
    const {scrollTop, scrollHeight, clientHeight} = this.scroller();
    const isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    // Rows that are laid out late make the end move away: only who goes up leaves it.
    if (isAtEnd) this.isFollowing = true;
    else if (scrollTop < this.last) this.isFollowing = false;
    this.last = scrollTop;
    if (this.isFollowing && this.unseen > 0) {
      this.unseen = 0;
      this.showBelow();
    }
  }

  toEnd() {
    const scroller = this.scroller();
    scroller.scrollTop = scroller.scrollHeight;
    this.last = scroller.scrollTop;
  }

  follow() {
    this.isFollowing = true;
    this.unseen = 0;
    this.toEnd();
    this.showBelow();
    this.paper.focus({preventScroll: true});
  }

  showBelow() {
    this.below.hidden = this.unseen === 0;
    this.below.textContent = `${plural(this.unseen, 'new row')} below ↓`;
  }

  // Sparse: what is said within a moment is said together.
  say(text) {
    this.words = [...(this.words ?? []), text].slice(-SAID_MAX);
    this.saying ??= setTimeout(() => {
      byId('said').textContent = this.words.join(' ');
      this.words = [];
      this.saying = null;
    }, SAY_AFTER_MS);
  }

  // What is known of the session, or that nothing is.
  update(session) {
    this.session = session;
    const pill = byId('detail-phase');
    const isOn = session && session.ended_ms === undefined;
    byId('detail-title').textContent = session ? whose(session) : this.isUnknown ? UNKNOWN : `Session ${this.id}`;
    byId('detail-wrong').textContent = session ? wrong(session) : '';
    pill.hidden = !session;
    byId('kick').hidden = !isOn;
    byId('dialogue').hidden = !session || (!isOn && !session.heard);
    byId('unfold').hidden = !session;
    if (!session) return;
    pill.textContent = isOn ? session.phase : 'ended';
    pill.className = `pill ${isOn ? PHASES[session.phase] ?? 'p3' : 'p3'}`;
    this.tick();
  }

  tick() {
    const session = this.session;
    if (!session) return;
    const facts = readings(session, this.now());
    const names = facts.map(([name, , style]) => name + style).join();
    if (names !== this.drawn) {
      this.drawn = names;
      this.readings.replaceChildren(...facts.map(([name, , style]) =>
        element('div', {className: style ?? ''}, element('dt', {textContent: name}), element('dd'))));
    }
    facts.forEach(([, value], index) => {
      const place = this.readings.children[index].lastElementChild;
      if (place.textContent !== value) place.textContent = value;
    });
  }
}

// Each with its name, its words and its style; `main` are those that are shown where there is one line for them.
function readings(session, now) {
  const isOn = session.ended_ms === undefined;
  const facts = [['Client', address(session.client), 'main mono']];
  facts.push(['TLS', tls(session), isBare(session) ? 'main bare' : 'main']);
  if (isOn) facts.push(['On for', span(now - session.began_ms), 'main'], ['Does', doing(session, now).join(' '), 'main']);
  else facts.push(['Ended', clock(session.ended_ms), 'main'], ['Why', session.why, 'main'], ['Lasted', lasted(session.ended_ms - session.began_ms), 'main']);
  facts.push(['Session', session.session, 'main mono'], ['Began', clock(session.began_ms), '']);
  facts.push(['Server', `${session.server ?? 'not known'} (${session.port})`, 'mono']);
  if (session.tls) facts.push(['Cipher', session.tls.cipher, 'mono']);
  if (session.failed_logins > 0) facts.push(['Failed logins', number(session.failed_logins), '']);
  facts.push(['Commands', number(session.commands), ''], ['Retrieved', number(session.retrieved), '']);
  // What is marked while it is on is removed at its end, or left (RFC 1939 §6).
  facts.push(isOn && session.marked !== undefined ? ['Marked', number(session.marked), ''] : ['Removed', number(session.deleted), '']);
  facts.push(['Received', octets(session.received_octets), ''], ['Sent', octets(session.sent_octets), '']);
  return facts;
}

// Our own server has escaped it; the page's policy lets nothing in it run.
function fragment(html) {
  const template = document.createElement('template');
  template.innerHTML = html;
  return template.content;
}
