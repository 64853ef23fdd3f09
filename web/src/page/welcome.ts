// What stands where a conversation will be: how starting goes, what went wrong with it, how to begin, what to ask.
import { alarm, announce } from "./announce";
import { byId, element, fill } from "./element";
import { bytes, count, plural } from "./format";
import { icon, type IconName } from "./icons";
import type { Notebook, Progress } from "./notebook";
import type { Secret } from "./protocol";
import { unlockForm } from "./unlock";

export interface WelcomeActions {
  samples(): void;
  choose(): void;
  paste(): void;
  ask(question: string): void;
  restart(): void;
  unlock(secret: Secret): void;
  erase(): void;
}

const STAGES: [string, string][] = [
  ["python", "Python, in the background"],
  ["packages", "The memory itself and numpy"],
  ["memory", "Your notebook, from this device"],
  ["model", "The embedding model"],
];

const CAUSES: Record<string, { title: string; kept: string }> = {
  TamperedError: { title: "The protected notebook was altered on this device", kept: "A stored record is not the one that was written here. Nothing was overwritten. You can start again, or delete it and begin with an exported file." },
  CorruptError: { title: "The notebook on this device is damaged", kept: "Nothing was overwritten. You can start again, or delete it and begin with an empty one or an exported file." },
  NewerError: { title: "A newer version wrote this notebook", kept: "Nothing was overwritten. Load the newest version of this page to open it." },
  TimeoutError: { title: "Starting took too long", kept: "Your notes are untouched on this device. The connection to the page’s server may have been lost." },
  ModelError: { title: "The embedding model could not be loaded", kept: "Your notes are untouched on this device." },
};

export class Welcome {
  readonly root = byId("welcome");
  private readonly box = byId("boot");
  private stage = "";
  private seen = new Map<string, Progress>();

  constructor(private readonly notebook: Notebook, private readonly actions: WelcomeActions) {}

  draw(): void {
    const { phase } = this.notebook;
    if (phase.name === "starting") this.starting(phase.progress);
    else if (phase.name === "unsupported") this.unsupported(phase.missing);
    else if (phase.name === "locked") {
      this.head(["This notebook is ", "locked."], "It lies encrypted on this device. Nobody can read it without what opens it, and nobody can restore it for you.");
      unlockForm(this.box, phase.protection, phase.problem, this.actions);
    } else if (phase.name === "failed") this.failed(phase.kind, phase.message);
    else if (this.notebook.documents.length === 0) this.empty();
    else this.begin();
  }

  private starting(progress: Progress | null): void {
    if (!progress) {
      this.seen.clear();
      this.stage = "";
      this.head(["Ask what you once ", "wrote down."], "PyRuvLLM remembers the notes you give it, finds the passages that matter and answers in your own sentences, each with its source. It runs in this tab: no account, no server, nothing sent anywhere.");
    } else {
      this.seen.set(progress.stage, progress);
      if (progress.stage !== this.stage) announce(STAGES.find(([key]) => key === progress.stage)?.[1] ?? progress.label);
      this.stage = progress.stage;
    }
    const steps = STAGES.map(([key, label]) => {
      const known = this.seen.get(key);
      const state = key === this.stage ? "now" : known ? "done" : "later";
      const share = state === "done" ? 1 : known && known.total > 0 ? Math.min(1, known.done / known.total) : 0;
      const bar = element("span", { class: "boot-bar", "aria-hidden": "true" }, element("span", { class: "bar-fill" }));
      bar.style.setProperty("--value", String(share));
      return element("li", { class: `boot-step ${state}`, "aria-current": state === "now" ? "step" : null },
        element("span", { class: "boot-label" }, label), bar, element("span", { class: "boot-figure mono" }, state === "done" ? amount(known) || "done" : state === "now" ? amount(known) : ""));
    });
    fill(this.box, element("p", { class: "boot-title" }, "Getting ready"), element("ol", { class: "boot-steps" }, ...steps));
  }

  private empty(): void {
    this.head(["Ask what you once ", "wrote down."], "PyRuvLLM remembers the notes you give it, finds the passages that matter and answers in your own sentences, each with its source. It runs in this tab: no account, no server, nothing sent anywhere.");
    const { samples, choose, paste } = this.actions;
    const blocked = this.notebook.readOnly;
    const way = (name: IconName, title: string, text: string, run: () => void, main = false) =>
      element("button", { type: "button", class: main ? "way main" : "way", disabled: Boolean(blocked), onclick: run }, icon(name), element("span", { class: "way-text" }, element("span", { class: "way-title" }, title), element("span", { class: "way-hint" }, text)));
    fill(this.box, element("div", { class: "ways" },
      way("samples", "Load the sample notebook", "60 short notes from a harbour town", samples, true),
      way("file", "Choose files", "or drop them anywhere", choose),
      way("paste", "Paste text", "a note, a page, a chapter", paste)));
  }

  private begin(): void {
    const { documents, questions } = this.notebook;
    const passages = documents.reduce((sum, document) => sum + document.passages, 0);
    this.head(["What would you like to ", "know?"], `${plural(documents.length, "document")} and ${plural(passages, "passage")} are remembered, on this device only.`);
    fill(this.box, questions.length > 0 && element("div", { class: "suggestions" },
      element("h3", { class: "boot-title", id: "suggestions-title" }, "Questions to try"),
      element("ul", { "aria-labelledby": "suggestions-title" }, ...questions.slice(0, 6).map((question) =>
        element("li", {}, element("button", { type: "button", class: "suggestion", onclick: () => this.actions.ask(question) }, element("span", {}, question), icon("chevron")))))));
  }

  private failed(kind: string, message: string): void {
    const cause = CAUSES[kind] ?? { title: "The memory stopped", kept: "Everything that was confirmed as saved is on this device. Starting again brings it back." };
    this.head([`${cause.title}`, ""], cause.kept);
    const details = `${kind}: ${message}\n${navigator.userAgent}\n${new Date().toISOString()}`;
    const copy = element("button", { type: "button", class: "button plain", onclick: async () => {
      await navigator.clipboard.writeText(details);
      copy.textContent = "Copied";
      announce("Copied");
    } }, "Copy details");
    fill(this.box,
      element("div", { class: "failure" },
        element("p", { class: "failure-message" }, icon("warn"), element("span", {}, `${kind}: ${message}`)),
        element("div", { class: "failure-actions" },
          element("button", { type: "button", class: "button", onclick: this.actions.restart }, "Start again"), copy,
          (kind === "CorruptError" || kind === "TamperedError") && element("button", { type: "button", class: "button plain danger-text", onclick: this.actions.erase }, "Delete it"))));
    alarm(`${cause.title}. ${cause.kept}`);
  }

  private unsupported(missing: string[]): void {
    this.head(["This browser cannot hold ", "the memory."], "PyRuvLLM runs whole in your browser and needs a few things that this one does not offer. A current Chrome, Edge, Firefox or Safari has them, in a window that is not private.");
    fill(this.box, element("div", { class: "failure" }, element("h3", { class: "boot-title" }, "What is missing"),
      element("ul", { class: "missing" }, ...missing.map((what) => element("li", {}, icon("close"), what))),
      element("div", { class: "failure-actions" }, element("button", { type: "button", class: "button", onclick: this.actions.restart }, "Check again"))));
    alarm(`This browser cannot run the memory. Missing: ${missing.join(", ")}`);
  }

  private head([plain, marked]: [string, string], lede: string): void {
    fill(this.root.querySelector(".display")!, plain, marked && element("span", { class: "marked" }, marked));
    this.root.querySelector(".lede")!.textContent = lede;
  }
}

/** Bytes for downloads, with the sum where it is known; records for the rest. */
function amount(progress: Progress | undefined): string {
  if (!progress || (progress.done <= 1 && progress.total <= 1)) return "";
  if (progress.stage === "memory") return `${count(progress.done)} / ${count(progress.total)}`;
  return progress.total > 0 ? `${bytes(progress.done)} of ${bytes(Math.max(progress.done, progress.total))}` : bytes(progress.done);
}
