// Text on its way into the memory: files dropped, chosen or pasted, text pasted, the sample notes. One job at a time.
import { announce } from "./announce";
import { byId, element, fill } from "./element";
import { plural } from "./format";
import { icon } from "./icons";
import type { Notebook } from "./notebook";
import type { Item, ProtocolEvent, Remembered } from "./protocol";
import type { CallError } from "./rpc";
import { readTextFile } from "./textfile";
import { toast } from "./toasts";

interface Refusal {
  title: string;
  reason: string;
}

export class Intake {
  private queue: Promise<void> = Promise.resolve();

  constructor(private readonly notebook: Notebook) {}

  /** Reads files and remembers those that are text; the others are named with their reason. */
  async files(files: File[]): Promise<void> {
    const items: Item[] = [];
    const refused: Refusal[] = [];
    for (const file of files) {
      const verdict = await readTextFile(file);
      if ("item" in verdict) items.push(verdict.item);
      else refused.push({ title: file.name, reason: verdict.refused });
    }
    if (items.length) return this.items(items, refused);
    if (refused.length) new JobCard("Nothing was added").refuse(refused);
  }

  items(items: Item[], refused: Refusal[] = []): Promise<void> {
    const title = items.length === 1 ? `Remembering “${items[0]!.title}”` : `Remembering ${plural(items.length, "document")}`;
    return this.run(title, (options) => this.notebook.call("remember", { items }, options), refused);
  }

  samples(): Promise<void> {
    return this.run("Remembering the sample notebook", (options) => this.notebook.call("remember_samples", {}, options), []);
  }

  private run(title: string, call: (options: { event: (event: ProtocolEvent) => void; signal: AbortSignal; retry: () => void }) => Promise<Remembered>, refused: Refusal[]): Promise<void> {
    const reason = this.notebook.readOnly;
    if (reason) {
      toast(reason, { tone: "problem" });
      return Promise.resolve();
    }
    this.queue = this.queue.then(async () => {
      const card = new JobCard(title);
      try {
        await this.notebook.whenReady();
        const result = await call({
          event: (event) => event.type === "progress" && card.progress(event.label, event.done, event.total),
          signal: card.signal,
          retry: () => void this.run(title, call, []),
        });
        if (result.questions?.length) this.notebook.questions = result.questions;
        const all = [...refused, ...result.skipped];
        card.finish(result.documents.length, all);
        if (result.documents.length) void askToKeep();
      } catch (error) {
        const failure = error as CallError;
        if (failure.kind === "Cancelled") card.leave("Cancelled. What was finished before is kept.");
        else card.fail(failure.message, () => void this.run(title, call, refused));
      }
      if (this.notebook.ready) await this.notebook.refreshLibrary().catch(() => undefined);
    });
    return this.queue;
  }
}

const ASKED_KEY = "pyruvllm.asked-to-keep";

/** Once there is something to lose the browser is asked, once, not to clear it by itself. Some ask their user; the storage view says what came of it. */
async function askToKeep(): Promise<void> {
  try {
    if (localStorage.getItem(ASKED_KEY) || (await navigator.storage?.persisted?.())) return;
    localStorage.setItem(ASKED_KEY, "yes");
    await navigator.storage?.persist?.();
  } catch {
    // a browser that keeps no such note would ask each time
  }
}

/** The card at the edge of the page that shows a job: how far it is, a way to stop it, and what came of it. */
class JobCard {
  private readonly stopper = new AbortController();
  readonly signal = this.stopper.signal;
  private readonly label = element("p", { class: "job-label" });
  private readonly figure = element("span", { class: "mono job-figure" });
  private readonly bar = element("progress", { class: "job-bar", max: 1 });
  private readonly body = element("div", { class: "job-body" });
  private readonly button: HTMLButtonElement;
  private readonly root: HTMLElement;
  private said = 0;

  constructor(title: string) {
    this.button = element("button", { type: "button", class: "quiet-button", onclick: () => {
      this.stopper.abort();
      this.button.disabled = true;
      this.label.textContent = "Stopping after the passage at hand";
    } }, "Cancel");
    this.bar.setAttribute("aria-label", title);
    fill(this.body, this.bar, element("div", { class: "job-row" }, this.label, this.figure));
    this.root = element("section", { class: "toast job", "aria-label": title, "aria-live": "off" },
      element("div", { class: "job-head" }, element("p", { class: "job-title" }, title), this.button), this.body);
    byId("dock").append(this.root);
    announce(title);
  }

  progress(label: string, done: number, total: number): void {
    if (this.signal.aborted) return;
    this.bar.max = Math.max(1, total);
    this.bar.value = done;
    this.label.textContent = label;
    this.figure.textContent = `${done} / ${total}`;
    const quarter = Math.floor((4 * done) / Math.max(1, total));
    if (quarter > this.said && quarter < 4) announce(`${done} of ${total} passages`);
    this.said = quarter;
  }

  finish(added: number, refused: Refusal[]): void {
    if (refused.length) return this.refuse(refused, added);
    this.leave(`${plural(added, "document")} remembered`);
  }

  /** Stays until it is dismissed: which files were not taken, and why. */
  refuse(refused: Refusal[], added = 0): void {
    const summary = `${added ? `${plural(added, "document")} remembered, ` : ""}${plural(refused.length, "file")} not added`;
    this.close(summary);
    fill(this.body, element("ul", { class: "refusals" }, ...refused.map((one) => element("li", {}, element("strong", {}, one.title), element("span", {}, one.reason)))));
    announce(`${summary}. ${refused.map((one) => `${one.title}: ${one.reason}`).join(". ")}`);
  }

  fail(message: string, retry: () => void): void {
    this.close("Adding failed");
    this.root.classList.add("problem");
    fill(this.body, element("p", {}, message), element("button", { type: "button", class: "quiet-button", onclick: () => (this.root.remove(), retry()) }, "Try again"));
    announce(`Adding failed: ${message}`);
  }

  leave(message: string): void {
    this.root.remove();
    toast(message);
  }

  private close(title: string): void {
    const head = this.root.querySelector(".job-head")!;
    fill(head, element("p", { class: "job-title" }, title), element("button", { type: "button", class: "icon-button", "aria-label": "Dismiss", onclick: () => this.root.remove() }, icon("close")));
  }
}
