// Where the milliseconds of an answer went: a small stacked bar, with the figures as a list.
import { element } from "./element";
import { milliseconds } from "./format";
import type { Latency } from "./protocol";

export const STEPS = [
  ["embedding_ms", "Embedding"],
  ["retrieval_ms", "Retrieval"],
  ["routing_ms", "Routing"],
  ["attention_ms", "Attention"],
  ["generation_ms", "Composing"],
] as const;

/** A decorative bar: the figures stand beside it or behind it as text. */
export function latencyBar(latency: Latency): HTMLElement {
  const bar = element("span", { class: "latency-bar", "aria-hidden": "true" });
  for (const [key] of STEPS) {
    if (latency[key] <= 0) continue;
    const part = element("span", { class: `latency-part ${key}` });
    part.style.setProperty("--share", String(latency[key]));
    bar.append(part);
  }
  return bar;
}

export function latencyFigures(latency: Latency): HTMLElement {
  const rows = STEPS.map(([key, label]) =>
    element("div", { class: "figure-row" }, element("dt", {}, element("span", { class: `swatch ${key}`, "aria-hidden": "true" }), label), element("dd", {}, milliseconds(latency[key]))));
  return element("dl", { class: "figures" }, ...rows,
    element("div", { class: "figure-row total" }, element("dt", {}, "In all"), element("dd", {}, milliseconds(latency.total_ms))));
}
