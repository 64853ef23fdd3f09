// What stands beside the language model: a smaller one that guesses for it, and adapters that conversations are answered with.
import { confirm } from "./dialogs";
import { chooseFiles } from "./drops";
import { element, fill } from "./element";
import { bytes, count, moment, percent } from "./format";
import { icon } from "./icons";
import type { ModelJobs } from "./modeljobs";
import { action, card, figures, row, tag } from "./modelparts";
import type { Notebook } from "./notebook";
import type { KeptAdapter, LoadedModel } from "./protocol";
import { toast } from "./toasts";

/** Who guesses for the model, and how it went in the last answer. */
export function guessingCard(loaded: LoadedModel, jobs: ModelJobs, keep: () => boolean): HTMLElement {
  const { draft, last } = loaded;
  const share = !last ? "not yet known" : last.guessed ? `${count(last.accepted)} of ${count(last.guessed)} (${percent(last.accepted / last.guessed)})` : "none made";
  return card("Guessing ahead",
    draft && element("p", { class: "kept" }, icon("check"), `${draft.name}, ${bytes(draft.nbytes)}`),
    element("p", { class: "quiet" }, draft
      ? "It guesses the next words, and the model checks several at once. The answer stays the same; where it would not come sooner, guessing rests."
      : "Words are guessed from the text itself. A smaller model of the same family, a draft, can guess too. The answer stays the same; where it would not come sooner, guessing rests."),
    figures([["Guesses right", share]]),
    last?.guessing && element("p", { class: "quiet" }, `${last.guessing}.`),
    element("div", { class: "button-row" },
      draft && element("button", { type: "button", class: "button plain", onclick: () => void jobs.unloadDraft() }, "Unload draft"),
      element("button", { type: "button", class: "button plain", onclick: () => chooseFiles(([file]) => file && void jobs.loadDraft({ file, keep: keep() }, file.name), { accept: ".gguf", multiple: false }) }, "Open a draft file")));
}

/** The adapters of this notebook. */
export class AdaptersSection {
  readonly root = element("section", { class: "model-section", "aria-labelledby": "adapters-title" });

  constructor(private readonly notebook: Notebook, private readonly jobs: ModelJobs) {}

  draw(adapters: KeptAdapter[], loaded: LoadedModel | null): void {
    this.root.hidden = !loaded && !adapters.length;
    fill(this.root, element("h3", { class: "section-title", id: "adapters-title" }, "Adapters"),
      element("p", { class: "quiet" }, "Small files that change how a model writes (LoRA, as GGUF). Each is made for one model and kept in this notebook. Which one answers is chosen for each conversation, below the question."),
      adapters.length > 0 && element("ul", { class: "model-list" }, ...adapters.map((adapter) => this.row(adapter, loaded))),
      loaded && element("div", { class: "button-row" },
        element("button", { type: "button", class: "button plain", onclick: () => chooseFiles(([file]) => file && void this.jobs.addAdapter(file), { accept: ".gguf", multiple: false }) }, icon("file"), "Add an adapter file")));
  }

  private row(adapter: KeptAdapter, loaded: LoadedModel | null): HTMLElement {
    const about = [bytes(adapter.nbytes), adapter.version > 0 && `version ${adapter.version}`, adapter.saved_at > 0 && moment(adapter.saved_at)];
    return row(adapter.name, [loaded && tag(adapter.fits ? `Fits ${loaded.name}` : "For another model")], element("p", { class: "quiet" }, about.filter(Boolean).join(", ")),
      action("Remove", `Remove ${adapter.name}`, () => void this.remove(adapter)));
  }

  private async remove({ name }: KeptAdapter): Promise<void> {
    const agreed = await confirm({ title: "Remove this adapter?", text: `“${name}” is deleted from this notebook with all its versions. Conversations that had it are answered without.`, confirm: "Remove", danger: true });
    if (!agreed) return;
    try {
      await this.notebook.call("adapter_remove", { name });
      toast(`“${name}” is removed`);
    } catch (error) {
      toast(`Not removed: ${(error as Error).message}`, { tone: "problem" });
    }
    await this.notebook.refreshModel();
  }
}

/** Below the question: the adapter that this conversation is answered with. Only there where the model has one, or the conversation. */
export class AdapterChoice {
  private chosen: string | null = null; // null: the model as it is
  private kept: string | null = null; // that of the conversation as the notebook knows it
  readonly root = element("label", { class: "adapter-choice" });

  constructor(private readonly notebook: Notebook, private readonly session: () => string | null) {
    notebook.on("model", () => this.draw());
  }

  /** That of another conversation, or of a new one. */
  show(kept: string | null): void {
    this.chosen = this.kept = kept;
    this.draw();
  }

  /** Has a conversation answered with what is chosen, if that is not so yet. */
  async settle(session: string): Promise<void> {
    if (this.chosen === this.kept) return;
    await this.notebook.call("session_adapter", { session, adapter: this.chosen });
    this.kept = this.chosen;
  }

  private draw(): void {
    const fitting = this.notebook.adapters.filter((adapter) => adapter.fits).map((adapter) => adapter.name);
    this.root.hidden = !this.notebook.model || (!fitting.length && this.chosen === null);
    const option = (value: string, label: string) => element("option", { value, selected: value === (this.chosen ?? "") }, label);
    const missing = this.chosen !== null && !fitting.includes(this.chosen);
    fill(this.root, "Adapter",
      element("select", { class: "field", onchange: (event: Event) => void this.choose((event.target as HTMLSelectElement).value || null) },
        option("", "None"), ...fitting.map((name) => option(name, name)), missing && option(this.chosen!, `${this.chosen} (not there)`)));
  }

  private async choose(name: string | null): Promise<void> {
    this.chosen = name;
    this.draw();
    const session = this.session();
    if (!session) return;
    try {
      await this.settle(session);
    } catch (error) {
      toast(`The adapter was not changed: ${(error as Error).message}`, { tone: "problem" });
      this.show(this.kept);
    }
  }
}
