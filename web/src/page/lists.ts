// Lists that arrow keys walk through: one item is a tab stop, Up, Down, Home and End move it.

/** Makes the elements matching `selector` inside `list` one tab stop. Call once; items may change afterwards. */
export function walkable(list: HTMLElement, selector: string): void {
  const items = () => [...list.querySelectorAll<HTMLElement>(selector)];
  list.addEventListener("keydown", (event) => {
    const all = items();
    const at = all.indexOf(event.target as HTMLElement);
    if (at < 0) return;
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    const next = to === undefined ? undefined : all[to];
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
  list.addEventListener("focusin", (event) => {
    const all = items();
    if (!all.includes(event.target as HTMLElement)) return;
    for (const item of all) item.tabIndex = item === event.target ? 0 : -1;
  });
  const reset = () => {
    const all = items();
    if (!all.some((item) => item.tabIndex === 0 && item.hasAttribute("tabindex"))) for (const [at, item] of all.entries()) item.tabIndex = at ? -1 : 0;
  };
  new MutationObserver(reset).observe(list, { childList: true, subtree: true });
  reset();
}
