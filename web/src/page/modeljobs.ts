// Loading and downloading models: one at a time, with how far it is, a way to stop it, and what went wrong.
import { announce } from "./announce";
import type { Notebook } from "./notebook";
import type { CallError, CallOptions } from "./rpc";
import { toast } from "./toasts";

export const BUILT_IN = "built-in";
const LAST_KEY = "pyruvllm.model";
const DRAFT_KEY = "pyruvllm.draft-model";

export interface Job {
  kind: "load" | "download";
  title: string;
  label: string;
  done: number;
  total: number;
  failed: CallError | null;
}

type Source = { id: string } | { file: File; keep: boolean };

export class ModelJobs {
  job: Job | null = null;
  private stopper = new AbortController();
  private repeat: (restart: boolean) => void = () => undefined;
  private readonly listeners = new Set<() => void>();

  constructor(private readonly notebook: Notebook) {}

  on(listener: () => void): void {
    this.listeners.add(listener);
  }

  async load(source: Source, name: string): Promise<void> {
    await this.run("load", `Loading ${name}`, () => void this.load(source, name), async (options) => {
      const { loaded } = await this.notebook.call("model_load", source, options);
      remember(LAST_KEY, "id" in source || source.keep ? loaded.id : null);
      remember(DRAFT_KEY, null);
      toast(`${loaded.name} is loaded and answers from now on`);
    });
    await this.notebook.refreshModel();
  }

  /** A smaller model beside the one that answers. */
  async loadDraft(source: Source, name: string): Promise<void> {
    await this.run("load", `Loading the draft ${name}`, () => void this.loadDraft(source, name), async (options) => {
      const { draft } = await this.notebook.call("draft_load", source, options);
      remember(DRAFT_KEY, "id" in source || source.keep ? draft.id : null);
      toast(`${draft.name} guesses ahead from now on`);
    });
    await this.notebook.refreshModel();
  }

  async unloadDraft(): Promise<void> {
    try {
      await this.notebook.call("draft_unload", {});
      remember(DRAFT_KEY, null);
    } catch (error) {
      toast(`Not unloaded: ${(error as Error).message}`, { tone: "problem" });
    }
    await this.notebook.refreshModel();
  }

  async addAdapter(file: File): Promise<void> {
    await this.run("load", `Adding the adapter ${file.name}`, () => void this.addAdapter(file), async (options) => {
      const { adapter } = await this.notebook.call("adapter_add", { file }, options);
      toast(`“${adapter.name}” can be chosen below the question`);
    });
    await this.notebook.refreshModel();
  }

  async download(id: string, name: string, restart = false): Promise<void> {
    let stored = "";
    await this.run("download", `Downloading ${name}`, (anew) => void this.download(id, name, anew), async (options) => {
      stored = (await this.notebook.call("model_download", { id, restart }, options)).kept.id;
    });
    if (stored) await this.load({ id: stored }, name);
    else await this.notebook.refreshModel();
  }

  async unload(): Promise<void> {
    await this.notebook.call("model_unload", {});
    remember(LAST_KEY, null);
    remember(DRAFT_KEY, null);
    await this.notebook.refreshModel();
  }

  /** The model that was in use when the page was last open, where it still lies here. */
  async restore(): Promise<void> {
    const [last, draft] = [remembered(LAST_KEY), remembered(DRAFT_KEY)];
    if (!last || this.job) return;
    const { kept, built_in } = await this.notebook.call("models", {});
    const found = kept.find((model) => model.id === last && model.complete);
    if (found) await this.load({ id: found.id }, found.name);
    else if (last === BUILT_IN && built_in) await this.load({ id: BUILT_IN }, built_in.title);
    const beside = kept.find((model) => model.id === draft && model.complete);
    if (beside && this.notebook.model) await this.loadDraft({ id: beside.id }, beside.name);
  }

  /** A download is paused by it: what came stays. */
  stop(): void {
    this.stopper.abort();
  }

  /** After a failure: from where it stands, or anew where that cannot be. */
  again(): void {
    const kind = this.job?.failed?.kind;
    this.dismiss();
    this.repeat(kind === "ChangedError" || kind === "RangeError");
  }

  dismiss(): void {
    this.set(null);
  }

  private async run(kind: Job["kind"], title: string, repeat: (restart: boolean) => void, work: (options: CallOptions) => Promise<void>): Promise<void> {
    if (this.job && !this.job.failed) return toast(`${this.job.title} is not done yet`, { tone: "problem" });
    this.stopper = new AbortController();
    this.repeat = repeat;
    this.set({ kind, title, label: "Starting", done: 0, total: 0, failed: null });
    announce(title);
    try {
      await this.notebook.whenReady();
      await work({ signal: this.stopper.signal, event: (event) => {
        if (event.type === "progress" && this.job) this.set({ ...this.job, label: event.label, done: event.done, total: event.total });
      } });
      this.set(null);
    } catch (error) {
      const failure = error as CallError;
      if (failure.kind === "Cancelled") {
        this.set(null);
        toast(kind === "download" ? "Paused. What came is kept, and it goes on from there" : "Stopped: nothing was loaded");
      } else if (this.job) {
        this.set({ ...this.job, failed: failure });
      }
    }
  }

  private set(job: Job | null): void {
    this.job = job;
    for (const listener of this.listeners) listener();
  }
}

function remembered(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function remember(key: string, id: string | null): void {
  try {
    if (id === null) localStorage.removeItem(key);
    else localStorage.setItem(key, id);
  } catch {
    // the next visit begins without a model
  }
}
