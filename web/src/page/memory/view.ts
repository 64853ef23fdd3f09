// Memory in use: what holds how much of the budget, in which tier each conversation is, and what left.
import { announce } from "../announce";
import { byId, element, fill, type Child } from "../element";
import { bytes, count, fullMoment, moment, percent, plural } from "../format";
import { icon } from "../icons";
import type { Notebook } from "../notebook";
import type { InUse, PoolReport } from "../protocol";
import { conversationsTable, tierLadder } from "./conversations";
import { evicted, shares, tiers, type Share } from "./figures";
import { budgetBar, regionMap } from "./picture";
import { Refresher } from "./refresher";

const PRESSURE = { nominal: "not short", fair: "a little short", serious: "short", critical: "very short" };

export class MemoryView {
  private readonly root = byId("view-memory");
  private readonly budget = element("div", {});
  private readonly cards = element("div", { class: "memory-cards" });
  private readonly conversations = element("section", { class: "model-section", "aria-labelledby": "kv-title" });
  private readonly left = element("section", { class: "model-section", "aria-labelledby": "left-title" });
  private readonly refresher = new Refresher(() => this.read(), () => !this.root.hidden && document.visibilityState === "visible" && this.notebook.ready);
  private drawn = "";
  private gone: number | null = null;

  constructor(private readonly notebook: Notebook) {
    fill(this.root, element("div", { class: "page-column wide" },
      element("header", { class: "page-head" }, element("h2", { class: "page-title" }, "Memory in use"),
        element("p", { class: "page-lede" }, "A language model keeps what it has read of each conversation, so that it goes on at once. All of that shares one budget, which is never exceeded: when it is nearly full, what was unused for longest is made smaller, then saved in your notebook.")),
      this.budget, this.cards, this.conversations, this.left));
    for (const change of ["activity", "model", "sessions"] as const) notebook.on(change, () => this.refresher.poke());
    document.addEventListener("visibilitychange", () => this.refresher.poke());
  }

  async load(): Promise<void> {
    try {
      await this.notebook.whenReady();
      await this.refresher.now();
    } catch (error) {
      this.fail(error as Error);
    }
  }

  private async read(): Promise<void> {
    try {
      const use = await this.notebook.call("in_use", {});
      const titles = new Map(this.notebook.sessions.map((session) => [session.id, session.title || "Conversation"]));
      const seen = JSON.stringify([use, [...titles]]);
      if (seen === this.drawn) return; // whoever reads or has the focus in it is left in peace
      this.drawn = seen;
      keepingFocus(this.root, () => this.draw(use, titles));
      this.tell(use);
    } catch (error) {
      this.fail(error as Error);
    }
  }

  private fail(error: Error): void {
    this.drawn = "";
    fill(this.budget, element("p", { class: "failure-message" }, icon("warn"), element("span", {}, `What is in use could not be read: ${error.message}`)));
  }

  private draw(use: InUse, titles: Map<string, string>): void {
    const { pool, caches, model } = use;
    fill(this.budget, budgetCard(use, shares(use)));
    fill(this.cards, ...(pool ? [piecesCard(pool)] : []), deviceCard(use), ...(pool ? [leftCard(pool)] : []));
    this.conversations.hidden = this.left.hidden = !pool || !caches;
    if (!pool || !caches) return;
    const { pages } = caches;
    const shared = pages.shared > 0 ? ` Pages that begin alike are shared: ${bytes(pages.shared)} lie in memory once, and count with each conversation below${pages.idle ? `; ${plural(pages.idle, "page")} of them no conversation uses, kept in case a text begins so again` : ""}.` : "";
    fill(this.conversations, element("h3", { class: "section-title", id: "kv-title" }, "Conversations"),
      element("p", { class: "quiet" }, `What ${model?.name ?? "the model"} has read of them, in pages of ${caches.page_tokens} tokens. Each conversation is drawn as wide as the context of the model, ${count(model?.context ?? 0)} tokens, with one bar a page, as high as what it takes.${shared}`),
      tierLadder(tiers(use, [...titles.keys()]), caches.hits),
      caches.live.length + caches.cold.length > 0
        ? conversationsTable(use, caches, (session) => titles.get(session) ?? null)
        : element("p", { class: "rail-empty" }, "No conversation is held yet. Ask something: it then appears here."),
      caches.cold_sessions > caches.cold.length && element("p", { class: "quiet" }, `and ${plural(caches.cold_sessions - caches.cold.length, "more saved conversation")}.`));
    fill(this.left, element("h3", { class: "section-title", id: "left-title" }, "What left"), ...evictions(pool, (session) => titles.get(session) ?? "A conversation"));
  }

  /** Says to screen readers that something left, once for all of it. */
  private tell({ pool }: InUse): void {
    const all = pool ? pool.counts.shrunk + pool.counts.evicted : 0;
    if (this.gone !== null && all > this.gone) announce(`${plural(all - this.gone, "thing")} left memory or was made smaller, to keep to the budget`);
    this.gone = pool ? all : null;
  }
}

function budgetCard(use: InUse, parts: Share[]): HTMLElement {
  const { budget, used, pool, model } = use;
  return element("section", { class: "card budget-card", "aria-labelledby": "budget-title" },
    element("h3", { class: "small-title", id: "budget-title" }, "Budget"),
    element("p", { class: "big-figure" }, bytes(used), element("span", { class: "of" }, pool ? ` of ${bytes(budget)}` : ` in use, up to ${bytes(budget)} for conversations`)),
    budgetBar(use, parts),
    element("p", { class: "quiet" }, pool
      ? `Above ${percent(pool.high / budget)}, room is made until it is ${percent(pool.low / budget)} (${bytes(pool.low)}).`
      : model ? `${model.name} keeps one conversation itself, which does not count here.` : "No language model is loaded, so no conversation is held in memory. Once one is loaded and has answered, you see here what each conversation takes, where it is, and what leaves when the budget is full."),
    !pool && !model && element("div", { class: "button-row" }, element("a", { class: "button plain", href: "#/models" }, icon("model"), "Load a model")),
    element("table", { class: "share-table" }, element("caption", { class: "visually-hidden" }, "What holds how much of the budget"),
      element("thead", { class: "visually-hidden" }, element("tr", {}, ...["What", "Bytes", "Of the budget"].map((label) => element("th", { scope: "col" }, label)))),
      element("tbody", {}, ...parts.map((part) => element("tr", { class: part.bytes ? null : "nothing" },
        element("th", { scope: "row" }, element("div", { class: "share-name" }, element("span", { class: `key ${part.key}`, "aria-hidden": "true" }), element("span", {}, part.label, part.detail && element("span", { class: "share-detail" }, part.detail)))),
        element("td", {}, bytes(part.bytes)), element("td", {}, share(part.part)))))));
}

function piecesCard(pool: PoolReport): HTMLElement {
  return element("section", { class: "card", "aria-labelledby": "pieces-title" }, element("h3", { class: "small-title", id: "pieces-title" }, "Where it lies"),
    regionMap(pool),
    element("p", { class: "quiet" }, pool.touched ? `The first ${bytes(pool.touched)} of the region of ${bytes(pool.region)}; no more of it was ever used. Gaps are free.` : "Nothing was taken yet."),
    figures([["Fragmentation", share(pool.fragmentation)], ["Largest free piece", bytes(pool.largest_hole)], ["Lost to rounding", bytes(pool.wasted)], ["Most ever in use", bytes(pool.peak)]]));
}

function deviceCard({ device, heap, limit, pressure }: InUse): HTMLElement {
  const known = (value: number | null | undefined, unknown: string) => (typeof value === "number" ? bytes(value) : unknown);
  return element("section", { class: "card", "aria-labelledby": "device-title" }, element("h3", { class: "small-title", id: "device-title" }, "What the budget follows"),
    figures([["Memory of this device", known(device, "not told")], ["Memory of the worker", known(heap, "not told")], ["It can have at most", known(limit, "not told")], ["Memory is", PRESSURE[pressure]]]),
    element("p", { class: "quiet" }, typeof device === "number" ? "As the browser tells it: rounded, and never more than it wants to tell." : "This browser does not tell what the device has."));
}

function leftCard({ counts }: PoolReport): HTMLElement {
  return element("section", { class: "card", "aria-labelledby": "counts-title" }, element("h3", { class: "small-title", id: "counts-title" }, "Since the model was loaded"),
    figures([["Made smaller", count(counts.shrunk)], ["Saved or let go of", count(counts.evicted)], ["Refused for want of room", count(counts.refused)]]),
    element("p", { class: "quiet" }, "Nothing leaves before it is saved, where it can be saved."));
}

function evictions({ evictions: list, counts }: PoolReport, title: (session: string) => string): Child[] {
  if (!list.length) return [element("p", { class: "quiet" }, "Nothing so far. What is made smaller, saved or let go of to keep to the budget is listed here as it happens.")];
  const labels = ["When", "What", "What became of it", "Freed", "Because"];
  const cells = (texts: Child[]) => texts.map((text, at) => element("td", { role: "cell", "data-label": labels[at + 2], class: at === 1 ? "number mono" : null }, text));
  const rows = [...list].reverse().map((each) => {
    const { what, became, why } = evicted(each, title);
    return element("tr", { role: "row" }, element("th", { scope: "row", role: "rowheader" }, what, element("span", { class: "share-detail" }, element("time", { datetime: new Date(each.at).toISOString(), title: fullMoment(each.at) }, moment(each.at)))),
      ...cells([became, bytes(each.bytes), why]));
  });
  return [
    element("p", { class: "quiet" }, `The newest first${counts.shrunk + counts.evicted > list.length ? `, the last ${list.length} of ${count(counts.shrunk + counts.evicted)}` : ""}.`),
    element("table", { class: "in-use-table", role: "table" }, element("caption", { class: "visually-hidden" }, "What left, the newest first"),
      element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...labels.slice(1).map((label, at) => element("th", { scope: "col", role: "columnheader", class: at === 2 ? "number" : null }, label)))),
      element("tbody", { role: "rowgroup" }, ...rows)),
  ];
}

/** Drawing anew must not take the focus from who is on a link in it. */
function keepingFocus(root: HTMLElement, draw: () => void): void {
  const focused = root.contains(document.activeElement) ? document.activeElement?.getAttribute("href") : null;
  draw();
  if (focused) [...root.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus({ preventScroll: true });
}

const share = (part: number): string => (part > 0 && part < 0.01 ? `${(part * 100).toFixed(2)} %` : percent(part));

function figures(rows: [string, string][]): HTMLElement {
  return element("dl", { class: "figures" }, ...rows.map(([label, value]) => element("div", { class: "figure-row" }, element("dt", {}, label), element("dd", {}, value))));
}
