// One conversation: its turns, the question box, and asking.
import { AnswerView } from "./answer";
import { AdapterChoice } from "./beside";
import { byId, element } from "./element";
import { sentence } from "./format";
import { icon } from "./icons";
import type { Notebook } from "./notebook";
import type { Turn } from "./protocol";
import type { CallError } from "./rpc";
import { settings } from "./settings";
import type { SourcesPanel } from "./sources";
import { toast } from "./toasts";

const DRAFT_KEY = "pyruvllm.draft";

export interface ChatEvents {
  /** A chip or a mark was pressed: the panel must be visible. */
  explained(): void;
  /** The answer whose sources the panel shows has changed. */
  selected(view: AnswerView | null): void;
  /** A first question made a session. */
  began(session: string): void;
}

export class Chat {
  session: string | null = null;
  selected: AnswerView | null = null;
  private readonly scroll = byId("chat-scroll");
  private readonly turns = byId("turns");
  private readonly box = byId<HTMLTextAreaElement>("question");
  private readonly send = byId<HTMLButtonElement>("send");
  private running: AbortController | null = null;
  private writing = false; // a language model is at it
  private made = 0;
  private readonly adapter: AdapterChoice;

  constructor(private readonly notebook: Notebook, private readonly panel: SourcesPanel, private readonly welcome: HTMLElement, private readonly events: ChatEvents) {
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.running) return this.stop();
      const text = this.box.value.trim();
      if (!text) return this.box.focus();
      this.setText("");
      void this.ask(text);
    });
    this.box.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (!this.running) byId<HTMLFormElement>("composer").requestSubmit();
    });
    this.box.addEventListener("input", () => this.keepDraft());
    this.setText(sessionStorage.getItem(DRAFT_KEY) ?? "");
    notebook.on("access", () => this.keepDraft());
    this.adapter = new AdapterChoice(notebook, () => this.session);
    byId("composer-note").after(this.adapter.root);
    this.adapter.show(null);
  }

  focus(): void {
    this.box.focus();
  }

  /** An empty conversation. */
  begin(): void {
    this.leave();
    this.session = null;
    this.adapter.show(null);
    this.turns.replaceChildren(this.welcome);
    this.scroll.scrollTop = 0;
  }

  /** A conversation from the memory, its last answer selected. */
  async open(session: string): Promise<void> {
    const { turns, adapter } = await this.notebook.call("session", { id: session });
    this.leave();
    this.session = session;
    this.adapter.show(adapter ?? null); // Python’s None arrives as undefined
    this.turns.replaceChildren();
    let question = "";
    let last: AnswerView | null = null;
    for (const turn of turns) {
      if (turn.role === "user") question = turn.text;
      else last = this.recall(question, turn);
    }
    if (last?.answer) this.select(last, null);
    this.scroll.scrollTop = this.scroll.scrollHeight;
  }

  /** What a model has written so far stays, and is kept; what is only looked up is given up. */
  private stop(): void {
    if (this.writing && this.session) void this.notebook.call("stop", { session: this.session }).catch(() => this.running?.abort());
    else this.running?.abort();
  }

  async ask(text: string): Promise<void> {
    if (this.running) return;
    const running = (this.running = new AbortController());
    if (!this.session) {
      this.session = crypto.randomUUID();
      this.welcome.remove();
      this.events.began(this.session);
    }
    const session = this.session;
    const view = this.turn(text);
    this.busy(true);
    this.follow();
    try {
      await this.notebook.whenReady();
      await this.adapter.settle(session);
      const answer = await this.notebook.call("ask", { text, session, settings: settings() }, {
        signal: running.signal,
        retry: () => void this.ask(text),
        event: (event) => {
          if (event.type === "sources") {
            this.writing = event.generating;
            view.found(event.sources, event.generating ? (this.notebook.model?.name ?? "The model") : null);
          }
          if (event.type === "piece") view.piece(event.text);
        },
      });
      await view.finish(answer);
      if (this.session === session) this.select(view, null);
    } catch (error) {
      if ((error as CallError).kind === "Cancelled") view.stop();
      else view.fail(sentence((error as Error).message));
    } finally {
      this.running = null;
      this.writing = false;
      this.busy(false);
    }
    if (this.notebook.ready) await this.notebook.refreshSessions().catch(() => undefined);
  }

  private leave(): void {
    this.running?.abort();
    this.panel.clear();
    this.selected = null;
    this.events.selected(null);
  }

  private recall(question: string, turn: Turn): AnswerView {
    const view = this.turn(question);
    if (turn.answer) void view.finish(turn.answer, true);
    else view.remembered(turn.text);
    return view;
  }

  private turn(question: string): AnswerView {
    const view = new AnswerView(question, {
      explain: (which, number) => {
        this.select(which, number);
        this.events.explained();
      },
      rate: async (id, quality) => {
        try {
          await this.notebook.call("feedback", { id, quality });
          toast("Thank you, that is recorded in the log");
        } catch (error) {
          toast(`The rating was not saved: ${(error as Error).message}`, { tone: "problem" });
          throw error;
        }
      },
      retry: () => void this.ask(question),
    });
    const id = `turn-${++this.made}`;
    this.turns.append(element("article", { class: "turn", "aria-labelledby": id }, element("h2", { class: "asked", id }, question), view.root));
    return view;
  }

  private select(view: AnswerView, number: number | null): void {
    this.selected = view;
    this.panel.show(view, number);
    this.events.selected(view);
  }

  /** Brings the newest question to the top, so that its answer grows into free space and nothing moves while it is read. */
  private follow(): void {
    const last = this.turns.lastElementChild;
    if (!last) return;
    for (const turn of this.turns.querySelectorAll(".turn.newest")) turn.classList.remove("newest");
    last.classList.add("newest");
    last.scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  }

  private busy(on: boolean): void {
    this.send.setAttribute("aria-label", on ? "Stop" : "Ask");
    this.send.replaceChildren(icon(on ? "stop" : "up"));
    this.send.classList.toggle("stop", on);
  }

  private setText(text: string): void {
    this.box.value = text;
    this.keepDraft();
  }

  /** An unsent question survives a reload of this tab. */
  private keepDraft(): void {
    if (this.notebook.protection) sessionStorage.removeItem(DRAFT_KEY); // the browser may write it to the disk
    else sessionStorage.setItem(DRAFT_KEY, this.box.value);
    this.box.style.setProperty("height", "auto"); // where field-sizing is missing
    if (!CSS.supports("field-sizing", "content")) this.box.style.setProperty("height", `${this.box.scrollHeight}px`);
  }
}
