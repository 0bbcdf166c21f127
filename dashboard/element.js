const INSIDE = 'a[data-go]';
const shown = new WeakMap();

// One entry of the history per click: st.switch_page with a query writes two. The app answers to popstate as to Back.
function go(href) {
  const there = new URL(href, window.location.origin);
  if (there.origin !== window.location.origin) return;
  globalThis.tandem.walk.to(there.pathname + there.search);
}

// -- one step of the history at a time
//
// While a run of the page before still answers, the app takes the address of a second step for a mistake and pushes its
// own over it. So a step waits until the run of the step before has ended, and nothing is pushed over one that waits.

const ANSWERED = 2000;
const LONGEST = 8000;

function walking() {
  const push = window.history.pushState.bind(window.history);
  const replace = window.history.replaceState.bind(window.history);
  let stepped = 0;
  let ran = true;
  let waiting = 0;
  let timer;
  const running = () => {
    const app = document.querySelector('[data-testid=stApp]');
    return Boolean(app) && app.getAttribute('data-test-script-state') !== 'notRunning';
  };
  // A step is over when a run has begun and ended after it; one that no run follows is over after a while.
  new MutationObserver(() => { if (running()) ran = true; }).observe(
    document.body, { subtree: true, attributes: true, attributeFilter: ['data-test-script-state'] });
  const begin = () => { stepped = Date.now(); ran = false; };
  const busy = () => running() || (!ran && Date.now() - stepped < ANSWERED);
  const told = () => {
    const step = new PopStateEvent('popstate', { state: window.history.state });
    step.told = true;
    waiting = 0;
    begin();
    window.dispatchEvent(step);
  };
  const later = () => {
    waiting = waiting || Date.now();
    clearInterval(timer);
    timer = setInterval(() => {
      if (busy() && Date.now() - waiting < LONGEST) return;
      clearInterval(timer);
      told();
    }, 30);
  };
  window.history.pushState = (...given) => { if (!waiting) push(...given); };
  window.history.replaceState = (...given) => { if (!waiting) replace(...given); };
  window.addEventListener('popstate', (event) => {
    if (event.told) return;
    if (!busy()) { begin(); return; }
    event.stopImmediatePropagation();
    later();
  }, true);
  return { to: (address) => { push({}, '', address); if (busy()) later(); else told(); } };
}

function stops(host) {
  return [...host.querySelectorAll('[data-cell]')].filter((cell) => !cell.closest('[hidden]'));
}

function place(host, wanted) {
  const cells = stops(host);
  if (!cells.length) return;
  const active = cells.find((cell) => cell.dataset.cell === wanted) || cells[0];
  for (const cell of cells) cell.tabIndex = cell === active ? 0 : -1;
}

function step(host, from, key) {
  const [row, column] = from.dataset.cell.split(':').map(Number);
  const cells = stops(host).map((cell) => [cell, ...cell.dataset.cell.split(':').map(Number)]);
  const mine = cells.filter(([, r]) => r === row);
  const nearest = (r) => {
    const there = cells.filter(([, other]) => other === r);
    return there.sort((a, b) => Math.abs(a[2] - column) - Math.abs(b[2] - column))[0];
  };
  const rows = [...new Set(cells.map(([, r]) => r))];
  const at = rows.indexOf(row);
  switch (key) {
    case 'ArrowRight': return mine.find(([, , c]) => c > column);
    case 'ArrowLeft': return mine.filter(([, , c]) => c < column).pop();
    case 'ArrowDown': return at + 1 < rows.length ? nearest(rows[at + 1]) : undefined;
    case 'ArrowUp': return at > 0 ? nearest(rows[at - 1]) : undefined;
    case 'Home': return mine[0];
    case 'End': return mine[mine.length - 1];
    default: return undefined;
  }
}

// -- narrowing a list while somebody types; Enter, or leaving the box, puts the search into the address

const FIND = 'input[data-find]';

function narrow(host, box) {
  const wanted = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [...host.querySelectorAll('[data-name]')];
  let seen = 0;
  for (const row of rows) {
    row.hidden = !wanted.every((word) => row.dataset.name.includes(word));
    if (!row.hidden) seen += 1;
  }
  if ('some' in box.dataset) return; // the answer to the address counts all of them
  const told = host.querySelector('[data-found]');
  const [one, many] = told.dataset.found.split('|');
  const all = `${rows.length} ${rows.length === 1 ? one : many}`;
  told.textContent = seen === rows.length ? all : `${seen} of ${all}`;
  const nothing = host.querySelector('[data-nothing]');
  if (nothing) nothing.hidden = seen > 0;
  const kept = host.querySelector('[data-cell][tabindex="0"]');
  place(host, kept && kept.dataset.cell);
}

function finding(host) {
  let pause;
  host.addEventListener('input', (event) => {
    const box = event.target;
    if (!box.matches(FIND)) return;
    narrow(host, box);
    clearTimeout(pause);
    if ('some' in box.dataset) pause = setTimeout(() => searched(box), 500);
  });
  host.addEventListener('change', (event) => {
    clearTimeout(pause);
    if (event.target.matches(FIND)) searched(event.target);
  });
  // Letters typed here are no shortcuts of the page around.
  host.addEventListener('keydown', (event) => { if (event.target.matches(FIND)) event.stopPropagation(); });
}

function searched(box) {
  const there = new URL(box.dataset.href, window.location.origin);
  const words = box.value.trim();
  if (words) there.searchParams.set('selected', words);
  if (there.pathname + there.search !== window.location.pathname + window.location.search) go(there.href);
}

function dress(root) {
  const { sheet } = globalThis.tandem;
  if (!root.adoptedStyleSheets.includes(sheet)) root.adoptedStyleSheets = [...root.adoptedStyleSheets, sheet];
}

// -- why a number is what it is

const WHY = '[data-why]';
const REST = 450;
const GRACE = 250;
const answers = new Map();

async function explained(anchor) {
  const block = anchor.closest('[data-ask]');
  const of = anchor.closest('[data-of]');
  const query = [anchor.dataset.why, of && of.dataset.of, block && block.dataset.ask].filter(Boolean).join('&');
  if (!answers.has(query)) {
    const reply = await fetch(`/api/v1/explain?${query}`);
    const told = await reply.json();
    if (!reply.ok) throw new Error(told.error || 'the server does not say why');
    if (answers.size > 300) answers.clear();
    answers.set(query, told);
  }
  return answers.get(query);
}

function made(tag, classes, words) {
  const one = document.createElement(tag);
  if (classes) one.className = classes;
  if (words !== undefined) one.textContent = words;
  return one;
}

function utc(seconds) {
  return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
}

function valued(value, unit) {
  if (value === null || value === undefined) return 'not known';
  const said = { share: ' of 1', x: ' times', events: '' }[unit];
  return `${value}${said === undefined ? (unit ? ` ${unit}` : '') : said}`;
}

function witnessed(one) {
  const differs = one.difference === null ? '' : `, ${one.difference >= 0 ? '+' : ''}${Number((one.difference * 100).toPrecision(3))} points against it`;
  return `${one.source}: ${one.good === null ? '?' : one.good} of ${one.total === null ? '?' : one.total}${differs}`;
}

// Rows of (name, text); what is empty is left out.
function reasons(found) {
  const filters = Object.entries(found.filters).map(([name, value]) => `${name} ${value}`).join(', ');
  const seen = found.coverage === null ? '' : `${(found.coverage * 100).toFixed(2)} % of the window was seen`;
  const fresh = found.newest === null ? '' : `data to ${utc(found.newest)}`;
  return [
    ['Exactly', valued(found.value, found.unit)],
    ['Formula', found.formula],
    ['Counts', found.counts],
    ['Over', found.over],
    ['Filters', filters],
    ['Source', [found.source, fresh, seen].filter(Boolean).join(' · ')],
    ['Witnesses', found.witnesses.map(witnessed).join('; ') || (found.source ? 'no other source counted it' : '')],
    ['State', [found.state, found.reason].filter(Boolean).join(': ')],
  ].filter(([, words]) => words);
}

function copied(words, told) {
  const done = () => { told.textContent = 'Copied'; };
  if (navigator.clipboard) navigator.clipboard.writeText(words).then(done, () => { told.textContent = 'Select the line and copy it'; });
  else told.textContent = 'Select the line and copy it';
}

function drawn(pop, found) {
  const list = made('dl', 'y-list');
  for (const [name, words] of reasons(found)) list.append(made('dt', '', name), made('dd', '', words));
  const line = made('code', 'y-line', `${found.line} | jq '${found.path.replaceAll("'", "'\\''")}'`);
  line.tabIndex = 0;
  const told = made('span', 'y-told');
  told.setAttribute('role', 'status');
  const copy = made('button', 'y-copy', 'Copy the line');
  copy.type = 'button';
  copy.addEventListener('click', () => copied(line.textContent, told));
  const foot = made('div', 'y-foot');
  foot.append(copy, told);
  headed(pop, found.name, made('p', 'y-meaning', found.meaning), list, made('p', 'y-prints', 'What prints it:'), line, foot);
}

function headed(pop, name, ...parts) {
  const head = made('div', 'y-head');
  const close = made('button', 'y-close', '×');
  close.type = 'button';
  close.setAttribute('aria-label', 'Close');
  close.addEventListener('click', () => pop.leave(true));
  head.append(made('strong', 'y-name', name), close);
  pop.replaceChildren(head, ...parts);
  pop.setAttribute('aria-label', name);
}

function placed(pop, anchor) {
  const box = anchor.getBoundingClientRect();
  const { innerWidth: width, innerHeight: height } = window;
  const narrow = width <= 520;
  const mine = pop.getBoundingClientRect();
  const left = narrow ? 8 : Math.min(Math.max(box.left, 8), width - mine.width - 8);
  const below = box.bottom + 6;
  const fits = below + mine.height <= height - 8;
  const top = narrow ? height - mine.height - 8 : fits ? below : Math.max(box.top - mine.height - 6, 8);
  pop.style.left = `${left}px`;
  pop.style.top = `${top}px`;
}

// A popover beside its number: on rest of the mouse it only shows, on click or "?" it takes the focus and stays.
function opened(host, anchor, pinned) {
  const now = globalThis.tandem.open;
  if (now && now.anchor === anchor) { if (pinned) now.pin(); return; }
  if (now) now.leave(false);
  const pop = made('div', 'td y-pop');
  pop.popover = 'manual';
  pop.tabIndex = -1;
  pop.setAttribute('role', 'dialog');
  host.parentNode.appendChild(pop);
  const key = anchor.dataset.cell ? `[data-cell="${anchor.dataset.cell}"]` : `[data-why="${CSS.escape(anchor.dataset.why)}"]`;
  pop.leave = (back) => {
    if (globalThis.tandem.open !== pop) return;
    globalThis.tandem.open = undefined;
    document.removeEventListener('pointerdown', pop.outside, true);
    const there = anchor.isConnected ? anchor : host.querySelector(key);
    if (there) there.removeAttribute('aria-expanded');
    pop.remove();
    if (back && there) there.focus();
  };
  pop.outside = (event) => {
    const path = event.composedPath();
    if (!path.includes(pop) && !path.includes(anchor)) pop.leave(false);
  };
  pop.pin = () => { pop.pinned = true; anchor.setAttribute('aria-expanded', 'true'); pop.focus(); };
  pop.anchor = anchor;
  pop.host = host;
  pop.addEventListener('keydown', (event) => {
    event.stopPropagation();
    if (event.key === 'Escape') pop.leave(true);
  });
  pop.addEventListener('focusout', (event) => {
    if (pop.pinned && event.relatedTarget && !pop.contains(event.relatedTarget) && event.relatedTarget !== anchor) pop.leave(false);
  });
  pop.addEventListener('pointerenter', () => clearTimeout(pop.ending));
  pop.addEventListener('pointerleave', () => fading(pop));
  document.addEventListener('pointerdown', pop.outside, true);
  globalThis.tandem.open = pop;
  headed(pop, 'Reading…');
  pop.showPopover();
  placed(pop, anchor);
  if (pinned) pop.pin();
  const settle = () => { if (globalThis.tandem.open === pop) placed(pop, anchor); };
  explained(anchor).then((found) => { drawn(pop, found); settle(); }, (error) => {
    headed(pop, 'This number cannot be explained', made('p', 'y-meaning', error.message));
    settle();
  });
}

function fading(pop) {
  if (pop.pinned) return;
  clearTimeout(pop.ending);
  pop.ending = setTimeout(() => pop.leave(false), GRACE);
}

function wondering(host) {
  let rest;
  host.addEventListener('pointerover', (event) => {
    const anchor = event.target.closest(WHY);
    clearTimeout(rest);
    if (event.pointerType === 'mouse' && anchor) rest = setTimeout(() => { if (anchor.isConnected) opened(host, anchor, false); }, REST);
  });
  host.addEventListener('pointerout', (event) => {
    clearTimeout(rest);
    const now = globalThis.tandem.open;
    if (now && event.target.closest(WHY) === now.anchor) fading(now);
  });
  host.addEventListener('click', (event) => {
    const anchor = event.target.closest(`button${WHY}`);
    clearTimeout(rest);
    if (anchor) opened(host, anchor, true);
  });
  // A finger that rests on a number that is a link asks why; a tap follows the link.
  host.addEventListener('contextmenu', (event) => {
    const anchor = event.target.closest(WHY);
    if (anchor && event.pointerType === 'touch') { event.preventDefault(); opened(host, anchor, true); }
  });
  host.addEventListener('keydown', (event) => {
    const now = globalThis.tandem.open;
    if (event.key === 'Escape' && now) { now.leave(true); return; }
    const anchor = event.target.closest(WHY);
    if (event.key === '?' && anchor) { event.preventDefault(); event.stopPropagation(); opened(host, anchor, true); }
  });
}

// -- showing

const KEYS = ['ArrowRight', 'ArrowLeft', 'ArrowDown', 'ArrowUp', 'Home', 'End'];

function show(component) {
  const { data, parentElement, setStateValue } = component;
  dress(parentElement.getRootNode());
  let host = parentElement.querySelector('.td');
  if (!host) {
    host = document.createElement('div');
    host.className = 'td';
    parentElement.appendChild(host);
    host.addEventListener('click', (event) => {
      const link = event.target.closest(INSIDE);
      if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      event.preventDefault();
      go(link.getAttribute('href'));
    });
    host.addEventListener('keydown', (event) => {
      const cell = event.target.closest('[data-cell]');
      if (!cell || !KEYS.includes(event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      const next = step(host, cell, event.key);
      if (next) { place(host, next[0].dataset.cell); next[0].focus(); }
    });
    host.addEventListener('focusin', (event) => {
      const cell = event.target.closest('[data-cell]');
      if (cell) place(host, cell.dataset.cell);
    });
    wondering(host);
    finding(host);
  }
  const before = shown.get(host);
  shown.set(host, data.html);
  if (before !== data.html) {
    const focused = host.getRootNode().activeElement;
    const cell = focused && focused.dataset ? focused.dataset.cell : undefined;
    const reason = focused && focused.dataset ? focused.dataset.why : undefined;
    const kept = host.querySelector('[data-cell][tabindex="0"]');
    host.innerHTML = data.html;
    place(host, cell || (kept && kept.dataset.cell));
    const typed = focused && focused.matches(FIND) ? focused.value : undefined;
    const again = cell ? `[data-cell="${cell}"]` : reason ? `[data-why="${CSS.escape(reason)}"]` : '';
    if (again && host.querySelector(again)) host.querySelector(again).focus();
    const box = typed === undefined ? null : host.querySelector(FIND);
    if (box) { box.value = typed; box.focus(); narrow(host, box); }
    const now = globalThis.tandem.open;
    if (now && now.host === host && !now.pinned) now.leave(false);
  }
  if (data.measure) {
    const query = window.matchMedia('(max-width: 760px)');
    const tell = () => { if (query.matches !== data.narrow) setStateValue('narrow', query.matches); };
    tell();
    query.addEventListener('change', tell);
    return () => query.removeEventListener('change', tell);
  }
}

// Mounted once on a page: its style sheet and `show` serve every other mount, which would else carry a copy each.
export default function ({ data }) {
  const tandem = globalThis.tandem || (globalThis.tandem = { waiting: [] });
  if (!tandem.sheet) tandem.sheet = new CSSStyleSheet();
  if (tandem.css !== data.css) tandem.sheet.replaceSync(data.css);
  tandem.css = data.css;
  tandem.show = show;
  if (!tandem.walk) tandem.walk = walking();
  for (const later of tandem.waiting.splice(0)) later();
}
