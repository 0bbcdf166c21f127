const INSIDE = 'a[data-go]';
const shown = new WeakMap();

// One entry of the history per click: st.switch_page with a query writes two. The app answers to popstate as to Back.
function go(href) {
  const there = new URL(href, window.location.origin);
  if (there.origin !== window.location.origin) return;
  window.history.pushState({}, '', there.pathname + there.search);
  window.dispatchEvent(new PopStateEvent('popstate', { state: {} }));
}

function place(host, wanted) {
  const cells = [...host.querySelectorAll('[data-cell]')];
  if (!cells.length) return;
  const active = cells.find((cell) => cell.dataset.cell === wanted) || cells[0];
  for (const cell of cells) cell.tabIndex = cell === active ? 0 : -1;
}

function step(host, from, key) {
  const [row, column] = from.dataset.cell.split(':').map(Number);
  const cells = [...host.querySelectorAll('[data-cell]')].map((cell) => [cell, ...cell.dataset.cell.split(':').map(Number)]);
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

function dress(root) {
  const { sheet } = globalThis.tandem;
  if (!root.adoptedStyleSheets.includes(sheet)) root.adoptedStyleSheets = [...root.adoptedStyleSheets, sheet];
}

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
  }
  const before = shown.get(host);
  shown.set(host, data.html);
  if (before !== data.html) {
    const focused = host.getRootNode().activeElement;
    const cell = focused && focused.dataset ? focused.dataset.cell : undefined;
    const kept = host.querySelector('[data-cell][tabindex="0"]');
    host.innerHTML = data.html;
    place(host, cell || (kept && kept.dataset.cell));
    if (cell) { const again = host.querySelector(`[data-cell="${cell}"]`); if (again) again.focus(); }
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
  for (const later of tandem.waiting.splice(0)) later();
}
