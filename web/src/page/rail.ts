// The two lists of the rail: conversations, and the library of documents.
import { byId, element, fill } from "./element";
import { moment, plural } from "./format";
import { icon } from "./icons";
import { walkable } from "./lists";
import type { Notebook } from "./notebook";
import type { DocumentInfo, SessionInfo } from "./protocol";

export interface RailActions {
  read(document: DocumentInfo): void;
  forgetDocument(document: DocumentInfo): void;
  forgetSession(session: SessionInfo): void;
}

const FILTER_FROM = 9; // documents; with fewer the eye is faster
const SHOWN = 200;

export class Rail {
  private readonly conversations = byId("conversations");
  private readonly library = byId("library");
  private readonly list = element("ul", { class: "rail-list" });
  private readonly filter = element("input", { class: "field rail-filter", type: "search", "aria-label": "Find in library", placeholder: "Find in library", autocomplete: "off" });
  private current: string | null = null;

  constructor(private readonly notebook: Notebook, private readonly actions: RailActions) {
    this.filter.addEventListener("input", () => this.drawLibrary());
    notebook.on("library", () => this.drawLibrary());
    notebook.on("sessions", () => this.drawSessions());
    notebook.on("access", () => (this.drawLibrary(), this.drawSessions()));
    walkable(this.conversations, ".rail-item-open");
    walkable(this.library, ".rail-item-open");
  }

  /** Marks the conversation that is open. */
  select(session: string | null): void {
    this.current = session;
    this.drawSessions();
  }

  private drawSessions(): void {
    const { sessions, readOnly } = this.notebook;
    if (!sessions.length) return fill(this.conversations, element("p", { class: "rail-empty" }, "None yet"));
    fill(this.conversations, element("ul", { class: "rail-list" }, ...sessions.map((session) => {
      const title = session.title || "Untitled";
      return element("li", { class: "rail-item" },
        element("a", { class: "rail-item-open", href: `#/c/${encodeURIComponent(session.id)}`, "aria-current": session.id === this.current ? "page" : null, title: `${title}, ${moment(session.last_active)}` }, element("span", { class: "rail-item-title" }, title)),
        !readOnly && remover(`Forget conversation ${title}`, () => this.actions.forgetSession(session)));
    })));
  }

  private drawLibrary(): void {
    const { documents, readOnly } = this.notebook;
    if (!documents.length) return fill(this.library, element("p", { class: "rail-empty" }, "Nothing remembered yet"));
    const wanted = this.filter.value.trim().toLowerCase();
    const found = wanted ? documents.filter((document) => document.title.toLowerCase().includes(wanted)) : documents;
    fill(this.list, ...found.slice(0, SHOWN).map((document) =>
      element("li", { class: "rail-item" },
        element("button", { type: "button", class: "rail-item-open", "aria-haspopup": "dialog", title: document.title, onclick: () => this.actions.read(document) },
          element("span", { class: "rail-item-title" }, document.title), element("span", { class: "rail-item-figure mono", "aria-label": plural(document.passages, "passage") }, String(document.passages))),
        !readOnly && remover(`Forget document ${document.title}`, () => this.actions.forgetDocument(document)))));
    const hint = !found.length ? "No title has these letters" : found.length > SHOWN ? `${found.length - SHOWN} more: type to find them` : "";
    const wanting = documents.length >= FILTER_FROM;
    if (this.library.firstElementChild === this.filter && wanting) {
      while (this.filter.nextSibling) this.filter.nextSibling.remove(); // the field keeps the focus while one types
      this.library.append(this.list);
    } else fill(this.library, wanting && this.filter, this.list);
    if (hint) this.library.append(element("p", { class: "rail-empty" }, hint));
  }
}

function remover(label: string, run: () => void): HTMLElement {
  return element("button", { type: "button", class: "icon-button small rail-item-remove", "aria-label": label, title: "Forget", onclick: run }, icon("trash"));
}
