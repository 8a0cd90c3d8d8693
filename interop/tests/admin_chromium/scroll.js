// Scrolls the list of sessions from its top to its end, some rows at each frame, and says how long the frames took.
(async () => {
  const list = document.querySelector('#on .scroll');
  const box = list.getBoundingClientRect();
  const end = list.scrollHeight - list.clientHeight;
  const FRAMES = 240;
  const [frames, seen] = [[], new Set()];
  let empty = 0;
  list.scrollTop = 0;
  await new Promise(done => {
    let [last, count] = [null, 0];
    const step = now => {
      if (last !== null) frames.push(now - last);
      last = now;
      // What was drawn for the place to which the last frame has scrolled.
      for (const part of [0.25, 0.5, 0.75]) {
        const found = document.elementFromPoint(box.x + 60, box.y + box.height * part);
        if (!found?.closest('tbody:not(.gap) tr')) empty++;
      }
      for (const row of list.querySelectorAll('tbody:not(.gap) tr')) seen.add(row.dataset.session);
      if (count++ === FRAMES) done();
      else {
        list.scrollTop = end * count / FRAMES;
        requestAnimationFrame(step);
      }
    };
    requestAnimationFrame(step);
  });
  frames.sort((one, two) => one - two);
  const part = share => Math.round(frames[Math.min(frames.length - 1, Math.floor(frames.length * share))] * 10) / 10;
  return {
    frames: frames.length, median: part(0.5), p95: part(0.95), longest: part(1), empty,
    sessions: seen.size, drawn: list.querySelectorAll('tr').length, isAtEnd: list.scrollTop >= end - 1,
  };
})()
