// The mount that brings `show` may come later than this one.
export default function (component) {
  const tandem = globalThis.tandem || (globalThis.tandem = { waiting: [] });
  if (tandem.show) return tandem.show(component);
  let end;
  const later = () => { end = tandem.show(component); };
  tandem.waiting.push(later);
  return () => { tandem.waiting = tandem.waiting.filter((one) => one !== later); if (end) end(); };
}
