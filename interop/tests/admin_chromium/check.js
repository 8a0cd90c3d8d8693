// Looks at the live page from inside, and says what a person would be disturbed by: one fault each.
(() => {
  const faults = [];
  const name = element => `${element.closest('[id]')?.id ?? ''} «${element.textContent.trim().slice(0, 40)}»`;

  // The boxes of all texts that a person sees.
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest('.hidden,noscript,script,dialog:not([open])')) continue;
    if (!element.checkVisibility({visibilityProperty: true})) continue;
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    const boxes = [...range.getClientRects()].filter(box => box.width > 1);
    texts.push(...boxes.map(box => ({element, box})));
  }

  const luminance = ([r, g, b]) => {
    const part = value => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const REQUIRED_CONTRAST = 4.5;
  for (const {element} of texts) {
    let ground = element;
    while (ground && /^rgba\(.*, 0\)$/.test(getComputedStyle(ground).backgroundColor)) ground = ground.parentElement;
    const [over, under] = [getComputedStyle(element).color, getComputedStyle(ground ?? document.body).backgroundColor];
    const [a, b] = [over, under].map(text => luminance(text.match(/[\d.]+/g).map(Number))).sort((x, y) => y - x);
    const has = (a + 0.05) / (b + 0.05);
    if (has < REQUIRED_CONTRAST) faults.push(`contrast ${has.toFixed(2)} of ${over} on ${under}: ${name(element)}`);
  }

  // No two texts stand on one another, unless one has scrolled under the other.
  const layer = element => element.closest('thead,.heads,.detail-head,.below,.scroll,.paper,.head,.panel');
  const sorted = texts.filter(({element, box}) => {
    const clip = element.closest('.scroll,.paper')?.getBoundingClientRect();
    return !clip || (box.bottom <= clip.bottom && box.top >= clip.top);
  }).sort((one, two) => one.box.top - two.box.top);
  for (let one = 0; one < sorted.length; one++) {
    for (let two = one + 1; two < sorted.length && sorted[two].box.top < sorted[one].box.bottom - 3; two++) {
      const [a, b] = [sorted[one], sorted[two]];
      // A text that is cut short has a second box.
      if (a.element === b.element) continue;
      if (layer(a.element) !== layer(b.element) || a.element.closest('tr,li') !== b.element.closest('tr,li')) continue;
      const cut = (box, element) => Math.min(box.right, element.closest('td')?.getBoundingClientRect().right ?? Infinity);
      if (a.box.left < cut(b.box, b.element) - 1 && b.box.left < cut(a.box, a.element) - 1) {
        faults.push(`texts overlap: ${name(a.element)} and ${name(b.element)}`);
      }
    }
  }

  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) faults.push(`the page is ${root.scrollWidth} wide, the window ${root.clientWidth}`);
  for (const box of document.querySelectorAll('.head,.find,.panel,.detail-head,.readings,.readings dd,.acts,.pill,.meters dd,.button,h1,h2')) {
    if (!box.checkVisibility() || getComputedStyle(box).display === 'inline') continue;
    if (box.scrollWidth > box.clientWidth + 1) faults.push(`cut: ${name(box)} ${box.scrollWidth} > ${box.clientWidth}`);
    const {left, right} = box.getBoundingClientRect();
    if (left < -1 || right > root.clientWidth + 1) faults.push(`outside of the window: ${name(box)}`);
  }

  const ids = [...document.querySelectorAll('[id]')].map(element => element.id);
  for (const id of new Set(ids.filter((one, at) => ids.indexOf(one) !== at))) faults.push(`an id stands twice: ${id}`);
  for (const control of document.querySelectorAll('button,a[href],input')) {
    if (!control.checkVisibility()) continue;
    const label = control.labels?.[0]?.textContent;
    if (!(control.getAttribute('aria-label') || control.textContent.trim() || label)) faults.push(`no name: ${control.outerHTML.slice(0, 80)}`);
  }
  return faults;
})()
