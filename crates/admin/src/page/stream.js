// Server-sent events by fetch: unlike EventSource it tells why a stream is refused, and its patience is ours to set.

import {ask} from './door.js';

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
// The server says something every 15 seconds, were it only that it is there.
const SILENCE_MAX_MS = 45_000;

// Listens until it is stopped. `event(name, data)` is told of each event; `state` of `live`, `lost` (it is tried again),
// `denied` (the token is needed, or another one) and `missing` (there is no such thing).
export function listen(address, {event, state}) {
  const stop = new AbortController();
  run(address, {event, state}, stop.signal);
  return () => stop.abort();
}

async function run(address, told, signal) {
  let wait = FIRST_WAIT_MS;
  while (!signal.aborted) {
    try {
      const answer = await ask(address, {headers: {accept: 'text/event-stream'}, signal});
      if (answer.status === 401 || answer.status === 403) return told.state('denied');
      if (answer.status === 404) return told.state('missing');
      if (answer.ok) {
        wait = FIRST_WAIT_MS;
        told.state('live');
        if (await read(answer.body, told.event, signal)) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof TypeError || error instanceof DOMException)) console.error(error);
    }
    if (signal.aborted) return;
    told.state('lost');
    await pause(wait * (0.75 + Math.random() / 2), signal);
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  }
}

function pause(millis, signal) {
  return new Promise(resolve => {
    const timer = setTimeout(resolve, millis);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    }, {once: true});
  });
}

// Reads events; true when one of them says that nothing follows (`done`), or nothing has to (`last`), and nothing does.
async function read(body, event, signal) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let name = 'message';
  let data = [];
  // A line that has not ended, in the pieces in which it came: it may be long.
  let pieces = [];
  let isLast = false;
  const line = text => {
    if (text === '') {
      const [told, what] = [name, data];
      name = 'message';
      data = [];
      const next = what.length > 0 ? event(told, JSON.parse(what.join('\n'))) : null;
      isLast ||= next === 'last';
      return next === 'done';
    }
    const at = text.indexOf(':');
    const field = at < 0 ? text : text.slice(0, at);
    const value = at < 0 ? '' : text.slice(at + 1).replace(/^ /, '');
    if (field === 'event') name = value;
    if (field === 'data') data.push(value);
    return false;
  };
  let silence;
  for (;;) {
    clearTimeout(silence);
    silence = setTimeout(() => reader.cancel().catch(() => {}), SILENCE_MAX_MS);
    const {done, value} = await reader.read().finally(() => clearTimeout(silence));
    if (done || signal.aborted) return isLast;
    let from = 0;
    for (let end = value.indexOf('\n'); end >= 0; end = value.indexOf('\n', from)) {
      pieces.push(value.slice(from, end));
      from = end + 1;
      const whole = pieces.join('').replace(/\r$/, '');
      pieces = [];
      if (line(whole)) {
        reader.cancel().catch(() => {});
        return true;
      }
    }
    pieces.push(value.slice(from));
  }
}
