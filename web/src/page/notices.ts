// Banners above the page for states that last: read-only, a full disk, a memory that stopped in mid-work.
import { byId, element, fill, type Child } from "./element";
import { icon, type IconName } from "./icons";
import type { Notebook } from "./notebook";

export interface NoticeActions {
  restart(): void;
  exportAll(): void;
}

export class Notices {
  private readonly root = byId("notices");
  private drawn = "";

  constructor(private readonly notebook: Notebook, private readonly actions: NoticeActions) {
    for (const change of ["phase", "access", "quota"] as const) notebook.on(change, () => this.draw());
  }

  private draw(): void {
    const { phase, readOnly, canTakeOver, quota } = this.notebook;
    const state = JSON.stringify([phase.name, readOnly, canTakeOver, quota?.message]);
    if (state === this.drawn) return; // a redrawn alert would be read out again
    this.drawn = state;
    const restart = button("Take over", this.actions.restart);
    fill(this.root,
      phase.name === "ready" && readOnly && !canTakeOver && notice("info", "This tab reads only.", `${readOnly} You can ask here; adding, rating and deleting work there.`),
      phase.name === "ready" && canTakeOver && notice("info", "The other tab closed.", "This tab can write now.", restart),
      quota && notice("warn", "The disk is full.", "Your last changes are in this tab’s memory and not yet saved. Free some space and try again, or export everything to a file.",
        button("Try again", () => {
          const { retry } = quota;
          this.notebook.clearQuota();
          retry();
        }), button("Export", this.actions.exportAll)));
  }
}

function notice(kind: IconName, title: string, text: string, ...actions: Child[]): HTMLElement {
  return element("div", { class: `notice ${kind}`, role: kind === "warn" ? "alert" : "status" }, icon(kind),
    element("p", {}, element("strong", {}, title), " ", text), actions.length > 0 && element("div", { class: "notice-actions" }, ...actions));
}

function button(label: string, run: () => void): HTMLElement {
  return element("button", { type: "button", class: "quiet-button", onclick: run }, label);
}
