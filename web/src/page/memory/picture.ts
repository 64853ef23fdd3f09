// The budget as one bar with its watermarks, and the pool's region as a map. Their figures stand in the table and list beside them.
import { block, shape } from "../drawing";
import { element } from "../element";
import { bytes, percent } from "../format";
import type { InUse, PoolReport } from "../protocol";
import type { Share } from "./figures";

const WIDTH = 1000;
const LEAST = 3; // of WIDTH, so that what is there can be seen

export function budgetBar({ budget, used, pool }: InUse, parts: Share[]): HTMLElement {
  const bar = shape("svg", { viewBox: `0 0 ${WIDTH} 10`, preserveAspectRatio: "none", class: "budget-bar", role: "img" });
  const said = parts.filter((part) => part.bytes && part.key !== "free").map((part) => `${part.label} ${bytes(part.bytes)}`);
  bar.setAttribute("aria-label", `${bytes(used)} of ${bytes(budget)} in use${said.length ? `: ${said.join(", ")}` : ""}`);
  let at = 0;
  for (const part of parts) {
    if (!part.bytes || part.key === "free") continue;
    const width = Math.max(part.part * WIDTH, LEAST);
    bar.append(block(at, width, `fill ${part.key}`, `${part.label}: ${bytes(part.bytes)}`));
    at += width;
  }
  if (!pool) return element("div", { class: "budget" }, bar);
  const mark = (which: "low" | "high", value: number) => {
    const label = element("span", { class: `watermark ${which}`, "aria-hidden": "true" }, percent(value / budget));
    label.style.setProperty("--at", String(value / budget));
    return label;
  };
  return element("div", { class: "budget" }, bar,
    element("div", { class: "watermarks" }, mark("low", pool.low), mark("high", pool.high)));
}

/** One cell for each equal part of what was ever used, the fuller the stronger. */
export function regionMap({ map, touched, fragmentation }: PoolReport): SVGElement {
  const drawn = shape("svg", { viewBox: `0 0 ${Math.max(map.length, 1)} 10`, preserveAspectRatio: "none", class: "region-map", role: "img" });
  drawn.setAttribute("aria-label", `Of the first ${bytes(touched)} of the region ${percent(map.reduce((sum, each) => sum + each, 0) / Math.max(map.length, 1))} are in use; ${percent(fragmentation)} of what is free lies in other pieces than the largest`);
  map.forEach((full, number) => drawn.append(block(number + 0.06, 0.88, `cell-${Math.ceil(full * 4)}`, `${percent(full)} in use`)));
  return drawn;
}
