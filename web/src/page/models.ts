// The language model: which one answers, which lie on this device, and which can be had. What loads and downloads: modeljobs.ts.
import { AdaptersSection, guessingCard } from "./beside";
import { confirm } from "./dialogs";
import { chooseFiles } from "./drops";
import { byId, element, fill } from "./element";
import { bytes, count, milliseconds, percent, sentence } from "./format";
import { icon } from "./icons";
import { BUILT_IN, type ModelJobs } from "./modeljobs";
import { action, card, figures, row, tag } from "./modelparts";
import type { Notebook } from "./notebook";
import type { CatalogEntry, KeptModel, LoadedModel, Models } from "./protocol";
import { settingsForm } from "./settings";
import { toast } from "./toasts";

const TRUST: Record<KeptModel["trust"], string> = {
  known: "Its sha256 is the one its makers publish.",
  "first use": "Nobody published its sha256; the one it first came with is held to from now on.",
  file: "Copied from a file of yours.",
};
const PLACES: Record<string, string> = {
  opfs: "Model files lie in this browser’s private file system and are read there in place.",
  indexeddb: "This browser has no private file system for pages, so model files lie in its database (IndexedDB), in pieces.",
};

export class ModelsView {
  private readonly root = byId("view-models");
  private readonly use = element("div", { class: "model-cards" });
  private readonly job = element("div", { class: "model-job" });
  private readonly kept = element("section", { class: "model-section", "aria-labelledby": "kept-models-title" });
  private readonly catalog = element("section", { class: "model-section", "aria-labelledby": "catalog-title" });
  private readonly own = element("section", { class: "model-section", "aria-labelledby": "own-model-title" });
  private readonly adapters: AdaptersSection;
  private models: Models | null = null;

  constructor(private readonly notebook: Notebook, private readonly jobs: ModelJobs) {
    this.adapters = new AdaptersSection(notebook, jobs);
    fill(this.root, element("div", { class: "page-column" },
      element("header", { class: "page-head" }, element("h2", { class: "page-title" }, "Language model"),
        element("p", { class: "page-lede" }, "Without a model, answers are sentences quoted from your notes. With one, they are written for you from what was found, and name their sources. The model runs here, in this tab; only its file is ever downloaded.")),
      this.use, this.job, settingsForm(), this.adapters.root, this.kept, this.catalog, this.own));
    this.drawOwn();
    notebook.on("model", () => {
      if (!this.root.hidden) void this.load();
    });
    jobs.on(() => this.drawJob());
    addEventListener("online", () => this.models && this.drawCatalog(this.models));
    addEventListener("offline", () => this.models && this.drawCatalog(this.models));
  }

  async load(): Promise<void> {
    try {
      await this.notebook.whenReady();
      this.models = await this.notebook.call("models", {});
      this.notebook.know(this.models);
      this.drawUse(this.models);
      this.adapters.draw(this.models.adapters, this.models.loaded);
      this.drawKept(this.models);
      this.drawCatalog(this.models);
    } catch (error) {
      fill(this.use, warning(`The models could not be read: ${(error as Error).message}`));
    }
    this.drawJob();
  }

  /** A file that was dropped or chosen. */
  open(file: File): void {
    location.hash = "#/models";
    void this.jobs.load({ file, keep: this.keeps() }, file.name);
  }

  private keeps(): boolean {
    return this.own.querySelector<HTMLInputElement>("#keep-copy")?.checked ?? false;
  }

  private drawUse({ loaded, kernels }: Models): void {
    if (!kernels) return fill(this.use, warning("This installation has no kernels, and language models need them. Answers are quoted from your notes."));
    if (!loaded) {
      return fill(this.use, card("In use", element("p", { class: "kept" }, icon("info"), "No language model"),
        element("p", { class: "quiet" }, "Answers are quoted from your notes, word for word. Load a model below to have them written.")));
    }
    fill(this.use,
      card("In use", element("p", { class: "kept" }, icon("check"), loaded.name),
        element("p", { class: "quiet" }, "It answers from what is found in your notes, on this device."),
        element("button", { type: "button", class: "button plain", onclick: () => void this.unload(loaded) }, "Unload")),
      card("Measured here", figures(measured(loaded)), element("p", { class: "quiet" }, loaded.last ? "The speeds are those of the last answer." : "Speeds appear here after its first answer."),
        element("a", { href: "#/memory" }, "What holds how much")),
      guessingCard(loaded, this.jobs, () => this.keeps()));
  }

  private drawJob(): void {
    const { job } = this.jobs;
    if (!job) return fill(this.job);
    const bar = element("progress", { class: "job-bar", "aria-label": job.label, ...(job.total ? { max: job.total, value: job.done } : {}) });
    const figure = job.total ? `${bytes(job.done)} of ${bytes(job.total)}` : job.done ? bytes(job.done) : "";
    const pausable = job.kind === "download";
    fill(this.job, element("section", { class: job.failed ? "card problem" : "card", "aria-label": job.title },
      element("div", { class: "job-head" }, element("p", { class: "job-title" }, job.title),
        job.failed
          ? element("button", { type: "button", class: "quiet-button", onclick: () => this.jobs.dismiss() }, "Dismiss")
          : element("button", { type: "button", class: "quiet-button", onclick: () => this.jobs.stop() }, pausable ? "Pause" : "Cancel")),
      job.failed
        ? element("p", { class: "failure-message", role: "alert" }, icon("warn"), element("span", {}, sentence(job.failed.message)))
        : element("div", { class: "job-body" }, bar, element("div", { class: "job-row" }, element("p", { class: "job-label" }, job.label), element("span", { class: "mono job-figure" }, figure))),
      job.failed && element("div", { class: "button-row" },
        element("button", { type: "button", class: "button plain", onclick: () => this.jobs.again() }, job.failed.kind === "ChangedError" || job.failed.kind === "RangeError" ? "Start over" : "Try again"))));
  }

  private drawKept({ kept, store, loaded }: Models): void {
    const where = store.problem ? warning(`No model file can be kept here: ${store.problem}`) : element("p", { class: "quiet" }, PLACES[store.kind ?? ""] ?? "");
    const total = kept.reduce((sum, model) => sum + model.done, 0);
    fill(this.kept, element("h3", { class: "section-title", id: "kept-models-title" }, "On this device"), where,
      kept.length ? element("ul", { class: "model-list" }, ...kept.map((model) => this.keptRow(model, loaded)))
        : !store.problem && element("p", { class: "rail-empty" }, "No model file is kept here yet."),
      kept.length > 1 && element("p", { class: "quiet" }, `${bytes(total)} in all.`));
  }

  private keptRow(model: KeptModel, loaded: LoadedModel | null): HTMLElement {
    const inUse = loaded?.id === model.id;
    const drafts = loaded?.draft?.id === model.id;
    const state = model.complete ? `${bytes(model.size)}. ${TRUST[model.trust]}` : `${bytes(model.done)}${model.size ? ` of ${bytes(model.size)} (${percent(model.done / model.size)})` : ""} are here.`;
    return row(model.name, [inUse && tag("In use"), drafts && tag("Draft"), !model.complete && tag("Not all here")],
      element("p", { class: "quiet", title: model.sha256 ?? null }, state, model.sha256 && element("span", { class: "mono hash" }, ` sha256 ${model.sha256.slice(0, 12)}…`)),
      model.complete && loaded && !inUse && !drafts && action("Use as draft", `Use ${model.name} as draft`, () => void this.jobs.loadDraft({ id: model.id }, model.name)),
      model.complete
        ? !inUse && action("Load", `Load ${model.name}`, () => void this.jobs.load({ id: model.id }, model.name))
        : action("Resume", `Resume downloading ${model.name}`, () => void this.jobs.download(model.entry ?? model.url ?? model.id, model.name)),
      element("button", { type: "button", class: "icon-button", "aria-label": `Delete ${model.name}`, title: "Delete", onclick: () => void this.delete(model) }, icon("trash")));
  }

  private drawCatalog({ built_in, catalog, kept, loaded }: Models): void {
    const here = new Set(kept.filter((model) => model.complete).map((model) => model.entry));
    const offline = !navigator.onLine;
    fill(this.catalog, element("h3", { class: "section-title", id: "catalog-title" }, "Get a model"),
      element("p", { class: "quiet" }, offline
        ? "This device is offline: nothing can be downloaded now. A model file that you have can be opened below."
        : "From their makers’ repositories at Hugging Face, which see the address of whoever downloads. What is needed is computed from each model’s shape, with room for a conversation of 4,096 tokens. Where no sha256 is published, the one that a file first comes with is held to from then on."),
      element("ul", { class: "model-list" },
        built_in && row(built_in.title, [tag("Comes with this page")], element("p", { class: "quiet" }, `${bytes(built_in.size)}. ${built_in.licence}. It answers with a few words copied out of one note, or that the notes do not say. It knows nothing else and does not remember the conversation, and about four in ten of its answers are wrong: read the note beside the answer.`),
          loaded?.id !== BUILT_IN && action("Load", `Load ${built_in.title}`, () => void this.jobs.load({ id: BUILT_IN }, built_in.title))),
        ...catalog.map((entry) => this.catalogRow(entry, here.has(entry.id), offline))));
  }

  private catalogRow(entry: CatalogEntry, here: boolean, offline: boolean): HTMLElement {
    const { verdict, why } = entry.fit;
    const marks = { fits: tag("Fits this device"), tight: tag("Tight"), "too large": element("span", { class: "tag bad" }, "Too large here") };
    return row(entry.title, [marks[verdict], here && tag("On this device")],
      element("p", { class: "quiet" }, `${entry.maker}. ${bytes(entry.size)} to download, ${entry.quantization}. ${why} Licence: ${entry.licence}. ${entry.pinned ? "Checked against its published sha256." : "Its sha256 is pinned at the first download."}`),
      here
        ? action("Load", `Load ${entry.title}`, () => void this.jobs.load({ id: entry.id }, entry.title))
        : action("Download", `Download ${entry.title}`, () => void this.jobs.download(entry.id, entry.title), offline || verdict === "too large"));
  }

  private drawOwn(): void {
    const address = element("input", { class: "field", type: "url", id: "model-address", placeholder: "https://huggingface.co/…/model.gguf", autocomplete: "off", required: true });
    const form = element("form", { class: "address-form", onsubmit: (event: SubmitEvent) => {
      event.preventDefault();
      void this.jobs.download(address.value.trim(), address.value.trim().split("/").pop() ?? "model");
    } }, element("div", { class: "field-group grow" }, element("label", { class: "field-label", for: "model-address" }, "Address of a GGUF file at Hugging Face"), address), element("button", { type: "submit", class: "button plain" }, "Download"));
    fill(this.own, element("h3", { class: "section-title", id: "own-model-title" }, "A file of yours"),
      element("p", { class: "quiet" }, "Any GGUF file of an LFM2, Llama, SmolLM or Qwen model. It can also be dropped anywhere on this page."),
      element("div", { class: "button-row" },
        element("button", { type: "button", class: "button plain", onclick: () => chooseFiles(([file]) => file && this.open(file), { accept: ".gguf", multiple: false }) }, icon("file"), "Open a model file"),
        element("label", { class: "check", for: "keep-copy" }, element("input", { type: "checkbox", id: "keep-copy" }), element("span", {}, "Keep a copy in this browser"))),
      form);
  }

  private async unload(loaded: LoadedModel): Promise<void> {
    try {
      await this.jobs.unload();
      toast(`${loaded.name} is unloaded: ${bytes(loaded.nbytes)} are free again for what comes next`);
    } catch (error) {
      toast(`Not unloaded: ${(error as Error).message}`, { tone: "problem" });
    }
  }

  private async delete(model: KeptModel): Promise<void> {
    const agreed = await confirm({ title: "Delete this model file?", text: `“${model.name}” (${bytes(model.done)}) is deleted from this browser. It can be downloaded again.`, confirm: "Delete", danger: true });
    if (!agreed) return;
    try {
      await this.notebook.call("model_delete", { id: model.id });
      toast(`“${model.name}” is deleted: ${bytes(model.done)} are free again`);
    } catch (error) {
      toast(`Not deleted: ${(error as Error).message}`, { tone: "problem" });
    }
    await this.load();
  }
}

function measured(loaded: LoadedModel): [string, string][] {
  const { last } = loaded;
  return [
    ["Memory", bytes(loaded.nbytes)], ["Context", `${count(loaded.context)} tokens`], ["Loaded in", milliseconds(loaded.load_ms)],
    ["Written per second", last?.tokens_per_second ? `${last.tokens_per_second.toFixed(1)} tokens` : "not yet known"],
    ["First word after", last ? milliseconds(last.first_token_ms) : "not yet known"],
  ];
}

const warning = (text: string): HTMLElement => element("p", { class: "failure-message" }, icon("warn"), element("span", {}, text));
