'use strict';
(() => {
  const $ = (id) => document.getElementById(id);
  const SVG = 'http://www.w3.org/2000/svg';
  const STATES = ['complete', 'running', 'diverged', 'failed', 'cancelled', 'pending'];
  const STEPS = 12;

  // Elements. Text goes in as text: nothing from outside is ever read as HTML.
  const put = (element, properties, children) => {
    for (const [name, value] of Object.entries(properties || {})) {
      if (value === undefined || value === null || value === false) continue;
      if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? '' : value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  };
  const h = (tag, properties, ...children) => put(document.createElement(tag), properties, children);
  const s = (tag, properties, ...children) => put(document.createElementNS(SVG, tag), properties, children);

  // Numbers as people read them; what is missing is a dash.
  const digits = (value, count) => {
    const text = value.toPrecision(count);
    return text.includes('e') ? String(Number(text)) : text.includes('.') ? text.replace(/\.?0+$/, '') : text;
  };
  const count = (value) => {
    if (value === null || value === undefined) return '–';
    for (const [unit, name] of [[1e12, 'T'], [1e9, 'B'], [1e6, 'M'], [1e3, 'K']]) {
      if (Math.abs(value) >= unit * 0.9995) return digits(value / unit, 3) + name;
    }
    return digits(value, 3);
  };
  const rate = (value) => {
    if (value === null || value === undefined) return '–';
    if (value !== 0 && (value < 1e-3 || value >= 1e4)) return value.toExponential(2).replace(/\.?0+e/, 'e').replace('e+', 'e');
    return String(Number(value.toPrecision(4)));
  };
  const loss = (value) => (value === null || value === undefined ? '–' : value.toFixed(4));
  const time = (seconds) => {
    if (seconds === null || seconds === undefined) return '–';
    if (seconds < 10 && seconds % 1) return `${seconds.toFixed(1)} s`;
    if (seconds < 90) return `${Math.round(seconds)} s`;
    if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
    if (seconds < 172800) return `${digits(seconds / 3600, 3)} h`;
    return `${digits(seconds / 86400, 3)} days`;
  };
  const bytes = (value) => `${count(value).replace('K', ' k').replace(/([MBT])$/, (unit) => ` ${unit === 'B' ? 'G' : unit}`)}${value >= 999.5 ? 'B' : ' B'}`;
  const clock = (iso) => new Date(iso).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });
  const several = (number, one, more) => `${number.toLocaleString('en')} ${number === 1 ? one : more}`;

  // A token in the address has become a cookie: it need not stay in the history.
  if (location.search) history.replaceState(null, '', location.pathname + location.hash);

  // Asking. An answer that still holds is not sent again.
  const kept = new Map();
  class Refused extends Error {}
  const ask = async (url) => {
    const known = kept.get(url);
    const headers = known && known.tag ? { 'If-None-Match': known.tag } : {};
    const response = await fetch(url, { headers, cache: 'no-store', signal: AbortSignal.timeout(20000) });
    seen = Date.now();
    if (response.status === 304 && known) return { value: known.value, fresh: false };
    if (response.status === 401) throw new Refused('The token has changed: open the address that `sandbox serve` printed.');
    const text = await response.text();
    let value;
    try { value = JSON.parse(text); } catch { throw new Refused(text.trim() || response.statusText); }
    if (!response.ok) {
      kept.delete(url);
      const error = new Refused([value.error.message, ...value.error.hints].join(' · '));
      error.code = value.error.code;
      throw error;
    }
    if (kept.size > 60) kept.clear();
    kept.set(url, { tag: response.headers.get('etag'), value });
    return { value, fresh: true };
  };

  // Where we are: #/sweep/NAME?where=…&sort=…&down=true&offset=… or #/trial/NAME?sweep=….
  const place = () => {
    const [path, query] = location.hash.slice(1).split('?');
    const [, kind, name] = path.split('/');
    return { kind: kind || '', name: name ? decodeURIComponent(name) : '', query: new URLSearchParams(query || '') };
  };
  const link = (kind, name, query) => {
    const text = new URLSearchParams(query || {}).toString();
    return `#/${kind}/${encodeURIComponent(name)}${text ? `?${text}` : ''}`;
  };
  const change = (changes) => {
    const query = place().query;
    for (const [name, value] of Object.entries(changes)) {
      if (value) query.set(name, value); else query.delete(name);
    }
    location.hash = link('sweep', shown, query);
  };

  let seen = Date.now();
  let status = null;
  let shown = '';
  let failing = '';
  let mistaken = '';
  const axes = { x: 'log', y: 'log' };
  const drawn = new Map();

  // Charts.
  const nice = (from, to, most) => {
    const raw = (to - from) / Math.max(1, most);
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((multiple) => multiple * power).find((step) => step >= raw * 0.999) || power * 10;
    const values = [];
    for (let at = Math.ceil(from / step - 1e-9); at * step <= to + step * 1e-9; at += 1) values.push(Number((at * step).toPrecision(12)));
    return values;
  };
  const ticks = (from, to, isLog, most) => {
    if (!isLog || to / from < 8) return nice(from, to, most);
    const low = Math.floor(Math.log10(from));
    const high = Math.ceil(Math.log10(to));
    for (const multiples of [[1, 1.5, 2, 3, 4, 5, 7], [1, 2, 3, 5], [1, 2, 5], [1, 3], [1]]) {
      for (let every = 1; every < (multiples.length > 1 ? 2 : 12); every += 1) {
        const values = [];
        for (let power = low; power <= high; power += 1) {
          if ((power - low) % every) continue;
          for (const multiple of multiples) {
            const value = Number(`${multiple}e${power}`);
            if (value >= from * 0.999 && value <= to * 1.001) values.push(value);
          }
        }
        if (values.length <= most && values.length > 1) return values;
      }
    }
    return nice(from, to, most);
  };
  const scale = (from, to, isLog, begin, end) => {
    const map = isLog ? Math.log : (value) => value;
    const [a, b] = [map(from), map(to)];
    return (value) => begin + ((map(value) - a) / (b - a || 1)) * (end - begin);
  };
  const widen = (from, to, isLog, share) => {
    // A single value stands in the middle.
    if (isLog && to / from < 1.05) return [from / 2, to * 2];
    if (isLog) { const room = Math.max(to / from, 1.02) ** share; return [from / room, to * room]; }
    const room = (to - from || Math.abs(to) || 1) * share;
    return [from - room, to + room];
  };

  // A frame with axes; gives the scales and the layer to draw on.
  const frame = (host, { height, x, y }) => {
    const width = Math.max(260, host.clientWidth);
    const margin = { left: 52, right: 14, top: 10, bottom: x.label ? 46 : 26 };
    const sx = scale(x.from, x.to, x.log, margin.left, width - margin.right);
    const sy = scale(y.from, y.to, y.log, height - margin.bottom, margin.top);
    const svg = s('svg', { class: 'live', viewBox: `0 0 ${width} ${height}`, width, height, role: 'img', 'aria-label': y.name || y.label });
    const id = `clip-${host.id}`;
    svg.append(s('clipPath', { id }, s('rect', { x: margin.left, y: margin.top - 4, width: width - margin.left - margin.right + 6, height: height - margin.top - margin.bottom + 8 })));
    for (const value of ticks(y.from, y.to, y.log, Math.max(3, Math.floor((height - margin.bottom) / 44)))) {
      svg.append(s('line', { class: 'axis', x1: margin.left, x2: width - margin.right, y1: sy(value), y2: sy(value) }));
      svg.append(s('text', { x: margin.left - 8, y: sy(value) + 4, 'text-anchor': 'end' }, y.write(value)));
    }
    let last = -Infinity;
    for (const value of ticks(x.from, x.to, x.log, Math.max(2, Math.floor((width - margin.left) / 78)))) {
      const text = x.write(value);
      const half = text.length * 3.6 + 3;
      const at = Math.min(sx(value), width - half);
      if (at - half < last + 8) continue;
      last = at + half;
      svg.append(s('line', { class: 'axis', x1: sx(value), x2: sx(value), y1: height - margin.bottom, y2: height - margin.bottom + 5 }));
      svg.append(s('text', { x: at, y: height - margin.bottom + 20, 'text-anchor': 'middle' }, text));
    }
    svg.append(s('line', { class: 'axis', x1: margin.left, x2: width - margin.right, y1: height - margin.bottom, y2: height - margin.bottom }));
    if (x.label) svg.append(s('text', { x: width - margin.right, y: height - 6, 'text-anchor': 'end' }, x.label));
    const layer = s('g', { 'clip-path': `url(#${id})` });
    svg.append(layer);
    host.replaceChildren(svg);
    return { sx, sy, layer, width, height, margin };
  };
  const say = (host, words) => host.replaceChildren(h('p', { class: 'quiet' }, words));
  const path = (points, sx, sy) => points.map(([x, y], at) => `${at ? 'L' : 'M'}${sx(x).toFixed(1)} ${sy(y).toFixed(1)}`).join('');
  const draw = (id, paint) => { drawn.set(id, paint); if ($(id).clientWidth) paint(); };

  // Sizes and their colours: the report's.
  const sizes = (rows) => {
    const byName = new Map(rows.map((row) => [row.model, row.params]));
    const names = [...byName.keys()].sort((a, b) => byName.get(a) - byName.get(b));
    const step = (rank) => (names.length < 2 ? STEPS - 1 : Math.floor((rank * (STEPS - 1) + (names.length - 1) / 2) / (names.length - 1)));
    return new Map(names.map((name, rank) => [name, step(rank)]));
  };
  const legend = (host, colours, others) => {
    const key = (name, shape) => h('span', {}, s('svg', { viewBox: '0 0 22 10', 'aria-hidden': 'true' }, shape), name);
    const line = (classes) => s('path', { class: `l ${classes}`, d: 'M1 5H21' });
    host.replaceChildren(
      ...[...colours].map(([name, step]) => key(name, line(`s${step}`))),
      ...(others.diverged ? [key('diverged', others.cross ? s('path', { class: 'l q', d: 'M7 1L15 9M7 9L15 1' }) : s('path', { class: 'l q', d: 'M1 5H21', 'stroke-dasharray': '5 4' }))] : []),
    );
  };

  const mark = (title, target, ...shapes) => s('g', { class: 'mark', 'data-tip': title, 'data-go': target }, ...shapes);

  const drawCurves = (id, view, controls) => {
    const host = $(id);
    const curves = view.curves;
    if (!curves.length) { say(host, controls.none); return false; }
    const good = curves.filter((curve) => curve.state !== 'diverged');
    const judged = (good.length ? good : curves).flatMap((curve) => curve.points);
    const low = (at, all) => all.reduce((least, point) => Math.min(least, point[at]), Infinity);
    const high = (at, all) => all.reduce((most, point) => Math.max(most, point[at]), -Infinity);
    const everything = curves.flatMap((curve) => curve.points);
    const isLog = { x: axes.x === 'log', y: axes.y === 'log' };
    const [y0, y1] = widen(low(1, judged), high(1, judged), isLog.y, 0.04);
    const x0 = isLog.x ? Math.max(1, low(0, everything)) : 0;
    const x1 = Math.max(high(0, everything), x0 * 1.5 || 1);
    const { sx, sy, layer } = frame(host, {
      height: controls.height,
      x: { from: x0, to: x1, log: isLog.x, write: count, label: 'tokens' },
      y: { from: y0, to: y1, log: isLog.y, write: (value) => String(value), name: 'Training loss, nats per token, against tokens' },
    });
    const best = new Map();
    for (const curve of curves) {
      const held = best.get(curve.model);
      if (curve.final_loss !== null && (!held || curve.final_loss < held.final_loss)) best.set(curve.model, curve);
    }
    const order = (curve) => (curve.state === 'diverged' ? 0 : curve.state === 'running' ? 3 : best.get(curve.model) === curve ? 2 : 1);
    for (const curve of [...curves].sort((a, b) => order(a) - order(b))) {
      const step = controls.colours.get(curve.model);
      const d = path(curve.points, sx, sy);
      const strong = order(curve) > 1 || curves.length === 1;
      const colour = curve.state === 'diverged' ? 'q diverged' : strong ? `s${step} strong` : `u${step}`;
      const [tokens, now] = curve.points[curve.points.length - 1];
      const end = curve.state === 'running' ? s('circle', { class: `f s${step}`, cx: sx(tokens), cy: sy(now), r: 3.5 }) : null;
      const words = `${curve.slug}\n${curve.state}, lr ${rate(curve.lr)}\nloss ${loss(now)} at ${count(tokens)} tokens${curve.final_loss === null ? '' : `\nfinal loss ${loss(curve.final_loss)}`}`;
      layer.append(mark(words, link('trial', curve.trial, { sweep: view.sweep }), s('path', { class: `l ${colour}`, d }), s('path', { class: 'hit', d }), ...(end ? [end] : [])));
    }
    return true;
  };

  // One budget and one batch at a time: losses of several do not compare. Without a choice the largest budget that has finished,
  // and the batch at which most points of it were measured (of as many, that with the lowest loss).
  const choices = (points, query) => {
    const measured = points.filter((point) => point.loss !== null);
    const values = (of, all) => [...new Set(all.map(of))].sort((a, b) => a - b);
    const asked = (name, all) => { const value = Number(query.get(name)); return all.includes(value) ? value : null; };
    const budgets = values((point) => point.tokens, points);
    const batches = values((point) => point.batch_tokens, points);
    const budget = asked('budget', budgets) ?? Math.max(...values((point) => point.tokens, measured.length ? measured : points));
    const here = measured.filter((point) => point.tokens === budget);
    const rank = (batch) => { const all = here.filter((point) => point.batch_tokens === batch); return [all.length, -Math.min(...all.map((point) => point.loss))]; };
    const best = [...batches].sort((a, b) => { const [x, y] = [rank(a), rank(b)]; return y[0] - x[0] || y[1] - x[1]; })[0];
    return { budgets, batches, budget, batch: asked('batch', batches) ?? best };
  };
  const showChoices = (chosen, query) => {
    const one = (name, label, all, value) => (all.length < 2 ? [] : [h('label', { class: 'set' }, h('span', {}, label), h('select', { onchange: (event) => change({ [name]: event.target.value }) },
      h('option', { value: '', selected: !query.get(name) }, `all (rates: ${count(value)})`),
      ...all.map((it) => h('option', { value: String(it), selected: query.get(name) === String(it) }, count(it)))))]);
    $('choices').replaceChildren(...one('budget', 'budget', chosen.budgets, chosen.budget), ...one('batch', 'batch', chosen.batches, chosen.batch));
  };

  const drawRates = (all, colours, chosen) => {
    const host = $('rates');
    const caption = $('rates-caption');
    caption.textContent = '';
    // Budgets that are a number of tokens a parameter differ with the size: then each size has its own.
    const isShared = new Set(all.filter((point) => point.tokens === chosen.budget).map((point) => point.model)).size > 1 || colours.size < 2 || place().query.get('budget');
    const most = new Map();
    for (const point of all) if (point.loss !== null) most.set(point.model, Math.max(point.tokens, most.get(point.model) || 0));
    const isBudget = (point) => (isShared ? point.tokens === chosen.budget : point.tokens === most.get(point.model));
    const points = all.filter((point) => isBudget(point) && point.batch_tokens === chosen.batch);
    const measured = points.filter((point) => point.loss !== null);
    if (!measured.length) { say(host, 'No trial of this choice has finished yet.'); return; }
    const lines = [...colours.keys()].map((model) => measured.filter((point) => point.model === model)).filter((line) => line.length);
    const top = lines.flat();
    const diverged = points.filter((point) => point.diverged && !point.complete && colours.has(point.model));
    const losses = top.flatMap((point) => [point.loss, ...point.range]);
    // What diverged far beyond everything else stands at the edge, and says where it belongs.
    const measuredTo = Math.max(...top.map((point) => point.lr));
    const measuredFrom = Math.min(...top.map((point) => point.lr));
    const near = (lr) => Math.max(measuredFrom / 10, Math.min(lr, measuredTo * 10));
    const lrs = [...top, ...diverged].map((point) => near(point.lr));
    const [x0, x1] = widen(Math.min(...lrs), Math.max(...lrs), true, 0.05);
    const [y0, y1] = widen(Math.min(...losses), Math.max(...losses), false, 0.1);
    const { sx, sy, layer, margin } = frame(host, {
      height: 340,
      x: { from: x0, to: x1, log: true, write: rate, label: 'learning rate' },
      y: { from: y0, to: y1, log: false, write: (value) => String(value), name: 'Final loss against learning rate' },
    });
    const edges = new Set();
    for (const point of diverged) {
      if (edges.has(point.lr)) continue;
      edges.add(point.lr);
      const [x, y] = [sx(near(point.lr)), margin.top + 6];
      layer.append(mark(`${several(diverged.filter((it) => it.lr === point.lr).reduce((sum, it) => sum + it.diverged, 0), 'trial', 'trials')} diverged at lr ${rate(point.lr)}`, '', s('path', { class: 'l q strong', d: `M${x - 4} ${y - 4}L${x + 4} ${y + 4}M${x - 4} ${y + 4}L${x + 4} ${y - 4}` }), s('circle', { class: 'hit', cx: x, cy: y, r: 5 })));
    }
    for (const line of lines) {
      const step = colours.get(line[0].model);
      const sorted = [...line].sort((a, b) => a.lr - b.lr);
      layer.append(s('path', { class: `l s${step}`, d: path(sorted.map((point) => [point.lr, point.loss]), sx, sy) }));
      const lowest = sorted.reduce((best, point) => (point.loss < best.loss ? point : best));
      for (const point of sorted) {
        const seeds = point.seeds > 1 ? `, mean of ${point.seeds} seeds from ${loss(point.range[0])} to ${loss(point.range[1])}` : '';
        const unstable = point.diverged ? `\n${several(point.diverged, 'trial', 'trials')} diverged` : '';
        const words = `${point.model}, ${count(point.tokens)} tokens, batch ${count(point.batch_tokens)}\nlr ${rate(point.lr)}\nfinal loss ${loss(point.loss)}${seeds}${unstable}${point === lowest ? '\nthe lowest so far' : ''}`;
        const at = { cx: sx(point.lr), cy: sy(point.loss) };
        if (point.seeds > 1) layer.append(s('path', { class: `l s${step}`, d: `M${at.cx} ${sy(point.range[0])}V${sy(point.range[1])}` }));
        layer.append(mark(words, link('trial', point.trial, { sweep: shown }), s('circle', { class: `f s${step}`, ...at, r: point === lowest ? 5.5 : 3 }), s('circle', { class: 'hit', ...at, r: 6 })));
      }
    }
    const where = isShared ? `a budget of ${count(chosen.budget)} tokens` : 'each size its largest budget that has finished';
    caption.textContent = `Nats per token at the end of the schedule: ${where}, batches of ${count(chosen.batch)} tokens. A dot is the mean over seeds, its bar reaches from the lowest to the highest; of other settings the best. The large dot is the lowest of its size so far.`;
  };

  const drawPace = (pace) => {
    const whole = pace.window_seconds;
    const [unit, of] = whole < 300 ? ['s', 1] : whole < 7200 ? ['min', 60] : ['h', 3600];
    const end = pace.ended_seconds_ago === null ? 'now' : 'end';
    const one = (id, value, top, words) => draw(id, () => {
      const host = $(id);
      const most = Math.max(top, ...pace.beats.map(value));
      const { sx, sy, layer } = frame(host, {
        height: 130,
        x: { from: -whole / of, to: 0, log: false, write: (back) => (back ? `${digits(back, 3)} ${unit}` : end) },
        y: { from: 0, to: most > 0 ? most * 1.1 : 1, log: false, write: count, name: words },
      });
      const half = whole / pace.beats.length / 2;
      const points = pace.beats.flatMap((beat) => [-beat.seconds_ago - half, -beat.seconds_ago + half].map((at) => [at / of, value(beat)]));
      layer.append(s('path', { class: 'area', d: `${path([[-whole / of, 0], ...points, [0, 0]], sx, sy)}Z` }));
      layer.append(s('path', { class: 'edge', d: path(points, sx, sy) }));
    });
    one('speed', (beat) => beat.tokens_per_second, 0, 'Tokens per second over the run');
    one('busy', (beat) => beat.busy, 1, 'Workers at work over the run');
    const mean = `each point the mean of ${time(whole / pace.beats.length)}`;
    const { last } = pace;
    if (last) {
      $('speed-caption').textContent = `Tokens per second: ${count(last.tokens_per_second)}, ${count(last.flops_per_second / 1e9)} GFLOP/s over the last ten seconds; ${mean}`;
      $('busy-caption').textContent = `Workers at work: ${digits(last.busy, 2)} on ${several(pace.slots, 'slot', 'slots')}`;
    } else {
      const ago = pace.beats.some((beat) => beat.busy > 0) ? `the last run, which ended ${time(Math.round(pace.ended_seconds_ago))} ago` : 'nothing has run in the last day';
      $('speed-caption').textContent = `Tokens per second: ${ago}; ${mean}`;
      $('busy-caption').textContent = `Workers at work: none now, on ${several(pace.slots, 'slot', 'slots')}`;
    }
  };

  // Tables.
  const table = (heads, rows) => h('div', { class: 'scroll' }, h('table', { class: 'wide-table' },
    h('thead', {}, h('tr', {}, ...heads)), h('tbody', {}, ...rows)));
  const head = (name, isNumber) => h('th', { class: isNumber && 'n' }, name);
  const cell = (value, isNumber) => h('td', { class: isNumber && 'n' }, value);
  const badge = (state) => h('span', { class: `state ${state}` }, state);

  const showSweeps = () => {
    $('sweeps').replaceChildren(...status.sweeps.map((sweep) => {
      const all = STATES.reduce((sum, state) => sum + sweep.counts[state], 0);
      const over = sweep.counts.complete + sweep.counts.diverged;
      const bar = h('span', { class: 'bar', 'aria-hidden': 'true' }, ...STATES.filter((state) => sweep.counts[state] && state !== 'pending').map((state) => {
        const part = h('i', { class: state });
        part.style.width = `${(100 * sweep.counts[state]) / all}%`;
        return part;
      }));
      const key = h('span', { class: 'key' }, ...STATES.filter((state) => sweep.counts[state]).map((state) => h('span', {}, h('i', { class: state }), `${sweep.counts[state].toLocaleString('en')} ${state === 'running' && !status.orchestrator ? 'cut off' : state}`)));
      const now = status.seconds_left_now[sweep.sweep];
      const seconds = now === undefined ? sweep.seconds_left : now;
      // Where nothing runs, no time passes: what is told is how much training is missing.
      const left = seconds === 0 ? 'done' : seconds === null ? '' : `${time(seconds)} ${status.orchestrator ? 'left' : 'of training missing'}`;
      return h('a', { class: `sweep${sweep.sweep === shown ? ' chosen' : ''}`, href: link('sweep', sweep.sweep) },
        h('b', {}, sweep.sweep), h('span', { class: 'left' }, [`${over.toLocaleString('en')} of ${all.toLocaleString('en')}`, left].filter(Boolean).join(' · ')), bar, key);
    }));
  };

  const showRunning = () => {
    const running = status.running;
    if (!running.length) { say($('running'), status.orchestrator ? 'No worker has a stage at this moment.' : 'Nothing runs.'); return; }
    const most = 40;
    const heads = [head('trial'), head('progress'), head('loss', true), head('tokens/s', true), head('left', true), head('stage'), head('attempt', true), head('worker', true), head('device'), head('since')];
    const rows = running.slice(0, most).map((row) => {
      const called = status.names[row.trial];
      const share = row.tokens_total ? row.tokens / row.tokens_total : 0;
      const meter = h('i', {});
      meter.style.width = `${Math.min(100, 100 * share)}%`;
      const speed = row.tokens_per_second;
      return h('tr', {},
        cell(h('a', { href: link('trial', row.trial, called ? { sweep: called.sweep } : {}) }, called ? called.slug : row.trial)),
        cell(h('span', {}, h('span', { class: 'meter' }, meter), `${count(row.tokens)} of ${count(row.tokens_total)}`)),
        cell(loss(row.loss), true), cell(speed ? count(speed) : '–', true),
        cell(speed ? time(Math.max(0, row.tokens_total - row.tokens) / speed) : '–', true),
        cell(row.stage), cell(row.attempt, true), cell(row.worker === null ? '–' : row.worker, true),
        cell((row.device || '–').split(' ')[0]), cell(clock(row.since)));
    });
    const more = running.length > most ? [h('p', { class: 'quiet' }, `and ${running.length - most} more`)] : [];
    $('running').replaceChildren(table(heads, rows), ...more);
  };

  const COLUMNS = [
    ['trial', null, (row) => h('a', { href: link('trial', row.trial, { sweep: row.sweep }) }, row.slug), false],
    ['state', 'state', (row) => badge(row.state), false],
    ['size', 'params', (row) => count(row.params_non_embedding), true],
    ['lr', 'lr', (row) => rate(row.lr), true],
    ['batch', 'batch_tokens', (row) => row.batch_tokens.toLocaleString('en'), true],
    ['tokens', 'tokens', (row) => count(row.tokens), true],
    ['schedule', null, (row) => row.schedule, false],
    ['final loss', 'final_loss', (row) => loss(row.final_loss), true],
    ['bits/byte', null, (row) => loss(row.bits_per_byte), true],
    ['seconds', 'seconds', (row) => (row.seconds === null ? '–' : digits(row.seconds, 3)), true],
  ];
  const BEST = 'final_loss';
  const showTrials = (page) => {
    const query = place().query;
    const [sort, down] = [query.get('sort') || BEST, query.get('down') === 'true'];
    const heads = COLUMNS.map(([name, column, , isNumber]) => {
      const isSorted = column && sort === column;
      // The third time, and at first, the best come first.
      const next = !isSorted ? { sort: column, down: '' } : down ? { sort: '', down: '' } : { sort: column, down: 'true' };
      const words = column ? h('button', { type: 'button', title: 'sort', onclick: () => change({ ...next, offset: '' }) }, name) : name;
      return h('th', { class: isNumber && 'n', 'aria-sort': isSorted && (down ? 'descending' : 'ascending') }, words);
    });
    const rows = page.trials.map((row) => h('tr', {}, ...COLUMNS.map(([, , write, isNumber]) => cell(write(row), isNumber))));
    $('trials').replaceChildren(rows.length ? table(heads, rows) : h('p', { class: 'quiet' }, 'No trial is meant by this condition.'));
    const last = page.offset + page.trials.length;
    const size = 50;
    const go = (name, offset, isPossible) => h('button', { type: 'button', disabled: !isPossible, onclick: () => change({ offset: offset ? String(offset) : '' }) }, name);
    $('pager').replaceChildren(
      go('Previous', Math.max(0, page.offset - size), page.offset > 0), go('Next', last, last < page.matching),
      h('span', { class: 'muted' }, `${rows.length ? page.offset + 1 : 0} to ${last} of ${page.matching.toLocaleString('en')}${page.matching === page.total ? '' : ` (of ${page.total.toLocaleString('en')})`}`));
  };

  const switches = (host, redraw) => {
    const one = (axis, name) => h('span', { class: 'set', role: 'group', 'aria-label': name }, h('span', {}, name), ...['log', 'linear'].map((kind) => h('button', {
      type: 'button', 'aria-pressed': String(axes[axis] === kind), onclick: () => { axes[axis] = kind; switches(host, redraw); redraw(); },
    }, kind)));
    host.replaceChildren(one('x', 'tokens'), one('y', 'loss'));
  };

  const headline = () => {
    const dot = $('dot');
    const holder = status.orchestrator;
    dot.className = `dot${holder ? ' on' : ''}`;
    $('home').textContent = status.home;
    const running = status.running.length;
    const done = status.sweeps.reduce((sum, sweep) => sum + sweep.counts.complete + sweep.counts.diverged, 0);
    const all = status.sweeps.reduce((sum, sweep) => sum + STATES.reduce((more, state) => more + sweep.counts[state], 0), 0);
    const cut = status.sweeps.reduce((sum, sweep) => sum + sweep.counts.running, 0);
    let words;
    if (holder) words = `Running since ${clock(holder.since)} on ${holder.host} (pid ${holder.pid}): ${several(running, 'stage', 'stages')} at work.`;
    else if (cut) words = `The orchestrator is gone, and ${several(cut, 'trial was', 'trials were')} cut off. Run the same sweep again: it goes on from there.`;
    else if (all) words = `Nothing runs. ${done.toLocaleString('en')} of ${several(all, 'trial has', 'trials have')} a result.`;
    else words = 'Waiting for the first sweep.';
    $('words').textContent = words;
    document.title = `${holder ? `${running} running · ` : ''}${all ? `${done}/${all} · ` : ''}sandbox`;
    $('foot').textContent = `${bytes(status.disk_bytes)} on disk · sandbox serve reads only`;
  };

  const showOverview = async (at, isNew) => {
    const isEmpty = !status.sweeps.length;
    $('empty').hidden = !isEmpty;
    for (const id of ['sweeps-section', 'now-section']) $(id).hidden = isEmpty;
    const names = status.sweeps.map((sweep) => sweep.sweep);
    const active = Object.values(status.names).map((called) => called.sweep).find((name) => names.includes(name));
    const wanted = at.kind === 'sweep' && names.includes(at.name) ? at.name : names.includes(shown) ? shown : active || names[names.length - 1] || '';
    const isOther = wanted !== shown;
    shown = wanted;
    $('sweep-section').hidden = !shown;
    if (isNew || isOther) { showSweeps(); showRunning(); }
    if (isEmpty) return;
    const pace = await ask('/api/pace');
    if (pace.fresh || isNew) drawPace(pace.value);
    $('sweep-title').textContent = shown;
    $('sweep-question').textContent = status.questions[shown] || '';
    if (isOther) for (const id of ['curves', 'rates', 'trials']) { drawn.delete(id); say($(id), 'Looking …'); }
    const where = at.query.get('where') || '';
    if (document.activeElement !== $('where')) $('where').value = where;
    const base = `/api/sweeps/${encodeURIComponent(shown)}`;
    const query = new URLSearchParams();
    if (where) query.set('where', where);
    // A condition that was refused is not asked again: it stands there with its mistake until it is changed.
    if (where && where === mistaken) return;
    mistaken = '';
    try {
      const rows = new URLSearchParams(query);
      rows.set('sort', at.query.get('sort') || BEST);
      for (const name of ['down', 'offset', 'budget', 'batch']) if (at.query.get(name)) rows.set(name, at.query.get(name));
      const trials = await ask(`${base}/trials?${rows}`);
      $('where-mistake').textContent = '';
      if (trials.fresh || isNew || isOther) showTrials(trials.value);
    } catch (error) {
      if (error.code !== 'invalid_where' && error.code !== 'unknown_column') throw error;
      $('where-mistake').textContent = error.message.replace('--where, ', '');
      mistaken = where;
      return;
    }
    // What is to be chosen from is what the condition leaves; the choice itself is made here.
    const rates = await ask(`${base}/rates?${query}`);
    for (const name of ['budget', 'batch']) if (at.query.get(name)) query.set(name, at.query.get(name));
    const curves = await ask(`${base}/curves?${query}`);
    if (!curves.fresh && !rates.fresh && !isNew && !isOther && drawn.has('curves')) return;
    const colours = sizes(curves.value.sizes);
    const redraw = () => draw('curves', () => drawCurves('curves', curves.value, { height: 400, colours, none: 'No curve yet: nothing of this has begun to train.' }));
    redraw();
    switches($('curve-tools'), redraw);
    const chosen = choices(rates.value, at.query);
    showChoices(chosen, at.query);
    draw('rates', () => drawRates(rates.value, colours, chosen));
    legend($('curve-legend'), colours, { diverged: curves.value.curves.some((curve) => curve.state === 'diverged') });
    legend($('rate-legend'), colours, { cross: true, diverged: rates.value.some((point) => point.diverged && !point.complete) });
    const shownCurves = curves.value.curves.length;
    $('curves-caption').textContent = shownCurves ? `Training loss, nats per token; a point is the mean of up to 12 steps. ${shownCurves < curves.value.drawable ? `${shownCurves} of ${curves.value.drawable.toLocaleString('en')} curves, evenly chosen: all that run, the best of every size. ` : ''}The best of a size and what runs are stronger. Click a curve for its trial.` : '';
  };

  let chosenLog = null;
  const showLogs = (logs) => {
    const pre = $('log');
    if (!logs.length) { $('log-tools').replaceChildren(); pre.textContent = 'Nothing yet.'; return; }
    const key = (log) => `${log.stage} ${log.attempt}`;
    const log = logs.find((log) => key(log) === chosenLog) || logs[logs.length - 1];
    const choice = h('select', { 'aria-label': 'attempt', onchange: (event) => { chosenLog = event.target.value; pre.dataset.free = ''; showLogs(logs); } },
      ...logs.map((it) => h('option', { value: key(it), selected: it === log }, `stage ${it.stage}, attempt ${it.attempt}`)));
    $('log-tools').replaceChildren(choice, h('span', { class: 'muted' }, 'the last 200 lines; follows while scrolled to the end'));
    const follows = pre.dataset.free !== 'true';
    const stderr = log.stderr.length ? ['', 'standard error of the worker:', ...log.stderr] : [];
    pre.textContent = [...log.lines, ...stderr].join('\n') || 'It has not said anything yet.';
    if (follows) pre.scrollTop = pre.scrollHeight;
  };
  $('log').addEventListener('scroll', (event) => {
    const pre = event.target;
    pre.dataset.free = String(pre.scrollHeight - pre.scrollTop - pre.clientHeight > 30);
  });

  const showTrial = async (at, isNew) => {
    const query = at.query.get('sweep') ? `?${new URLSearchParams({ sweep: at.query.get('sweep') })}` : '';
    const base = `/api/trials/${encodeURIComponent(at.name)}`;
    const trial = await ask(base + query);
    if (trial.fresh || isNew) {
      const row = trial.value;
      $('back').href = link('sweep', row.sweep);
      $('back').textContent = `Back to ${row.sweep}`;
      $('trial-title').replaceChildren(row.slug, badge(row.state));
      const facts = [['trial', row.trial], ['model', row.model], ['parameters', `${count(row.params_non_embedding)}, ${count(row.params_total)} with embedding`],
        ['learning rate', rate(row.lr)], ['batch', `${row.batch_tokens.toLocaleString('en')} tokens`], ['tokens', `${count(row.tokens)} in ${row.steps.toLocaleString('en')} steps`],
        ['schedule', row.schedule], ['seed', row.seed], ['final loss', loss(row.final_loss)], ['bits per byte', loss(row.bits_per_byte)],
        ...(row.diverged_at_tokens === null ? [] : [['diverged at', `${count(row.diverged_at_tokens)} tokens`]]), ['seconds', row.seconds === null ? '–' : digits(row.seconds, 4)]];
      $('trial-facts').replaceChildren(...facts.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, String(value)))));
      $('settings').textContent = JSON.stringify(row.settings, null, 2);
      const heads = [head('stage'), head('kind'), head('tokens', true), head('attempt', true), head('state'), head('began'), head('seconds', true), head('device'), head('why')];
      $('stages').replaceChildren(table(heads, row.stages.flatMap((stage) => [
        h('tr', {}, cell(stage.stage), cell(stage.kind), cell(`${count(stage.from_tokens)} to ${count(stage.to_tokens)}`, true), cell('', true), cell(badge(stage.state)), cell(''), cell(stage.seconds === null ? '–' : digits(stage.seconds, 3), true), cell(''), cell(stage.trials > 1 ? `${stage.trials} trials pass through it` : '')),
        ...stage.attempts_made.map((attempt) => h('tr', {}, cell(''), cell(''), cell('', true), cell(attempt.attempt, true), cell(badge(attempt.state)), cell(attempt.started_at.slice(0, 19).replace('T', ' ')), cell(attempt.seconds === null ? '–' : digits(attempt.seconds, 3), true), cell((attempt.device || '').split(' ')[0]), cell([attempt.cause, attempt.message].filter(Boolean).join(': ')))),
      ])));
    }
    const curve = await ask(`${base}/curve${query}`);
    if (curve.fresh || isNew) {
      const redraw = () => draw('trial-curve', () => drawCurves('trial-curve', curve.value, { height: 320, colours: sizes(curve.value.sizes), none: 'No curve yet: it has not begun to train.' }));
      redraw();
      switches($('trial-tools'), redraw);
      $('trial-caption').textContent = curve.value.curves.length ? 'Training loss, nats per token; a point is the mean of up to 12 steps.' : '';
    }
    const logs = await ask(`${base}/logs${query}`);
    if (logs.fresh || isNew) showLogs(logs.value);
  };

  // The round: look, show, wait. One at a time, quicker while something runs, slower where nobody looks.
  let timer = 0;
  let isBusy = false;
  let isWanted = false;
  let patience = 1000;
  let shownPlace = null;
  const notice = (words) => { $('notice').textContent = words; $('notice').hidden = !words; };
  const round = async () => {
    if (isBusy) { isWanted = true; return; }
    isBusy = true;
    clearTimeout(timer);
    const at = place();
    const here = location.hash;
    const isNew = shownPlace !== here || failing !== '';
    const began = Date.now();
    try {
      const answer = await ask('/api/status');
      status = answer.value;
      if (answer.fresh || isNew) headline();
      const isTrial = at.kind === 'trial';
      if (isTrial && shownPlace !== here) { chosenLog = null; $('log').dataset.free = ''; }
      $('overview').hidden = isTrial;
      $('trial').hidden = !isTrial;
      if (isTrial) await showTrial(at, isNew); else await showOverview(at, isNew || answer.fresh);
      if (isTrial !== (shownPlace || '').startsWith('#/trial')) scrollTo(0, 0);
      shownPlace = here;
      failing = '';
      // Whoever only looks must not take the machine from what trains: at rest four fifths of the time.
      patience = Math.max(status.orchestrator ? 1500 : 3000, 4 * (Date.now() - began));
      notice('');
    } catch (error) {
      failing = error instanceof Refused ? error.message : 'away';
      patience = Math.min(10000, patience * 1.5);
      away();
    }
    isBusy = false;
    if (isWanted) { isWanted = false; round(); } else timer = setTimeout(round, document.hidden ? 15000 : patience);
  };
  const away = () => {
    if (!failing) return;
    $('dot').className = 'dot off';
    const ago = Math.round((Date.now() - seen) / 1000);
    notice(failing === 'away' ? `The page's server does not answer: last seen ${time(ago)} ago. What is shown is from then; it goes on by itself.` : failing);
  };
  setInterval(away, 1000);
  addEventListener('hashchange', round);
  addEventListener('online', round);
  document.addEventListener('visibilitychange', () => { if (!document.hidden) round(); });
  $('filter').addEventListener('submit', (event) => { event.preventDefault(); $('where').blur(); change({ where: $('where').value.trim(), offset: '' }); });
  let resizing = 0;
  addEventListener('resize', () => { clearTimeout(resizing); resizing = setTimeout(() => { for (const paint of drawn.values()) paint(); }, 120); });

  // What is under the pointer.
  const tip = h('div', { id: 'tip', hidden: true });
  document.body.append(tip);
  let lit = null;
  document.addEventListener('pointermove', (event) => {
    const group = event.target.closest ? event.target.closest('g.mark') : null;
    if (lit && lit !== group) lit.classList.remove('lit');
    lit = group;
    tip.hidden = !group;
    if (!group) return;
    group.classList.add('lit');
    tip.textContent = group.dataset.tip;
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = `${Math.max(8, Math.min(event.pageX + 14, room))}px`;
    tip.style.top = `${event.pageY + 16}px`;
  });
  document.addEventListener('click', (event) => {
    const group = event.target.closest ? event.target.closest('g.mark') : null;
    if (group && group.dataset.go) { tip.hidden = true; location.hash = group.dataset.go; }
  });
  round();
})();
