// What the notebook takes on this device, how safely it lies there, and how to take it along or delete it.
import { announce } from "./announce";
import { confirm } from "./dialogs";
import { download } from "./download";
import { chooseFiles } from "./drops";
import { byId, element, fill, type Child } from "./element";
import { bytes, count, fileDate, milliseconds, plural } from "./format";
import { icon } from "./icons";
import type { Notebook } from "./notebook";
import { askPassphrase } from "./passphrase";
import type { Share, Stats, StorageReport } from "./protocol";
import { toast } from "./toasts";

export class StorageView {
  private readonly root = byId("view-storage");
  private readonly figures = element("div", { class: "storage-figures", "aria-live": "off" });
  private readonly shares = element("div", {});
  private readonly backup = element("div", { class: "storage-actions" });

  constructor(private readonly notebook: Notebook, protection: HTMLElement) {
    fill(this.root, element("div", { class: "page-column" },
      element("header", { class: "page-head" }, element("h2", { class: "page-title" }, "Storage"),
        element("p", { class: "page-lede" }, "Everything lies in this browser, on this device, under this page’s address. Nobody else can read it over the network, and nobody can restore it for you.")),
      this.figures, protection, this.shares, this.backup));
    notebook.on("access", () => this.drawActions());
    this.drawActions();
  }

  async load(): Promise<void> {
    this.drawActions();
    try {
      await this.notebook.whenReady();
      const [stats, estimate, persisted] = await Promise.all([this.notebook.call("stats", {}), navigator.storage?.estimate?.() ?? {}, navigator.storage?.persisted?.() ?? false]);
      this.draw(stats, estimate, persisted);
      fill(this.shares, sharesCard((await this.notebook.call("storage", {})).report));
    } catch (error) {
      fill(this.figures, element("p", { class: "failure-message" }, icon("warn"), element("span", {}, `The figures could not be read: ${(error as Error).message}`)));
    }
  }

  /** Everything as one file, named by today's date: plain, or sealed under a passphrase. */
  async exportAll(passphrase?: string): Promise<void> {
    if (passphrase === undefined && this.notebook.protection) {
      const agreed = await confirm({ title: "Export without protection?", text: "Whoever has the file can read everything in it. A sealed export is encrypted under a passphrase.", confirm: "Export unprotected", danger: true });
      if (!agreed) return;
    }
    announce("Preparing the export");
    try {
      const { bytes: content } = await this.notebook.call("export", passphrase === undefined ? {} : { passphrase });
      const name = `notebook-${fileDate()}.pyruvllm.${passphrase === undefined ? "sqlite" : "sealed"}`;
      download(name, [content], passphrase === undefined ? "application/vnd.sqlite3" : "application/octet-stream");
      toast(`Exported ${bytes(content.byteLength)} to ${name}`);
    } catch (error) {
      toast(`Nothing was exported: ${(error as Error).message}`, { tone: "problem" });
    }
  }

  private async exportSealed(): Promise<void> {
    const passphrase = await askPassphrase("Sealed export", "The file is encrypted under this passphrase. It opens in any browser and in Python with it, and with nothing else.", "Export", true);
    if (passphrase) await this.exportAll(passphrase);
  }

  async erase(): Promise<void> {
    const agreed = await confirm({ title: "Delete everything?", text: "Every document, conversation and log entry on this device is deleted. Only an exported file could bring it back.", confirm: "Delete everything", danger: true, type: "delete" });
    if (!agreed) return;
    try {
      await this.notebook.call("erase", {});
      this.notebook.questions = [];
      sessionStorage.clear();
      location.assign(location.pathname);
    } catch (error) {
      toast(`Not deleted: ${(error as Error).message}`, { tone: "problem" });
    }
  }

  private restore(): void {
    chooseFiles(async ([file]) => {
      if (!file) return;
      const agreed = await confirm({ title: "Replace everything?", text: `“${file.name}” (${bytes(file.size)}) takes the place of all that is here: ${plural(this.notebook.documents.length, "document")} and ${plural(this.notebook.sessions.length, "conversation")}. Export first to keep them.`, confirm: "Replace", danger: true });
      if (!agreed) return;
      try {
        const content = await file.arrayBuffer();
        const passphrase = isSealed(content) ? await askPassphrase("A sealed file", `“${file.name}” is encrypted: its passphrase opens it.`, "Import", false) : undefined;
        if (passphrase === null) return;
        const { counts } = await this.notebook.call("import", passphrase === undefined ? { bytes: content } : { bytes: content, passphrase }, { transfer: [content] });
        await Promise.all([this.notebook.refreshLibrary(), this.notebook.refreshSessions()]);
        toast(`Imported ${plural(counts.documents ?? 0, "document")} and ${plural(counts.passages ?? 0, "passage")}`);
        location.hash = "#/storage";
        await this.load();
      } catch (error) {
        toast(`Not imported, everything is as it was: ${(error as Error).message}`, { tone: "problem" });
      }
    }, { accept: ".sqlite,.sealed,.pyruvllm,.db,application/vnd.sqlite3", multiple: false });
  }

  async makeRoom(): Promise<void> {
    try {
      const { room } = await this.notebook.call("make_room", {});
      const gained = room.before - room.after;
      toast(gained > 0 ? `${bytes(gained)} made free: ${plural(room.embeddings, "kept calculation")} let go, nothing of yours` : "There was nothing to let go of");
      await this.load();
    } catch (error) {
      toast(`No room was made, everything is as it was: ${(error as Error).message}`, { tone: "problem" });
    }
  }

  private async persist(): Promise<void> {
    const granted = (await navigator.storage?.persist?.()) ?? false;
    toast(granted ? "The browser will keep this notebook until you delete it" : "The browser declined for now; it may agree once you use the page more, or bookmark or install it");
    await this.load();
  }

  private draw(stats: Stats, estimate: StorageEstimate, persisted: boolean): void {
    const { storage, memory, counts, writeback } = stats;
    const usage = storage.usage_bytes ?? estimate.usage ?? null;
    const quota = storage.quota_bytes ?? estimate.quota ?? null;
    const size = element("div", { class: "gauge", role: "img", "aria-label": quota ? `${bytes(usage ?? 0)} of ${bytes(quota)} used` : bytes(storage.database_bytes) }, element("span", { class: "gauge-fill" }));
    size.style.setProperty("--value", String(quota ? Math.min(1, (usage ?? 0) / quota) : 0));
    fill(this.figures,
      element("section", { class: "card hero-figure", "aria-labelledby": "size-title" },
        element("h3", { class: "small-title", id: "size-title" }, "Notebook"),
        element("p", { class: "big-figure" }, bytes(storage.database_bytes)),
        quota !== null && size,
        element("p", { class: "quiet" }, quota === null ? "This browser does not say how much room there is." : `This page uses ${bytes(usage ?? 0)}, the program’s files included; the browser allows about ${bytes(quota)}.`)),
      element("section", { class: "card", "aria-labelledby": "kept-title" },
        element("h3", { class: "small-title", id: "kept-title" }, "Kept"),
        element("p", { class: "kept" }, icon(persisted ? "check" : "info"), persisted ? "Until you delete it" : "Until the browser needs room"),
        element("p", { class: "quiet" }, persisted ? "The browser promised not to clear it by itself." : "A browser short of space may clear pages that were not used for long. You can ask it not to."),
        !persisted && element("button", { type: "button", class: "button plain", onclick: () => void this.persist() }, "Ask to keep it")),
      facts("Holds", [["Documents", count(counts.documents ?? 0)], ["Passages", count(counts.passages ?? 0)], ["Conversations", count(counts.sessions ?? 0)], ["Log entries", count(counts.witness ?? 0)]]),
      facts("Runs", [
        ["Memory of the worker", bytes(memory.heap_bytes)],
        ["Waiting to be written", count(writeback.queued)],
        ["Written since start", count(writeback.written)],
        ["Dropped", count(writeback.dropped)],
        ["Last save took", stats.durable_ms === null || stats.durable_ms === undefined ? "none yet" : milliseconds(stats.durable_ms)],
        ["Embedding space", spaceName(stats.space)],
        ["Saved by", this.notebook.role === "follower" ? "the other open tab" : "this tab"],
      ]));
  }

  private drawActions(): void {
    const blocked = this.notebook.readOnly;
    const action = (title: string, text: string, button: HTMLElement) => element("div", { class: "action-row" }, element("div", {}, element("h3", { class: "action-title" }, title), element("p", { class: "quiet" }, text)), button);
    const button = (label: string, kind: string, run: () => void, writes: boolean) =>
      element("button", { type: "button", class: `button ${kind}`, disabled: writes && Boolean(blocked), title: writes && blocked ? blocked : null, onclick: run }, label);
    fill(this.backup,
      action("Export", "One SQLite file with every note, conversation and log entry.", button("Export", "plain", () => void this.exportAll(), false)),
      action("Sealed export", "The same, encrypted under a passphrase of its own, for another browser or computer.", button("Save sealed", "plain", () => void this.exportSealed(), false)),
      action("Import", "Puts an exported file in the place of what is here. You are asked first.", button("Import", "plain", () => this.restore(), true)),
      action("Make room", "Lets go of what can be calculated again and gives free space back. Nothing you wrote is touched.", button("Make room", "plain", () => void this.makeRoom(), true)),
      action("Delete everything", "Removes the notebook from this device. You are asked first.", button("Delete", "plain danger-text", () => void this.erase(), true)),
      blocked && element("p", { class: "quiet" }, blocked));
  }
}

const NAMES: Record<string, string> = { documents: "Notes and their passages", sessions: "Conversations", witness: "Witness log", policies: "Settings", patterns: "Patterns" };

/** Where the bytes are, the largest first; the last line is the sum. */
function sharesCard(report: StorageReport): HTMLElement {
  const line = (name: string, size: number, detail = "") =>
    element("div", { class: "figure-row" }, element("dt", {}, name, detail && element("span", { class: "share-detail" }, detail)), element("dd", {}, bytes(size)));
  const parts = (share: Share) =>
    [plural(share.rows, "record"), `text ${bytes(share.text)}`, `words ${bytes(share.words)}`, `vectors ${bytes(share.vectors)}`, share.index > 0 && `index ${bytes(share.index)}`, share.edges > 0 && plural(share.edges, "link")]
      .filter(Boolean).join(" · ");
  const caches = Object.values(report.caches).reduce((sum, size) => sum + size, 0);
  const other = Object.values(report.other).reduce((sum, size) => sum + size, 0);
  return element("section", { class: "card", "aria-labelledby": "shares-title" },
    element("h3", { class: "small-title", id: "shares-title" }, "Where the space goes"),
    element("dl", { class: "figures" },
      ...report.collections.map((share) => line(NAMES[share.name] ?? share.name, share.bytes, parts(share))),
      line("Links between them", report.edges),
      line("Kept calculations", caches, "made again when they are let go"),
      other > 0 && line("Everything else", other),
      line("Order", report.structure, "keys, numbers, lookup tables and unused ends of pages"),
      line("Free", report.free, "filled by what you add next"),
      element("div", { class: "figure-row total" }, element("dt", {}, "All of it"), element("dd", {}, bytes(report.size)))));
}

/** Whether a file is a sealed memory: its application id, "PRvS", in the header of a SQLite file. */
function isSealed(content: ArrayBuffer): boolean {
  return new TextDecoder("latin1").decode(content.slice(68, 72)) === "PRvS";
}

function facts(title: string, rows: [string, string][]): HTMLElement {
  const children: Child[] = rows.map(([label, value]) => element("div", { class: "figure-row" }, element("dt", {}, label), element("dd", {}, value)));
  return element("section", { class: "card" }, element("h3", { class: "small-title" }, title), element("dl", { class: "figures" }, ...children));
}

function spaceName(space: unknown): string {
  if (typeof space === "string") return space;
  const fields = (space ?? {}) as Record<string, unknown>;
  return String(fields.name ?? fields.key ?? fields.model ?? "unknown");
}
