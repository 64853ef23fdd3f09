// Builds SVG nodes. Only attributes, no styles: the content policy allows none, and colours are those of classes.

const NAMESPACE = "http://www.w3.org/2000/svg";

/** A new SVG element; numbers are rounded to what can be seen. */
export function shape<Tag extends keyof SVGElementTagNameMap>(tag: Tag, attributes: Record<string, string | number>, ...children: Node[]): SVGElementTagNameMap[Tag] {
  const made = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, typeof value === "number" ? String(Math.round(value * 1000) / 1000) : value);
  made.append(...children);
  return made;
}

/** A rectangle with what it stands for as its tooltip. */
export function block(x: number, width: number, className: string, title: string, y = 0, height = 10): SVGElement {
  const told = shape("title", {});
  told.textContent = title;
  return shape("rect", { x, y, width, height, class: className }, told);
}
