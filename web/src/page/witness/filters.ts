// The filters of the witness log. Each narrows what is shown, and all of them go together.
import { element, fill, type Child } from "../element";
import type { Criteria, SessionInfo, Summary } from "../protocol";

const HOUR = 3_600_000;
const RATINGS: Record<string, [string, Criteria]> = {
  "": ["Any", {}],
  good: ["Good", { quality_at_least: 0.5 }],
  poor: ["Poor", { quality_below: 0.5 }],
  rated: ["Rated", { rated: true }],
  unrated: ["Not rated", { rated: false }],
};
const SPANS: [string, string][] = [["", "Any time"], ["1", "Last hour"], ["24", "Last 24 hours"], ["168", "Last 7 days"], ["720", "Last 30 days"]];

export class Filters {
  readonly root: HTMLFormElement;
  private readonly about = element("input", { type: "search", class: "field", id: "log-search", placeholder: "Find by what was asked", autocomplete: "off" });
  private readonly rating = select("log-rating", Object.entries(RATINGS).map(([value, [label]]) => [value, label]));
  private readonly span = select("log-span", SPANS);
  private readonly model = select("log-model", [["", "Any"]]);
  private readonly outcome = select("log-outcome", [["", "Any"]]);
  private readonly session = select("log-session", [["", "Any"]]);
  private readonly slower = element("input", { type: "number", class: "field", id: "log-slower", min: 0, step: 10, inputmode: "numeric", placeholder: "milliseconds" });
  private readonly held = element("input", { type: "checkbox", id: "log-held" });
  private readonly clear = element("button", { type: "button", class: "quiet-button", hidden: true, onclick: () => this.reset() }, "Clear filters");

  /** `changed` is called when something else is to be shown; typing is waited out. */
  constructor(private readonly changed: () => void) {
    const group = (label: string, field: HTMLElement, kind = "") => element("div", { class: `field-group ${kind}` }, element("label", { class: "field-label", for: field.id }, label), field);
    this.root = element("form", { class: "log-filters", role: "search", "aria-label": "Filter the log", onsubmit: (event: Event) => event.preventDefault() },
      element("div", { class: "filter-row" }, group("Find", this.about, "grow"), group("When", this.span), group("Rating", this.rating)),
      element("details", { class: "more-filters" }, element("summary", {}, "More filters"),
        element("div", { class: "filter-row" }, group("Outcome", this.outcome), group("Model", this.model), group("Conversation", this.session, "grow"), group("Slower than", this.slower),
          element("label", { class: "check", for: "log-held" }, this.held, "Only on hold"))),
      this.clear);
    let timer = 0;
    const soon = () => {
      clearTimeout(timer);
      timer = window.setTimeout(() => this.tell(), 250);
    };
    for (const field of [this.about, this.slower]) field.addEventListener("input", soon);
    for (const field of [this.rating, this.span, this.model, this.outcome, this.session, this.held]) field.addEventListener("change", () => this.tell());
  }

  get text(): string {
    return this.about.value.trim();
  }

  get criteria(): Criteria {
    const outcome = this.outcome.value;
    return {
      ...RATINGS[this.rating.value]?.[1],
      ...(this.span.value && { since: Date.now() - Number(this.span.value) * HOUR }),
      ...(this.model.value && { model: this.model.value }),
      ...(this.session.value && { session: this.session.value }),
      ...(outcome && { error: outcome === "failed" ? true : outcome === "worked" ? false : outcome.slice("kind ".length) }),
      ...(this.slower.value && Number(this.slower.value) >= 0 && { slower_than: Number(this.slower.value) }),
      ...(this.held.checked && { held: true }),
    };
  }

  get any(): boolean {
    return Boolean(this.text || Object.keys(this.criteria).length);
  }

  /** Takes everything back, without telling. */
  empty(): void {
    this.root.reset();
    this.clear.hidden = true;
  }

  /** What there is to choose among. What is chosen stays chosen. */
  offer({ models, kinds }: Summary, sessions: SessionInfo[]): void {
    options(this.model, [["", "Any"], ...models.map((name): [string, string] => [name, name])]);
    options(this.outcome, [["", "Any"], ["worked", "Worked"], ["failed", "Failed"], ...kinds.map((kind): [string, string] => [`kind ${kind}`, `Failed: ${kind}`])]);
    options(this.session, [["", "Any"], ...sessions.map(({ id, title }): [string, string] => [id, title || "Conversation"])]);
  }

  private reset(): void {
    this.empty();
    this.changed();
  }

  private tell(): void {
    this.clear.hidden = !this.any;
    this.changed();
  }
}

function select(id: string, choices: [string, string][]): HTMLSelectElement {
  const made = element("select", { class: "field", id });
  options(made, choices);
  return made;
}

function options(of: HTMLSelectElement, choices: [string, string][]): void {
  const chosen = of.value;
  const children: Child[] = choices.map(([value, label]) => element("option", { value }, label));
  fill(of, ...children);
  of.value = choices.some(([value]) => value === chosen) ? chosen : "";
}
