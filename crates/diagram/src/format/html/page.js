// What the page does more than HTML and CSS can: keys, and the way from finding to finding.
'use strict';
const box = id => document.getElementById(id);
const places = [...document.querySelectorAll('.row.found')];
const jump = document.querySelector('.jump');
const where = document.querySelector('.jump output');

// The finding before or behind what was last gone to, or behind what is on the screen.
function go(step) {
  if (!places.length) return;
  let at = places.indexOf(document.querySelector('.row:target'));
  if (at < 0) {
    const middle = innerHeight / 2;
    const below = places.findIndex(row => row.getBoundingClientRect().top > middle);
    const next = below < 0 ? places.length : below;
    at = step > 0 ? next - 1 : next;
  }
  at = (at + step + places.length) % places.length;
  const row = places[at];
  // Not an entry in the history for each step.
  location.replace('#' + row.id);
  row.scrollIntoView({block: 'center'});
  row.querySelector('summary').focus({preventScroll: true});
  where.textContent = `${at + 1} of ${places.length}`;
}

function toggle(id) {
  const input = box(id);
  if (input) input.click();
}

// Opens what is closed, or closes all.
function unfold() {
  const all = [...document.querySelectorAll('details.lane')];
  const closed = all.some(details => !details.open);
  for (const details of all) details.open = closed;
}

const keys = {
  n: () => go(1),
  p: () => go(-1),
  t: () => toggle('show-segments'),
  b: () => toggle('show-bodies'),
  r: () => toggle('show-remarks'),
  e: unfold,
};

addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const act = Object.hasOwn(keys, event.key) && keys[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

// Who marks text in a message to copy it does not want its details.
addEventListener('click', event => {
  if (event.detail && event.target.closest('summary') && !getSelection().isCollapsed) event.preventDefault();
});

for (const hint of document.querySelectorAll('.tools>[hidden],.tools label [hidden]')) {
  hint.hidden = hint === jump && !places.length;
}
document.querySelector('.tools .open')?.addEventListener('click', unfold);

if (jump && places.length) {
  jump.querySelector('.previous').addEventListener('click', () => go(-1));
  jump.querySelector('.next').addEventListener('click', () => go(1));
}
