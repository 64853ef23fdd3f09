// The witness log: every question that was asked, what answered it, how long each step took, how it was rated.
import { byId, element, fill, type Child } from "./element";
import { count, fullMoment, milliseconds, moment, percent, plural } from "./format";
import { icon } from "./icons";
import { latencyBar, latencyFigures } from "./latency";
import type { Notebook } from "./notebook";
import type { WitnessEntry } from "./protocol";

const PAGE = 25;
const COLUMNS = 7;

const KINDS: Record<string, { label: string; where?: Record<string, unknown> }> = {
  all: { label: "All" },
  good: { label: "Rated good", where: { quality: { $gte: 0.5 } } },
  poor: { label: "Rated poor", where: { quality: { $lt: 0.5 } } },
  unrated: { label: "Not rated", where: { quality: null } },
  failed: { label: "Failed", where: { "error.kind": { $exists: true } } },
};

export class WitnessView {
  private readonly root = byId("view-log");
  private readonly search = element("input", { type: "search", class: "field", id: "log-search", placeholder: "Find by what was asked", autocomplete: "off" });
  private readonly kind = element("select", { class: "field", id: "log-kind" }, ...Object.entries(KINDS).map(([value, { label }]) => element("option", { value }, label)));
  private readonly summary = element("p", { class: "log-summary", role: "status" });
  private readonly rows = element("tbody");
  private readonly pager = element("nav", { class: "pager", "aria-label": "Pages of the log" });
  private readonly empty = element("div", { class: "log-empty" });
  private readonly table: HTMLElement;
  private offset = 0;
  private asked = 0;

  constructor(private readonly notebook: Notebook) {
    const head = (label: string, kind = "") => element("th", { scope: "col", class: kind }, label);
    this.table = element("table", { class: "log" },
      element("caption", { class: "visually-hidden" }, "Questions, newest first"),
      element("thead", {}, element("tr", {}, head("Time"), head("Question"), head("Model"), head("Rating"), head("Sources", "number"), head("Took", "number"),
        element("th", { scope: "col" }, element("span", { class: "visually-hidden" }, "Details")))), this.rows);
    fill(this.root, element("div", { class: "page-column wide" },
      element("header", { class: "page-head" }, element("h2", { class: "page-title" }, "Witness log"),
        element("p", { class: "page-lede" }, "Each question leaves an entry here, on this device: what answered it, what it drew on, and where the time went.")),
      element("form", { class: "log-filters", role: "search", "aria-label": "Filter the log", onsubmit: (event: Event) => event.preventDefault() },
        element("div", { class: "field-group grow" }, element("label", { class: "field-label", for: "log-search" }, "Find"), this.search),
        element("div", { class: "field-group" }, element("label", { class: "field-label", for: "log-kind" }, "Show"), this.kind)),
      this.summary, this.table, this.empty, this.pager));
    let timer = 0;
    this.search.addEventListener("input", () => {
      clearTimeout(timer);
      timer = window.setTimeout(() => this.load(0), 250);
    });
    this.kind.addEventListener("change", () => void this.load(0));
  }

  async load(offset = this.offset): Promise<void> {
    const turn = ++this.asked;
    const where = KINDS[this.kind.value]?.where;
    const query = this.search.value.trim();
    try {
      await this.notebook.whenReady();
      const { total, entries } = await this.notebook.call("witness", { limit: PAGE, offset, ...(where && { where }), ...(query && { query }) });
      if (turn !== this.asked) return; // a later filter was faster
      this.offset = offset;
      this.draw(total, entries, Boolean(where || query));
    } catch (error) {
      this.table.hidden = true;
      this.summary.textContent = "";
      fill(this.empty, element("p", {}, `The log could not be read: ${(error as Error).message}`), element("button", { type: "button", class: "button plain", onclick: () => void this.load() }, "Try again"));
    }
  }

  private draw(total: number, entries: WitnessEntry[], filtered: boolean): void {
    this.table.hidden = entries.length === 0;
    fill(this.empty, entries.length === 0 && element("p", {}, filtered ? "No entry matches." : "Nothing has been asked yet."));
    this.summary.textContent = entries.length ? `${plural(total, "entry", "entries")}, ${this.search.value.trim() ? "nearest first" : "newest first"}` : "";
    fill(this.rows, ...entries.flatMap((entry) => this.row(entry)));
    const last = Math.min(total, this.offset + entries.length);
    const step = (label: string, to: number, off: boolean) => element("button", { type: "button", class: "button plain", disabled: off, onclick: async () => {
      await this.load(to);
      this.root.scrollTop = 0;
    } }, label);
    fill(this.pager, total > PAGE && step("Newer", this.offset - PAGE, this.offset === 0),
      total > PAGE && element("span", { class: "mono" }, `${count(this.offset + 1)} to ${count(last)} of ${count(total)}`),
      total > PAGE && step("Older", this.offset + PAGE, last >= total));
  }

  private row(entry: WitnessEntry): HTMLElement[] {
    const id = `log-${entry.id}`;
    const more = element("tr", { class: "log-more", id, hidden: true }, element("td", { colspan: COLUMNS }, details(entry)));
    const toggle = element("button", { type: "button", class: "icon-button small log-toggle", "aria-expanded": "false", "aria-controls": id, "aria-label": `Details of ${entry.query}`, onclick: () => {
      more.hidden = !more.hidden;
      toggle.setAttribute("aria-expanded", String(!more.hidden));
    } }, icon("chevron"));
    const cell = (label: string, kind: string, ...children: Child[]) => element("td", { class: kind, "data-label": label }, ...children);
    const line = element("tr", { class: "log-row" },
      cell("Time", "time mono", element("time", { datetime: new Date(entry.timestamp).toISOString(), title: fullMoment(entry.timestamp) }, moment(entry.timestamp))),
      element("th", { scope: "row", class: "query" }, entry.query),
      cell("Model", "model", entry.error ? element("span", { class: "tag bad" }, entry.error.kind) : element("span", { class: "tag" }, entry.model)),
      cell("Rating", "rating", rating(entry.quality)),
      cell("Sources", "number mono", String(entry.sources)),
      cell("Took", "number mono took", latencyBar(entry.latency), element("span", {}, milliseconds(entry.latency.total_ms))),
      element("td", { class: "toggle" }, toggle));
    return [line, more];
  }
}

function rating(quality: number | null): Child {
  if (quality === null || quality === undefined) return element("span", { class: "unrated" }, element("span", { "aria-hidden": "true" }, "–"), element("span", { class: "visually-hidden" }, "not rated"));
  const good = quality >= 0.5;
  return element("span", { class: good ? "rated good" : "rated poor" }, icon(good ? "good" : "poor"), element("span", { class: "mono" }, quality.toFixed(2)));
}

function details(entry: WitnessEntry): HTMLElement {
  const { routing } = entry;
  const fact = (label: string, value: string) => element("div", { class: "figure-row" }, element("dt", {}, label), element("dd", {}, value));
  return element("div", { class: "log-details" },
    element("section", {}, element("h3", { class: "small-title" }, "Time"), latencyFigures(entry.latency)),
    element("section", {}, element("h3", { class: "small-title" }, "Routing"),
      element("dl", { class: "figures" }, fact("Model", routing.model), fact("Policy", routing.policy), fact("Confidence", percent(routing.confidence)), fact("Context", plural(routing.context_size, "token")),
        fact("Temperature", String(routing.temperature)), fact("Top-p", String(routing.top_p)))),
    element("section", {}, element("h3", { class: "small-title" }, "Model probabilities"), probabilities(routing.model_probs),
      element("h3", { class: "small-title" }, "Entry"), element("p", { class: "mono entry-id" }, entry.id),
      element("p", { class: "entry-link" }, element("a", { href: `#/c/${encodeURIComponent(entry.session)}` }, "Open its conversation"))),
    entry.error && element("p", { class: "failure-message" }, icon("warn"), element("span", {}, `${entry.error.kind}: ${entry.error.message}`)));
}

function probabilities(values: number[]): HTMLElement {
  if (!values?.length) return element("p", { class: "quiet" }, "None: a stated policy decided.");
  return element("ol", { class: "probabilities" }, ...values.map((value, at) => {
    const bar = element("span", { class: "meter", "aria-hidden": "true" }, element("span", { class: "meter-fill" }));
    bar.style.setProperty("--value", String(value));
    return element("li", {}, element("span", {}, `Model ${at + 1}`), bar, element("span", { class: "mono" }, value.toFixed(2)));
  }));
}
