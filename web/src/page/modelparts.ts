// What the parts of the "Language model" view are made of.
import { element, type Child } from "./element";

export function row(title: string, tags: Child[], text: HTMLElement, ...actions: Child[]): HTMLElement {
  return element("li", { class: "model-row" }, element("div", { class: "model-about" }, element("p", { class: "action-title" }, title, " ", ...tags), text), element("div", { class: "model-actions" }, ...actions));
}

export function action(label: string, name: string, run: () => void, disabled = false): HTMLElement {
  return element("button", { type: "button", class: "button plain", "aria-label": name, disabled, onclick: run }, label);
}

export const tag = (text: string): HTMLElement => element("span", { class: "tag" }, text);

export function card(title: string, ...children: Child[]): HTMLElement {
  return element("section", { class: "card" }, element("h3", { class: "small-title" }, title), ...children);
}

export function figures(rows: [string, string][]): HTMLElement {
  return element("dl", { class: "figures" }, ...rows.map(([label, value]) => element("div", { class: "figure-row" }, element("dt", {}, label), element("dd", {}, value))));
}
