// One entry of the witness log: its row, and what is behind it.
import { element, type Child } from "../element";
import { fullMoment, milliseconds, moment, percent, plural } from "../format";
import { icon } from "../icons";
import { latencyBar, latencyFigures } from "../latency";
import type { WitnessEntry } from "../protocol";

export const COLUMNS = 7;

/** What can be done with an entry. `hold` is left out where nothing can be written. */
export interface EntryActions {
  alike(entry: WitnessEntry): void;
  failuresLike(entry: WitnessEntry): void;
  hold?: (entry: WitnessEntry) => void;
}

export function entryRows(entry: WitnessEntry, actions: EntryActions): HTMLElement[] {
  const id = `log-${entry.id}`;
  const more = element("tr", { class: "log-more", id, hidden: true }, element("td", { colspan: COLUMNS }, details(entry, actions)));
  const toggle = element("button", { type: "button", class: "icon-button small log-toggle", "aria-expanded": "false", "aria-controls": id, "aria-label": `Details of ${entry.query}`, onclick: () => {
    more.hidden = !more.hidden;
    toggle.setAttribute("aria-expanded", String(!more.hidden));
  } }, icon("chevron"));
  const cell = (label: string, kind: string, ...children: Child[]) => element("td", { class: kind, "data-label": label }, ...children);
  const line = element("tr", { class: "log-row" },
    cell("Time", "time mono", element("time", { datetime: new Date(entry.timestamp).toISOString(), title: fullMoment(entry.timestamp) }, moment(entry.timestamp))),
    element("th", { scope: "row", class: "query" }, entry.query || "(nothing)", entry.hold && element("span", { class: "tag held" }, "on hold")),
    cell("Model", "model", entry.error ? element("span", { class: "tag bad" }, entry.error.kind) : element("span", { class: "tag" }, entry.model)),
    cell("Rating", "rating", rating(entry.quality)),
    cell("Sources", "number mono", String(entry.sources)),
    cell("Took", "number mono took", latencyBar(entry.latency), element("span", {}, milliseconds(entry.latency.total_ms))),
    element("td", { class: "toggle" }, toggle));
  return [line, more];
}

function rating(quality: number | null): Child {
  if (quality === null || quality === undefined) return element("span", { class: "unrated" }, element("span", { "aria-hidden": "true" }, "–"), element("span", { class: "visually-hidden" }, "not rated"));
  const good = quality >= 0.5;
  return element("span", { class: good ? "rated good" : "rated poor" }, icon(good ? "good" : "poor"), element("span", { class: "mono" }, quality.toFixed(2)));
}

function details(entry: WitnessEntry, actions: EntryActions): HTMLElement {
  const { routing, generated } = entry;
  const fact = (label: string, value: string) => element("div", { class: "figure-row" }, element("dt", {}, label), element("dd", {}, value));
  const button = (label: string, run: () => void) => element("button", { type: "button", class: "button plain", onclick: run }, label);
  return element("div", { class: "log-details" },
    element("section", {}, element("h3", { class: "small-title" }, "Time"), latencyFigures(entry.latency)),
    generated && element("section", {}, element("h3", { class: "small-title" }, "Written by a model"),
      element("dl", { class: "figures" }, fact("Model", generated.model), fact("Read", plural(generated.prompt_tokens, "token")), fact("Written", plural(generated.completion_tokens, "token")),
        fact("First word after", milliseconds(generated.first_token_ms)), fact("Per second", generated.tokens_per_second.toFixed(1)), fact("Ended", generated.finish))),
    element("section", {}, element("h3", { class: "small-title" }, "Routing"),
      element("dl", { class: "figures" }, fact("Model", routing.model), fact("Policy", routing.policy), fact("Confidence", percent(routing.confidence)), fact("Context", plural(routing.context_size, "token")),
        fact("Temperature", String(routing.temperature)), fact("Top-p", String(routing.top_p)))),
    element("section", {}, element("h3", { class: "small-title" }, "Model probabilities"), probabilities(routing.model_probs),
      element("h3", { class: "small-title" }, "Entry"), element("p", { class: "mono entry-id" }, entry.id),
      element("p", { class: "entry-link" }, element("a", { href: `#/c/${encodeURIComponent(entry.session)}` }, "Open its conversation"))),
    entry.error && element("p", { class: "failure-message" }, icon("warn"), element("span", {}, `${entry.error.kind}: ${entry.error.message}`)),
    entry.hold && element("p", { class: "hold-reason" }, icon("info"), element("span", {}, `On hold, so it cannot be removed: ${entry.hold}`)),
    element("div", { class: "entry-actions" },
      button("Find similar", () => actions.alike(entry)),
      entry.error && button("Find similar failures", () => actions.failuresLike(entry)),
      actions.hold && button(entry.hold ? "Release the hold" : "Put on hold", () => actions.hold!(entry))));
}

function probabilities(values: number[]): HTMLElement {
  if (!values?.length) return element("p", { class: "quiet" }, "None: a stated policy decided.");
  return element("ol", { class: "probabilities" }, ...values.map((value, at) => {
    const bar = element("span", { class: "meter", "aria-hidden": "true" }, element("span", { class: "meter-fill" }));
    bar.style.setProperty("--value", String(value));
    return element("li", {}, element("span", {}, `Model ${at + 1}`), bar, element("span", { class: "mono" }, value.toFixed(2)));
  }));
}
