'use strict';
// Where the words of a drawing stand, and which of them meet or are cut off.
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
