// Names of users and addresses of clients as they are, or what stands for them while somebody else looks on.

// So many are kept apart; then it is counted anew.
const NAMES_MAX = 20_000;

const stands = new Map();
const counts = {user: 0, client: 0};
let isVeiled = false;

export function veil(isOn) {
  isVeiled = isOn;
}

function standFor(kind, real) {
  const key = `${kind} ${real}`;
  if (!stands.has(key)) {
    if (stands.size === NAMES_MAX) stands.clear();
    stands.set(key, `${kind}-${++counts[kind]}`);
  }
  return stands.get(key);
}

export const user = name => (isVeiled ? standFor('user', name) : name);

// With its port, which tells nothing.
export function address(client) {
  if (!isVeiled) return client;
  const [, host, port] = client.match(/^(.*):(\d+)$/) ?? [null, client, null];
  return port === null ? standFor('client', host) : `${standFor('client', host)}:${port}`;
}

const whole = word => new RegExp(`(?<![\\p{L}\\p{N}])${word.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')}(?![\\p{L}\\p{N}])`, 'gu');

// Puts them into a piece of a diagram. `learnt` are the names and hosts that its dialogue has shown so far.
export function inDiagram(piece, learnt, session) {
  if (!isVeiled) return piece;
  const learn = (kind, real) => real && learnt.set(real, kind);
  learn('user', session?.user);
  learn('user', session?.tried);
  for (const label of piece.querySelectorAll('.label')) {
    learn('user', label.textContent.match(/^\s*(?:USER|APOP)\s+(\S+)/i)?.[1]);
  }
  for (const client of [session?.client, piece.querySelector('.actor.client span')?.textContent]) {
    learn('client', client?.trim().match(/^(.*):\d+$/)?.[1]);
  }
  const changes = [...learnt].map(([real, kind]) => [whole(real), standFor(kind, real)]);
  const walker = document.createTreeWalker(piece, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    // On one machine the server has the client's address.
    if (node.parentElement?.closest('.actor.server')) continue;
    const text = changes.reduce((words, [real, stand]) => words.replace(real, stand), node.data);
    if (text !== node.data) node.data = text;
  }
  return piece;
}
