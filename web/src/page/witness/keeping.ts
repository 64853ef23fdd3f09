// How long the log keeps its entries, and how they leave it: archives, which can be searched again, and exports for other programs.
import { confirm } from "../dialogs";
import { download } from "../download";
import { chooseFiles } from "../drops";
import { element, fill } from "../element";
import { count, plural } from "../format";
import type { Notebook } from "../notebook";
import type { Cleared, Criteria, Summary } from "../protocol";
import { toast } from "../toasts";

const DAY = 86_400_000;
const AGES: [string, string][] = [["", "For ever"], ["7", "For 7 days"], ["30", "For 30 days"], ["90", "For 90 days"], ["365", "For a year"]];
const COUNTS: [string, string][] = [["", "Without a limit"], ["1000", "The last 1,000"], ["10000", "The last 10,000"], ["100000", "The last 100,000"]];
const OLDER: [string, string][] = [["0", "All entries"], ["7", "Older than 7 days"], ["30", "Older than 30 days"], ["90", "Older than 90 days"]];

/** What the cards need of the view around them. */
export interface Surroundings {
  criteria(): { criteria: Criteria; archived: boolean };
  changed(): void;
  openArchive(file: File): void;
}

export class Keeping {
  readonly cards: HTMLElement[];
  private readonly age = choice("keep-age", AGES);
  private readonly most = choice("keep-count", COUNTS);
  private readonly older = choice("archive-older", OLDER);
  private readonly words = element("input", { type: "checkbox", id: "export-words" });
  private readonly progress = element("p", { class: "quiet", role: "status" });
  private readonly writing: HTMLButtonElement[] = [];
  private drawn = "";

  constructor(private readonly notebook: Notebook, private readonly around: Surroundings) {
    const card = (id: string, title: string, ...children: (HTMLElement | string)[]) => element("section", { class: "card", "aria-labelledby": id }, element("h3", { class: "small-title", id }, title), ...children);
    const field = (label: string, of: HTMLElement) => element("div", {}, element("label", { class: "field-label", for: of.id }, label), of);
    const button = (label: string, run: () => void, writes = false) => {
      const made = element("button", { type: "button", class: "button plain", onclick: run }, label);
      if (writes) this.writing.push(made);
      return made;
    };
    this.cards = [
      card("keep-title", "How long are entries kept?", field("Keep entries", this.age), field("And at most", this.most),
        element("p", { class: "quiet" }, "Entries on hold stay whatever is set here."), button("Apply", () => void this.keep(), true)),
      card("archive-title", "Archive", field("Write into a file", this.older),
        element("p", { class: "quiet" }, "A compressed file that only this notebook can read and search. What you forget here is lost to the file as well: its keys stay in the notebook."),
        this.progress, element("div", { class: "entry-actions" }, button("Write an archive", () => void this.archive(), true), button("Search an archive", () => chooseFiles(([file]) => file && this.around.openArchive(file), { accept: ".ruvw", multiple: false })))),
      card("export-title", "Take along", element("p", { class: "quiet" }, "The entries that the filters show, for other programs, with OpenTelemetry’s names."),
        element("label", { class: "check", for: "export-words" }, this.words, "With the words of questions and errors"),
        element("div", { class: "entry-actions" }, button("JSON Lines", () => void this.take("jsonl")), button("OpenTelemetry", () => void this.take("otlp")))),
    ];
    notebook.on("access", () => this.access());
    this.access();
  }

  /** Shows what is set; a choice that is not applied yet stays until that is another. */
  draw({ retention }: Summary): void {
    const drawn = JSON.stringify(retention);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    set(this.age, retention.max_age_ms ? [retention.max_age_ms / DAY, `For ${plural(retention.max_age_ms / DAY, "day")}`] : null);
    set(this.most, retention.max_entries ? [retention.max_entries, `The last ${count(retention.max_entries)}`] : null);
  }

  private access(): void {
    for (const button of this.writing) {
      button.disabled = Boolean(this.notebook.readOnly);
      button.title = this.notebook.readOnly ?? "";
    }
  }

  private async keep(): Promise<void> {
    const [days, most] = [Number(this.age.value), Number(this.most.value)];
    const agreed = !days && !most || await confirm({ title: "Remove what is beyond that?", text: "Entries that are older or more than what you set are deleted now, and from then on by themselves. The log keeps a note that they were removed, without their content.", confirm: "Apply", danger: true });
    if (!agreed) return;
    try {
      const cleared = await this.notebook.call("witness_keep", { ...(days && { max_age_ms: days * DAY }), ...(most && { max_entries: most }) });
      toast(days || most ? told(cleared) : "Entries are kept for ever");
      this.around.changed();
    } catch (error) {
      toast(`Not set: ${(error as Error).message}`, { tone: "problem" });
    }
  }

  private async archive(): Promise<void> {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    try {
      const made = await this.notebook.call("witness_archive", { until: Date.now() - Number(this.older.value) * DAY }, {
        event: (event) => {
          if (event.type === "part") parts.push(event.bytes);
          if (event.type === "progress") this.progress.textContent = `${count(event.done)} of ${count(event.total)} entries`;
        },
      });
      this.progress.textContent = "";
      if (!made.entries) return toast("There is nothing to archive");
      download(made.name, parts, "application/octet-stream");
      const agreed = await confirm({ title: "Remove them from the log?", text: `${plural(made.entries, "entry is", "entries are")} in ${made.name}. Look that the file is where you want it. Removed from the log, they can be searched by opening the file here.`, confirm: `Remove ${plural(made.entries, "entry", "entries")}`, danger: true });
      if (!agreed) return;
      toast(told(await this.notebook.call("witness_clear", { id: made.id })));
      this.around.changed();
    } catch (error) {
      this.progress.textContent = "";
      toast(`Not archived, the log is as it was: ${(error as Error).message}`, { tone: "problem" });
    }
  }

  private async take(format: "jsonl" | "otlp"): Promise<void> {
    try {
      const { name, bytes } = await this.notebook.call("witness_export", { format, text: this.words.checked, ...this.around.criteria() });
      download(name, [bytes], format === "otlp" ? "application/json" : "application/jsonl");
    } catch (error) {
      toast(`Not exported: ${(error as Error).message}`, { tone: "problem" });
    }
  }
}

function told({ removed, held, changed }: Cleared): string {
  return [`${plural(removed, "entry", "entries")} removed`, held && `${count(held)} on hold ${held === 1 ? "stays" : "stay"}`, changed && `${count(changed)} changed since ${changed === 1 ? "stays" : "stay"}`].filter(Boolean).join("; ");
}

function choice(id: string, choices: [string, string][]): HTMLSelectElement {
  return element("select", { class: "field", id }, ...choices.map(([value, label]) => element("option", { value }, label)));
}

/** Chooses a value; one that is not offered, as another program may have set, is added. */
function set(of: HTMLSelectElement, chosen: [number, string] | null): void {
  const value = chosen ? String(chosen[0]) : "";
  if (chosen && ![...of.options].some((option) => option.value === value)) of.append(element("option", { value }, chosen[1]));
  of.value = value;
}

/** The banner over the log while an archive is looked at. */
export function archiveBanner(name: string, { entries, sealed }: { entries: number; sealed: number }, close: () => void): HTMLElement {
  const banner = element("div", { class: "archive-banner", role: "status" });
  fill(banner, element("div", {}, element("p", {}, element("strong", {}, name)), element("p", { class: "quiet" },
    `You are looking at an archive of ${plural(entries, "entry", "entries")}.`,
    sealed > 0 && ` ${plural(sealed, "more cannot be read: what it belonged to was forgotten, or it is of another notebook.", "more cannot be read: what they belonged to was forgotten, or they are of another notebook.")}`)),
  element("button", { type: "button", class: "button plain", onclick: close }, "Back to the log"));
  return banner;
}
