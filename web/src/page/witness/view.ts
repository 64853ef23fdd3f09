// The witness log: every question that was asked, what answered it, how long each step took, how it was rated; and whether all that is so.
import { openDialog } from "../dialogs";
import { byId, element, fill, type Child } from "../element";
import { count, plural } from "../format";
import { icon } from "../icons";
import type { Notebook } from "../notebook";
import type { FoundEntries, Question, WitnessEntry } from "../protocol";
import { toast } from "../toasts";
import { entryRows } from "./entry";
import { FiguresPanel } from "./figures";
import { Filters } from "./filters";
import { archiveBanner, Keeping } from "./keeping";
import { Proof } from "./proof";
import { meaning, Questions } from "./questions";

const PAGE = 25;

export class WitnessView {
  private readonly root = byId("view-log");
  private readonly questions = new Questions((question) => this.ask(question));
  private readonly filters = new Filters(() => this.filter());
  private readonly figures = new FiguresPanel();
  private readonly proof: Proof;
  private readonly keeping: Keeping;
  private readonly banner = element("div");
  private readonly summary = element("p", { class: "log-summary", role: "status" });
  private readonly rows = element("tbody");
  private readonly pager = element("nav", { class: "pager", "aria-label": "Pages of the log" });
  private readonly empty = element("div", { class: "log-empty" });
  private readonly table: HTMLElement;
  private like: WitnessEntry | null = null; // what the entries shown are like
  private archived = false; // an archive is looked at, not the log
  private offset = 0;
  private asked = 0;

  constructor(private readonly notebook: Notebook) {
    this.proof = new Proof(notebook);
    this.keeping = new Keeping(notebook, {
      criteria: () => ({ criteria: this.filters.criteria, archived: this.archived }),
      changed: () => void this.load(0),
      openArchive: (file) => void this.openArchive(file),
    });
    const head = (label: string, kind = "") => element("th", { scope: "col", class: kind }, label);
    this.table = element("table", { class: "log" },
      element("caption", { class: "visually-hidden" }, "Questions"),
      element("thead", {}, element("tr", {}, head("Time"), head("Question"), head("Model"), head("Rating"), head("Sources", "number"), head("Took", "number"),
        element("th", { scope: "col" }, element("span", { class: "visually-hidden" }, "Details")))), this.rows);
    fill(this.root, element("div", { class: "page-column wide" },
      element("header", { class: "page-head" }, element("h2", { class: "page-title" }, "Witness log"),
        element("p", { class: "page-lede" }, "Each question leaves an entry here, on this device: what answered it, what it drew on, and where the time went."), this.proof.chip),
      this.banner, this.questions.root, this.filters.root, this.figures.root, this.summary, this.table, this.empty, this.pager,
      element("div", { class: "log-cards" }, this.proof.root, ...this.keeping.cards)));
  }

  async load(offset = this.offset): Promise<void> {
    const turn = ++this.asked;
    try {
      await this.notebook.whenReady();
      const { criteria, text } = this.filters;
      const { archived } = this;
      const question = this.questions.chosen;
      const what = question ? { question, ...(this.like && { like: this.like.id }) } : { criteria, ...(this.like ? { like: this.like.id } : text && { about: text }) };
      const found = await this.notebook.call("witness", { limit: PAGE, offset, archived, ...what });
      if (turn !== this.asked) return; // a later filter was faster
      this.offset = offset;
      this.draw(found);
      const summary = await this.notebook.call("witness_summary", { origin: new Date().setHours(0, 0, 0, 0), archived, ...(question ? {} : { criteria }) });
      if (turn !== this.asked) return;
      this.figures.draw(summary);
      this.filters.offer(summary, this.notebook.sessions);
      this.keeping.draw(summary);
      if (!archived) this.proof.offer(summary.total.count);
    } catch (error) {
      if (turn !== this.asked) return;
      this.table.hidden = true;
      this.summary.textContent = "";
      fill(this.empty, element("p", {}, `The log could not be read: ${(error as Error).message}`), element("button", { type: "button", class: "button plain", onclick: () => void this.load() }, "Try again"));
    }
  }

  private ask(question: Question | null): void {
    this.like = null;
    this.filters.empty();
    void this.load(0);
    if (!question) this.summary.focus();
  }

  private filter(): void {
    this.like = null;
    this.questions.choose(null);
    void this.load(0);
  }

  /** Entries like one, or failures like it. */
  private near(entry: WitnessEntry, question: Question | null): void {
    this.like = entry;
    this.questions.choose(question);
    this.filters.empty();
    void this.load(0).then(() => (this.root.scrollTop = 0));
  }

  private draw(found: FoundEntries): void {
    const { total, entries } = found;
    const question = this.questions.chosen;
    const filtered = Boolean(question || this.like || this.filters.any);
    this.table.hidden = entries.length === 0;
    fill(this.empty, entries.length === 0 && !question && element("p", {}, filtered ? "No entry matches." : this.archived ? "There is nothing in it that can be read." : "Nothing has been asked yet."));
    fill(this.summary, ...this.told(found, filtered));
    fill(this.rows, ...entries.flatMap((entry) => entryRows(entry, {
      alike: (one) => this.near(one, null),
      failuresLike: (one) => this.near(one, "similar_errors"),
      ...(!this.archived && !this.notebook.readOnly && { hold: (one: WitnessEntry) => void this.hold(one) }),
    })));
    const last = Math.min(total, this.offset + entries.length);
    const ranked = question === "similar_errors" || question === "latency_spikes"; // the first of an order, in one page
    const step = (label: string, to: number, off: boolean) => element("button", { type: "button", class: "button plain", disabled: off, onclick: async () => {
      await this.load(to);
      this.root.scrollTop = 0;
    } }, label);
    const paged = total > PAGE && !ranked;
    fill(this.pager, paged && step("Newer", this.offset - PAGE, this.offset === 0),
      paged && element("span", { class: "mono" }, `${count(this.offset + 1)} to ${count(last)} of ${count(total)}`),
      paged && step("Older", this.offset + PAGE, last >= total));
  }

  private told(found: FoundEntries, filtered: boolean): Child[] {
    const question = this.questions.chosen;
    const back = filtered && element("button", { type: "button", class: "quiet-button", onclick: () => {
      this.filters.empty();
      this.filter();
    } }, "Show all");
    if (question) return [meaning(question, found), " ", back];
    const amount = plural(found.total, "entry", "entries");
    if (this.like) return [`Nearest to “${this.like.query}”: ${amount}, nearest first. `, back];
    return found.entries.length ? [`${amount}, ${this.filters.text ? "nearest" : "newest"} first`] : [];
  }

  private async hold(entry: WitnessEntry): Promise<void> {
    const reason = entry.hold ? undefined : await askReason(entry);
    if (!entry.hold && !reason) return;
    try {
      await this.notebook.call("witness_hold", { id: entry.id, ...(reason && { reason }) });
      toast(reason ? "On hold: it stays until you release it" : "Released: it may be removed again");
      await this.load();
    } catch (error) {
      toast(`Not changed: ${(error as Error).message}`, { tone: "problem" });
    }
  }

  private async openArchive(file: File): Promise<void> {
    try {
      const content = await file.arrayBuffer();
      const opened = await this.notebook.call("witness_open", { bytes: content }, { transfer: [content] });
      this.look(true, archiveBanner(file.name, opened, () => {
        this.look(false);
        void this.notebook.call("witness_close", {});
      }));
    } catch (error) {
      toast(`Not opened: ${(error as Error).message}`, { tone: "problem" });
    }
  }

  /** At an archive, or at the log again. */
  private look(archived: boolean, banner?: HTMLElement): void {
    this.archived = archived;
    this.like = null;
    this.filters.empty();
    this.questions.choose(null);
    fill(this.banner, banner);
    void this.load(0).then(() => (this.root.scrollTop = 0));
  }
}

/** Why an entry is put on hold; null when it is not. */
function askReason(entry: WitnessEntry): Promise<string | null> {
  return new Promise((resolve) => {
    let given: string | null = null;
    const reason = element("input", { id: "hold-reason", class: "field", type: "text", autocomplete: "off", required: true, maxlength: 200 });
    const form = element("form", { class: "dialog-form", onsubmit: (event: Event) => {
      event.preventDefault();
      given = reason.value.trim() || null;
      if (given) dialog.close();
    } },
      element("p", {}, `“${entry.query}” will not be removed, not by age, not by forgetting its conversation, until you release it.`),
      element("label", { class: "field-label", for: "hold-reason" }, "Who asked for it, and why?"), reason,
      element("div", { class: "dialog-actions" },
        element("button", { type: "button", class: "button plain", onclick: () => dialog.close() }, "Cancel"),
        element("button", { type: "submit", class: "button" }, icon("check"), "Put on hold")));
    const dialog = openDialog("Put this entry on hold?", "small", form);
    dialog.addEventListener("close", () => resolve(given));
    reason.focus();
  });
}
