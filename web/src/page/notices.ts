// Banners above the page for states that last: read-only, a full disk, a memory that stopped in mid-work.
import { byId, element, fill, type Child } from "./element";
import { icon, type IconName } from "./icons";
import type { Notebook } from "./notebook";

export interface NoticeActions {
  restart(): void;
  exportAll(): void;
  makeRoom(): Promise<void>;
}

export class Notices {
  private readonly root = byId("notices");
  private drawn = "";

  constructor(private readonly notebook: Notebook, private readonly actions: NoticeActions) {
    for (const change of ["phase", "access", "quota"] as const) notebook.on(change, () => this.draw());
  }

  private draw(): void {
    const { phase, readOnly, took, quota } = this.notebook;
    const state = JSON.stringify([phase.name, readOnly, took, quota?.message]);
    if (state === this.drawn) return; // a redrawn alert would be read out again
    this.drawn = state;
    fill(this.root,
      phase.name === "ready" && readOnly && notice("info", "This tab reads only.", readOnly, button("Start again", this.actions.restart)),
      phase.name === "ready" && took && notice("info", "This tab saves now.", `${sentence(took)} Nothing that was saved is lost.`),
      quota && notice("warn", "The disk is full.", "What was saved before is safe; your last change is not saved yet. Make room here or on the device and try again, or export everything to a file.",
        button("Make room", () => {
          const { retry } = quota;
          this.notebook.clearQuota();
          void this.actions.makeRoom().then(retry);
        }),
        button("Try again", () => {
          const { retry } = quota;
          this.notebook.clearQuota();
          retry();
        }), button("Export", this.actions.exportAll)));
  }
}

function sentence(text: string): string {
  return `${text[0]!.toUpperCase()}${text.slice(1)}.`;
}

function notice(kind: IconName, title: string, text: string, ...actions: Child[]): HTMLElement {
  return element("div", { class: `notice ${kind}`, role: kind === "warn" ? "alert" : "status" }, icon(kind),
    element("p", {}, element("strong", {}, title), " ", text), actions.length > 0 && element("div", { class: "notice-actions" }, ...actions));
}

function button(label: string, run: () => void): HTMLElement {
  return element("button", { type: "button", class: "quiet-button", onclick: run }, label);
}
