'use strict';
// Holds the live page in a wide and a narrow frame and tells the test, over and over, what stands there.
const frames = [1440, 390].map((width) => {
  const frame = document.createElement('iframe');
  frame.style.cssText = `width:${width}px;height:900px;border:0`;
  frame.src = '/';
  document.body.append(frame);
  return frame;
});

function look(frame) {
  const inside = frame.contentDocument;
  const root = inside.documentElement;
  const text = (id) => (inside.getElementById(id).hidden ? '' : inside.getElementById(id).textContent);
  const drawn = [...inside.querySelectorAll('figure')].filter((it) => it.querySelector('svg') && box(it).right > 0);
  return {
    width: root.clientWidth,
    ground: frame.contentWindow.getComputedStyle(inside.body).backgroundColor,
    errors: frame.contentWindow.troubles,
    scrolls: root.scrollWidth - root.clientWidth,
    words: text('words'),
    notice: text('notice'),
    empty: text('empty'),
    sweeps: text('sweeps'),
    running: text('running'),
    sorted: [...inside.querySelectorAll('#trials th[aria-sort=ascending]')].map((it) => it.textContent).join(),
    speed: text('speed-caption'),
    curves: inside.querySelectorAll('#curves svg path').length,
    trouble: drawn.flatMap((it) => figure(it, it.querySelector('.chart').id).trouble.map((what) => `${it.querySelector('.chart').id}: ${what}`)),
  };
}

setInterval(() => {
  const ready = frames.every((frame) => frame.contentDocument && frame.contentDocument.getElementById('foot'));
  if (ready) fetch('/seen', { method: 'POST', body: JSON.stringify(frames.map(look)) }).catch(() => {});
}, 300);
