// The way to the server: each question carries the operator's token, where there is one. It is taken out of the address at
// once, and kept for this tab alone. Behind a unix socket none is needed, and none is asked for.

const PLACE = 'token';

let token = null;
try {
  token = sessionStorage.getItem(PLACE);
} catch {
  // A browser that keeps nothing: then it lasts as long as the page.
}

export const hasToken = () => token !== null;

// What can be a token is kept from now on; anything else, or null, is forgotten.
export function keep(words) {
  token = /^[\x21-\x7e]+$/.test(words?.trim() ?? '') ? words.trim() : null;
  try {
    if (hasToken()) sessionStorage.setItem(PLACE, token);
    else sessionStorage.removeItem(PLACE);
  } catch {
    // As above.
  }
  return hasToken();
}

// Takes it from `#token=…`; whether there was one. What stands behind `&` is the session to open.
export function fromAddress() {
  const found = location.hash.match(/^#token=([^&]*)(?:&(.*))?$/);
  if (!found) return false;
  history.replaceState(history.state, '', `${location.pathname}${found[2] ? `#${found[2]}` : ''}`);
  try {
    keep(decodeURIComponent(found[1]));
  } catch {
    keep(found[1]);
  }
  return true;
}

// A question to the server. That it wants a token, or another one, is told to the window as `refused`.
export async function ask(path, {headers = {}, ...options} = {}) {
  const shown = hasToken() ? {...headers, authorization: `Bearer ${token}`} : headers;
  const answer = await fetch(path, {cache: 'no-store', credentials: 'omit', ...options, headers: shown});
  if (answer.status === 401) dispatchEvent(new Event('refused'));
  return answer;
}
