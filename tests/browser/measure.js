'use strict';
// Measures a report in two frames, a wide and a narrow one, and leaves one JSON value in #measured.
const WIDTHS = [1440, 390];

// What stands under the pointer on the first dot of the page.
function under(frame) {
  const inside = frame.contentDocument;
  const group = [...inside.querySelectorAll('figure svg g')].find((g) => g.querySelector('circle.f') && box(g).right > 0);
  if (!group) return 'no dot';
  group.scrollIntoView({ block: 'center' });
  const at = box(group.querySelector('circle'));
  const place = { clientX: (at.left + at.right) / 2, clientY: (at.top + at.bottom) / 2, bubbles: true };
  group.firstElementChild.dispatchEvent(new frame.contentWindow.PointerEvent('pointermove', place));
  const tip = inside.getElementById('tip');
  return tip.hidden ? '' : tip.textContent;
}

// What the right arrow shows on the first figure.
function keyed(frame) {
  const inside = frame.contentDocument;
  const svg = [...inside.querySelectorAll('figure svg')].find((it) => box(it).right > 0);
  if (!svg) return '';
  svg.focus();
  svg.dispatchEvent(new frame.contentWindow.KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }));
  const tip = inside.getElementById('tip');
  return tip.hidden ? '' : tip.textContent;
}

function measure(frame) {
  const inside = frame.contentDocument;
  const root = inside.documentElement;
  const clipped = [...inside.querySelectorAll('.scroll')].filter((it) => it.scrollWidth > it.clientWidth + 1);
  return {
    width: root.clientWidth,
    dark: frame.contentWindow.matchMedia('(prefers-color-scheme: dark)').matches,
    ground: frame.contentWindow.getComputedStyle(inside.body).backgroundColor,
    errors: frame.contentWindow.troubles,
    scrolls: root.scrollWidth - root.clientWidth,
    clipped: clipped.map((it) => it.querySelector('th').textContent),
    figures: [...inside.querySelectorAll('figure')].map((found) => figure(found, found.id)),
    hover: under(frame),
    keyed: keyed(frame),
  };
}

addEventListener('load', async () => {
  const page = document.getElementById('page').textContent;
  const measured = [];
  for (const width of WIDTHS) {
    const frame = document.createElement('iframe');
    frame.style.cssText = `width:${width}px;height:900px;border:0`;
    frame.srcdoc = decodeURIComponent(page);
    const loaded = new Promise((done) => frame.addEventListener('load', done));
    document.body.append(frame);
    await loaded;
    await frame.contentDocument.fonts.ready;
    measured.push(measure(frame));
    frame.remove();
  }
  document.getElementById('page').remove();
  document.getElementById('measured').textContent = encodeURIComponent(JSON.stringify(measured));
});
