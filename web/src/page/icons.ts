// The page's icons: strokes on a 20 x 20 grid, drawn as SVG nodes and hidden from screen readers.

const PATHS = {
  plus: ["M10 4v12", "M4 10h12"],
  close: ["M5 5l10 10", "M15 5L5 15"],
  menu: ["M3 6h14", "M3 10h14", "M3 14h9"],
  pen: ["M4 16l.8-3.4L13.2 4.2a1.6 1.6 0 012.3 0l.3.3a1.6 1.6 0 010 2.3L7.4 15.2z", "M11.8 5.6l2.6 2.6"],
  up: ["M10 16V4.5", "M5 9.3l5-5 5 5"],
  stop: ["M6 6h8v8H6z"],
  spike: ["M2.5 13.5h4l2-9 3 11 1.5-4h4.5"],
  lock: ["M5 9h10v8H5z", "M7 9V6.5a3 3 0 016 0V9", "M10 12.2v1.8"],
  log: ["M4 5h12", "M4 10h12", "M4 15h7"],
  storage: ["M3.5 5.5c0-1.4 2.9-2.5 6.5-2.5s6.5 1.1 6.5 2.5-2.9 2.5-6.5 2.5-6.5-1.1-6.5-2.5z", "M3.5 5.5v9c0 1.4 2.9 2.5 6.5 2.5s6.5-1.1 6.5-2.5v-9", "M3.5 10c0 1.4 2.9 2.5 6.5 2.5s6.5-1.1 6.5-2.5"],
  kernels: ["M5.5 5.5h9v9h-9z", "M8.5 8.5h3v3h-3z", "M8 2.5v3M12 2.5v3M8 14.5v3M12 14.5v3M2.5 8h3M2.5 12h3M14.5 8h3M14.5 12h3"],
  memory: ["M3.5 4.5h13v4h-13zM3.5 11.5h13v4h-13z", "M8 4.5v4M12 4.5v4M10 11.5v4"],
  model: ["M4 4.5h12v8.5H9.5L6 16v-3H4z", "M7.5 7.5h5M7.5 10h3"],
  keyboard: ["M2.5 5.5h15v9h-15z", "M5.5 8.5h.01M8.5 8.5h.01M11.5 8.5h.01M14.5 8.5h.01M6.5 11.5h7"],
  auto: ["M10 3a7 7 0 100 14 7 7 0 000-14z", "M10 3v14", "M10 7l5-2.2M10 11l6.9-2.6M10 15l6-3"],
  light: ["M10 6.5a3.5 3.5 0 100 7 3.5 3.5 0 000-7z", "M10 2v1.5M10 16.5V18M2 10h1.5M16.5 10H18M4.3 4.3l1.1 1.1M14.6 14.6l1.1 1.1M4.3 15.7l1.1-1.1M14.6 5.4l1.1-1.1"],
  dark: ["M16.5 12A7 7 0 018 3.5a7 7 0 108.5 8.5z"],
  sources: ["M4 4h5v12H4z", "M12 4h4v12h-4"],
  drop: ["M10 3v9", "M6 8.5l4 4 4-4", "M3.5 13v3.5h13V13"],
  trash: ["M4 6h12", "M8 6V4h4v2", "M5.5 6l.7 10.5h7.6L14.5 6"],
  good: ["M7 9l3-6c1.3 0 2 .9 2 2v3h4l-1.2 7.2c-.1.5-.5.8-1 .8H7", "M4 9h3v7H4z"],
  poor: ["M7 11l3 6c1.3 0 2-.9 2-2v-3h4l-1.2-7.2c-.1-.5-.5-.8-1-.8H7", "M4 4h3v7H4z"],
  copy: ["M7 7h9v9H7z", "M4 13V4h9"],
  check: ["M4 10.5l4 4 8-9"],
  chevron: ["M7 4.5l5.5 5.5L7 15.5"],
  search: ["M9 3.5a5.5 5.5 0 100 11 5.5 5.5 0 000-11z", "M13 13l4 4"],
  note: ["M5 2.5h7l3.5 3.5v11.5H5z", "M12 2.5V6h3.5", "M7.5 10h5M7.5 13h5"],
  samples: ["M4 3.5h9.5a2 2 0 012 2v11H6a2 2 0 01-2-2z", "M4 14.5a2 2 0 012-2h9.5", "M7.5 7h5"],
  file: ["M3 5.5h5l1.5 2H17v8.5H3z"],
  paste: ["M5 4.5h10v13H5z", "M8 3h4v3H8z", "M8 10h4M8 13h4"],
  info: ["M10 3a7 7 0 100 14 7 7 0 000-14z", "M10 9.5v4", "M10 6.6h.01"],
  warn: ["M10 3.5l7 12.5H3z", "M10 8.5v3.5", "M10 14.1h.01"],
  download: ["M10 3v9", "M6 8.5l4 4 4-4", "M4 16.5h12"],
  upload: ["M10 13V4", "M6 7.5l4-4 4 4", "M4 16.5h12"],
} satisfies Record<string, string[]>;

export type IconName = keyof typeof PATHS;

export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  for (const d of PATHS[name]) {
    const path = document.createElementNS(svg.namespaceURI, "path") as SVGPathElement;
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

/** Draws the icons that the static page asks for with `data-icon`. Their boxes are sized already: nothing moves. */
export function drawIcons(root: ParentNode): void {
  for (const slot of root.querySelectorAll<HTMLElement>("[data-icon]")) slot.replaceChildren(icon(slot.dataset.icon as IconName));
}
