'use strict';
(() => {
  const tip = document.createElement('div');
  tip.id = 'tip';
  tip.hidden = true;
  document.body.append(tip);
  // Lines are thin: what is up to 4 pixels away counts as under the pointer.
  const ring = [[0, 0], [2, 0], [-2, 0], [0, 2], [0, -2], [4, 0], [-4, 0], [0, 4], [0, -4]];
  const near = (event) => {
    if (!event.target.closest || !event.target.closest('svg')) return null;
    for (const [x, y] of ring) {
      const found = document.elementFromPoint(event.clientX + x, event.clientY + y);
      const group = found && found.closest('svg g');
      if (group) return group;
    }
    return null;
  };
  let lit = null;
  // Shows what a group of marks stands for, at a place on the page; nothing without a group.
  const show = (group, x, y) => {
    if (lit && lit !== group) lit.classList.remove('lit');
    lit = group;
    if (!group) { tip.hidden = true; return; }
    group.classList.add('lit');
    const title = group.querySelector('title');
    if (title) { group.dataset.tip = title.textContent; title.remove(); }
    tip.textContent = group.dataset.tip || '';
    tip.hidden = !tip.textContent;
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = Math.max(8, Math.min(x + 14, room)) + 'px';
    tip.style.top = y + 16 + 'px';
  };
  document.addEventListener('pointermove', (event) => show(near(event), event.pageX, event.pageY));
  // By keyboard: Tab reaches a figure, the arrows its marks, Escape leaves them.
  for (const svg of document.querySelectorAll('figure svg')) {
    svg.tabIndex = 0;
    let at = -1;
    svg.addEventListener('keydown', (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === 'Escape') show(null);
      if (!step) return;
      event.preventDefault();
      const groups = svg.querySelectorAll('g');
      if (!groups.length) return;
      at = (at + step + groups.length) % groups.length;
      const box = groups[at].getBoundingClientRect();
      show(groups[at], box.right + scrollX - 14, box.bottom + scrollY - 12);
    });
    svg.addEventListener('blur', () => show(null));
  }
  for (const table of document.querySelectorAll('table.sortable')) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement('button');
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener('click', () => {
        const down = head.getAttribute('aria-sort') === 'ascending';
        heads.forEach((other) => other.removeAttribute('aria-sort'));
        head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
        const numeric = head.classList.contains('n');
        const key = (row) => row.cells[column].dataset.s || row.cells[column].textContent;
        const body = table.tBodies[0];
        const rows = [...body.rows].map((row) => [key(row), row]);
        rows.sort(([a], [b]) => {
          if (a === '' || b === '') return (a === '') - (b === '');
          const order = numeric ? Number(a) - Number(b) : a.localeCompare(b, 'en');
          return down ? -order : order;
        });
        body.append(...rows.map(([, row]) => row));
      });
    });
  }
})();
