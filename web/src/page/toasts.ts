// Short notes at the edge of the page that leave by themselves, or stay while they offer something to do.
import { byId, element } from "./element";
import { icon } from "./icons";

export interface ToastOptions {
  tone?: "plain" | "problem";
  action?: { label: string; run: () => void };
}

const STAY_MS = 6000;

export function toast(message: string, options: ToastOptions = {}): void {
  const { tone = "plain", action } = options;
  const leave = () => card.remove();
  const card = element("div", { class: `toast ${tone}`, role: tone === "problem" ? "alert" : null },
    element("p", {}, message),
    action && element("button", { type: "button", class: "quiet-button", onclick: () => (leave(), action.run()) }, action.label),
    element("button", { type: "button", class: "icon-button", "aria-label": "Dismiss", onclick: leave }, icon("close")));
  byId("dock").append(card); // a live region: what appears in it is read out
  let timer = action || tone === "problem" ? 0 : window.setTimeout(leave, STAY_MS);
  card.addEventListener("pointerenter", () => clearTimeout(timer));
  card.addEventListener("pointerleave", () => timer && (timer = window.setTimeout(leave, STAY_MS)));
}
