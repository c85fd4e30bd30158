'use strict';
// Measures a report in two frames, a wide and a narrow one, and leaves one JSON value in #measured.
const WIDTHS = [1440, 390];
const box = (element) => {
  const { left, top, right, bottom } = element.getBoundingClientRect();
  return { left, top, right, bottom };
};
const short = (text) => text.textContent.slice(0, 40);
const meet = (a, b) =>
  Math.min(a.right, b.right) - Math.max(a.left, b.left) > 0.5 &&
  Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 0.5;

function figure(found, name) {
  const said = { name, trouble: [], texts: 0 };
  const drawn = [...found.querySelectorAll('svg')].filter((svg) => svg.getBoundingClientRect().width > 0);
  if (drawn.length !== 1) said.trouble.push(`${drawn.length} drawings are visible`);
  for (const svg of drawn) {
    const edge = box(svg);
    if (edge.bottom - edge.top < 50) said.trouble.push('the drawing has no height');
    const shapes = [...svg.querySelectorAll('path, circle')].map(box);
    if (!shapes.some((shape) => shape.right > shape.left)) said.trouble.push('nothing is drawn');
    const texts = [...svg.querySelectorAll('text')].map((text) => [short(text), box(text)]);
    said.texts = texts.length;
    texts.forEach(([word, at], index) => {
      if (at.right - at.left <= 0) said.trouble.push(`'${word}' has no width`);
      if (at.left < edge.left - 1 || at.right > edge.right + 1 || at.top < edge.top - 1 || at.bottom > edge.bottom + 1)
        said.trouble.push(`'${word}' is cut off`);
      for (const [other, place] of texts.slice(index + 1))
        if (meet(at, place)) said.trouble.push(`'${word}' and '${other}' meet`);
    });
  }
  return said;
}

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
