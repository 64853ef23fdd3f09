// One answer on the page: waiting, growing, finished, stopped or failed.
import { announce } from "./announce";
import { element, fill } from "./element";
import { milliseconds, percent, plural } from "./format";
import { icon } from "./icons";
import { latencyBar, latencyFigures } from "./latency";
import { Pace } from "./pace";
import { block, blocks, spoken } from "./prose";
import type { Answer, Source } from "./protocol";

export interface AnswerActions {
  /** Shows the sources of this answer, with one of them in front. */
  explain(view: AnswerView, number: number | null): void;
  rate(id: string, quality: number): Promise<void>;
  retry(): void;
}

export class AnswerView {
  readonly root = element("div", { class: "answer", "aria-busy": "true" });
  sources: Source[] = [];
  answer: Answer | null = null;

  private readonly state = element("p", { class: "answer-state" }, "Looking through your notes");
  private readonly prose = element("div", { class: "prose" });
  private readonly chips = element("ul", { class: "chips", "aria-label": "Sources" });
  private readonly foot = element("div", { class: "answer-foot" });
  private readonly pace = new Pace((text) => this.show(text));
  private shown: string[] = [];
  private writer: string | null = null; // the model that writes it

  constructor(readonly question: string, private readonly actions: AnswerActions) {
    this.prose.append(...[0, 1, 2].map(() => element("span", { class: "skeleton-line", "aria-hidden": "true" })));
    this.root.append(this.state, this.prose, this.chips, this.foot);
  }

  /** The passages were found; the text is being put together, or written by a model. */
  found(sources: Source[], model: string | null): void {
    this.sources = sources;
    const passages = plural(sources.length, "passage");
    this.state.textContent = model ? `${model} reads ${sources.length ? passages : "the question"}` : `Reading ${passages}`;
    if (model) this.writer = model;
  }

  piece(text: string): void {
    if (this.writer) this.state.textContent = `${this.writer} is writing`;
    this.pace.add(text);
  }

  /** The whole answer is there. Said once, as sentences, to screen readers. */
  async finish(answer: Answer, quiet = false): Promise<void> {
    this.answer = answer;
    this.sources = answer.sources;
    if (!quiet) await this.pace.finish();
    this.show(answer.text);
    this.root.setAttribute("aria-busy", "false");
    this.root.classList.toggle("nothing", answer.kind === "none");
    this.state.remove();
    this.drawChips();
    this.drawFoot(answer);
    if (!quiet) announce(answer.kind === "none" ? spoken(answer.text) : `Answer: ${spoken(answer.text)} ${plural(this.cited().length, "source")}.`);
  }

  /** A turn of which only the words were kept. */
  remembered(text: string): void {
    this.show(text);
    this.root.setAttribute("aria-busy", "false");
    this.state.remove();
  }

  stop(): void {
    this.end("Stopped. Nothing more was looked up.", false);
  }

  fail(message: string): void {
    this.end(message, true);
  }

  /** The sources that the text quotes, in order. */
  cited(): Source[] {
    const text = this.answer?.text ?? this.shown.join("\n\n");
    const numbers = new Set([...text.matchAll(/\[(\d{1,2})\]/g)].map((match) => Number(match[1])));
    return this.sources.filter((source) => numbers.has(source.number));
  }

  /** Marks the chip whose source is in front in the panel. */
  mark(number: number | null): void {
    for (const chip of this.chips.querySelectorAll("button")) chip.setAttribute("aria-pressed", String(Number(chip.dataset.number) === number));
  }

  private end(message: string, failed: boolean): void {
    this.root.setAttribute("aria-busy", "false");
    this.root.classList.toggle("failed", failed);
    for (const line of this.prose.querySelectorAll(".skeleton-line")) line.remove();
    this.state.textContent = message;
    fill(this.foot, element("button", { type: "button", class: "quiet-button", onclick: () => this.actions.retry() }, "Ask again"));
    announce(message);
  }

  /** Redraws only the blocks that changed: finished paragraphs stay as they are, selections in them too. */
  private show(text: string): void {
    const parts = blocks(text);
    if (!parts.length) return;
    if (!this.shown.length) this.prose.replaceChildren();
    for (const [at, part] of parts.entries()) {
      const known = this.shown[at];
      if (known === part) continue;
      const made = block(part, this.sources, (number) => this.actions.explain(this, number));
      const old = this.prose.children[at];
      if (old) old.replaceWith(made);
      else this.prose.append(made);
    }
    this.shown = parts;
  }

  private drawChips(): void {
    const cited = this.cited();
    const rest = this.sources.length - cited.length;
    const chip = (source: Source) => element("li", {},
      element("button", { type: "button", class: "chip", "aria-pressed": "false", "data-number": source.number, "aria-label": `Source ${source.number}: ${source.title}`,
        onclick: () => this.actions.explain(this, source.number) },
        element("span", { class: "chip-number", "data-number": source.number }), element("span", { class: "chip-title" }, source.title)));
    fill(this.chips, ...cited.map(chip),
      rest > 0 && element("li", {}, element("button", { type: "button", class: "chip more", onclick: () => this.actions.explain(this, null) }, cited.length ? `${rest} more found` : `${plural(rest, "passage")} found`)));
  }

  private drawFoot(answer: Answer): void {
    const good = this.thumb("good", "Good answer", 1);
    const poor = this.thumb("poor", "Poor answer", 0);
    const copy = element("button", { type: "button", class: "icon-button small", "aria-label": "Copy answer", title: "Copy answer", onclick: async () => {
      await navigator.clipboard.writeText(answer.text);
      copy.replaceChildren(icon("check"));
      announce("Copied");
      setTimeout(() => copy.replaceChildren(icon("copy")), 1600);
    } }, icon("copy"));
    const { routing, generated } = answer;
    const label = { generated: `Written by ${generated?.model ?? "a language model"}`, extractive: "Quoted from memory", none: "No answer found" }[answer.kind];
    const told = {
      generated: this.sources.length ? "A language model on this device wrote this from the passages beside it. It can be wrong: what it cites is there to compare." : "A language model on this device wrote this without any passage of your notes: it may know nothing of what you ask.",
      extractive: "Composed of sentences from your notes, quoted as you wrote them. Nothing here was generated.",
      none: "No sentence in your notes came near enough to the question, so nothing is claimed.",
    }[answer.kind];
    const notes = answer.notes ?? [];
    const details = element("details", { class: "made" },
      element("summary", { class: "made-summary" },
        element("span", { class: "made-label" }, label), latencyBar(answer.latency),
        element("span", { class: "made-time" }, milliseconds(answer.latency.total_ms)),
        element("span", { class: "visually-hidden" }, ", how this answer was made"), icon("chevron")),
      element("div", { class: "made-body" },
        element("p", {}, told),
        generated?.guessing && element("p", {}, `Guessed ahead: ${generated.guessing}.`),
        notes.length > 0 && element("ul", { class: "made-notes" }, ...notes.map((note) => element("li", {}, note))),
        element("div", { class: "made-columns" },
          latencyFigures(answer.latency),
          generated && element("dl", { class: "figures" },
            row("Model", generated.model), row("Read", plural(generated.prompt_tokens, "token")), row("Written", plural(generated.completion_tokens, "token")),
            row("First word after", milliseconds(generated.first_token_ms)), row("Per second", generated.tokens_per_second ? `${generated.tokens_per_second.toFixed(1)} tokens` : "too short to tell")),
          element("dl", { class: "figures" },
            row("Router’s choice", routing.model), row("Policy", routing.policy), row("Confidence", percent(routing.confidence)),
            row("Context", plural(routing.context_size, "token")), row("Temperature, top-p", `${routing.temperature}, ${routing.top_p}`),
            row("Witnessed", answer.recorded ? "in the log" : "no, this tab is read-only")))));
    fill(this.foot, details, element("div", { class: "answer-tools" }, answer.recorded && good, answer.recorded && poor, copy));
  }

  private thumb(name: "good" | "poor", label: string, quality: number): HTMLButtonElement {
    const button = element("button", { type: "button", class: "icon-button small thumb", "aria-label": label, title: label, "aria-pressed": String(this.answer?.quality === quality), "data-thumb": name,
      onclick: async () => {
        const pressed = (on: string | null) => {
          for (const each of this.foot.querySelectorAll<HTMLElement>("[data-thumb]")) each.setAttribute("aria-pressed", String(each.dataset.thumb === on));
        };
        const before = this.foot.querySelector<HTMLElement>("[data-thumb][aria-pressed=true]")?.dataset.thumb ?? null;
        pressed(name);
        await this.actions.rate(this.answer!.id, quality).catch(() => pressed(before));
      } }, icon(name));
    return button;
  }
}

function row(label: string, value: string): HTMLElement {
  return element("div", { class: "figure-row" }, element("dt", {}, label), element("dd", {}, value));
}
