// Figures and facts as people read them.

import {user} from './names.js';

const STEP = 1000;
const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

// `1.2 MB`: three figures are enough to look at.
export function octets(count) {
  let unit = 0;
  while (count >= STEP && unit < UNITS.length - 1) {
    count /= STEP;
    unit++;
  }
  const digits = unit === 0 || count >= 99.95 ? 0 : 1;
  return `${count.toFixed(digits)} ${UNITS[unit]}`;
}

const grouped = new Intl.NumberFormat('en');
export const number = count => grouped.format(count);

export const plural = (count, word) => `${number(count)} ${word}${count === 1 ? '' : 's'}`;

const two = part => String(part).padStart(2, '0');

// `12 s`, `3 min`, `1 h 04 min`, `2 d 3 h`.
export function span(millis) {
  const seconds = Math.max(0, Math.floor(millis / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return `${minutes} min ${two(seconds % 60)} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${two(minutes % 60)} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

// `just now`, `12 s ago`, `3 min ago`: seconds do not matter behind a minute.
export const ago = millis => (millis < 1000 ? 'just now' : `${span(millis).replace(/ min \d\d s$/, ' min')} ago`);

// What lasted, more exactly where it was short: `18 ms`, `1.5 s`.
export function lasted(millis) {
  if (millis < 1000) return `${Math.max(0, millis)} ms`;
  return millis < 10_000 ? `${(millis / 1000).toFixed(1)} s` : span(millis);
}

export function clock(millis) {
  const date = new Date(millis);
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':');
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-');
  return date.toDateString() === new Date().toDateString() ? time : `${day} ${time}`;
}

// What a session does, and for how long where that is long: `RETR` and `for 12 s`.
export function doing(session, now) {
  const millis = now - session.doing_since_ms;
  if (millis < 1000) return [session.doing];
  const since = span(millis);
  if (session.doing === 'waits' || session.doing === 'ends') return [session.doing, since];
  return [session.doing, `for ${since}`];
}

// Who it is, or who it says to be: `bob`, `bob?`.
export function whose(session) {
  if (session.user !== null) return user(session.user);
  return session.tried ? `${user(session.tried)}?` : 'not logged in';
}

// That somebody fails to log in: `wrong password ×2`; nothing where nobody does, or not any more.
export function wrong(session) {
  const times = session.failed_logins ?? 0;
  if (session.user !== null || times === 0) return '';
  return times === 1 ? 'wrong password' : `wrong password ×${number(times)}`;
}

// Whether a password went in clear over a network, as far as it is known.
export function isBare(session) {
  const hasSaid = session.user !== null || (session.failed_logins ?? 0) > 0;
  const isNear = /^(127\.|\[::1\]|\[::ffff:127\.)/.test(session.client);
  return session.tls === null && session.port === 'pop3' && hasSaid && !isNear;
}

// `TLS 1.3`, or that there is none.
export function tls(session) {
  if (session.tls) return session.tls.version.replace(/^TLSv/, 'TLS ');
  return session.port === 'pop3s' ? 'not yet' : 'none';
}

export function tlsInWords(session) {
  if (session.tls) return `${tls(session)}, ${session.tls.cipher}`;
  return session.port === 'pop3s' ? 'No handshake was done yet' : 'Everything goes in clear';
}

export const PHASES = {AUTHORIZATION: 'p0', TRANSACTION: 'p1', UPDATE: 'p2', closed: 'p3'};
