// The panel that says why: the passages behind the chosen answer, where each is from and what it shares with the question.
import type { AnswerView } from "./answer";
import { byId, element, fill } from "./element";
import { count, plural } from "./format";
import { icon } from "./icons";
import { walkable } from "./lists";
import { cut, type Piece } from "./offsets";
import type { DocumentInfo, Source } from "./protocol";

export class SourcesPanel {
  private readonly body = byId("evidence-body");
  private shown: AnswerView | null = null;

  constructor(
    private readonly documentOf: (id: string) => DocumentInfo | undefined,
    private readonly read: (source: Source) => void,
  ) {
    walkable(this.body, ".source-open");
  }

  clear(): void {
    this.shown?.mark(null);
    this.shown = null;
    fill(this.body, element("p", { class: "evidence-empty" }, "The passages behind an answer appear here: where they are from, and why they were found."));
  }

  /** Shows the sources of an answer; with a number, that source is scrolled to and takes the focus. */
  show(view: AnswerView, number: number | null): void {
    this.shown?.mark(null);
    this.shown = view;
    view.mark(number);
    const cited = view.cited();
    const rest = view.sources.filter((source) => !cited.includes(source));
    const cards = new Map<number, HTMLElement>();
    const list = (sources: Source[], label: string) => sources.length > 0 && element("section", { class: sources === rest ? "evidence-group also" : "evidence-group" },
      element("h3", { class: "evidence-label" }, label, element("span", { class: "evidence-count" }, String(sources.length))),
      element("ol", { class: "source-list" }, ...sources.map((source) => {
        const made = this.card(source, source.number === number);
        cards.set(source.number, made);
        return made;
      })));
    const written = view.answer?.kind === "generated";
    fill(this.body,
      element("p", { class: "evidence-question" }, view.question),
      list(cited, written ? "Cited in the answer" : "Quoted in the answer"),
      list(rest, cited.length || written ? "Also found" : "Found, but not near enough"),
      view.sources.length === 0 && element("p", { class: "evidence-empty" }, "No passage was found for this question."));
    const chosen = number === null ? undefined : cards.get(number);
    if (chosen) {
      chosen.scrollIntoView({ block: "nearest" });
      chosen.querySelector<HTMLElement>(".source-open")?.focus({ preventScroll: true });
    } else this.body.scrollTop = 0;
  }

  private card(source: Source, chosen: boolean): HTMLElement {
    const { why } = source;
    const meter = why.similarity !== null && similarity(why.similarity);
    const terms = why.terms.length > 0 && element("p", { class: "source-terms" }, element("span", { class: "visually-hidden" }, "Shared words: "), ...why.terms.map((term) => element("span", { class: "term" }, term)));
    return element("li", { class: chosen ? "source chosen" : "source" },
      element("button", { type: "button", class: "source-open", "aria-label": `Open ${source.title} at passage ${source.number}`, onclick: () => this.read(source) },
        element("span", { class: "source-head" },
          element("span", { class: "chip-number", "data-number": source.number }),
          element("span", { class: "source-title" }, source.title), icon("chevron"))),
      source.heading && source.heading !== source.title && element("p", { class: "source-heading" }, source.heading),
      element("blockquote", { class: "source-text" }, ...excerpt(source)),
      element("div", { class: "source-why" }, meter, terms, ...why.graph.map((text) => element("p", { class: "source-other" }, text))),
      this.place(source));
  }

  /** Where in its document the passage stands: a strip for the eye, the figures as text. */
  private place(source: Source): HTMLElement {
    const document = this.documentOf(source.document);
    const size = Math.max(document?.size ?? 0, source.end, 1);
    const strip = element("span", { class: "strip", "aria-hidden": "true" }, element("span", { class: "strip-part" }));
    strip.style.setProperty("--from", String(source.start / size));
    strip.style.setProperty("--span", String((source.end - source.start) / size));
    const where = document?.passages === 1 ? "the whole note" : `characters ${count(source.start + 1)} to ${count(source.end)}`;
    return element("p", { class: "source-place" }, strip, element("span", {}, where));
  }
}

function similarity(value: number): HTMLElement {
  const shown = Math.max(0, Math.min(1, value));
  const bar = element("span", { class: "meter", "aria-hidden": "true" }, element("span", { class: "meter-fill" }));
  bar.style.setProperty("--value", String(shown));
  return element("p", { class: "source-similarity" }, element("span", {}, "Similar in meaning"), bar, element("span", { class: "mono" }, value.toFixed(2)));
}

const LEAD = 90; // characters kept before the first marked words of a long passage
const LONG = 420;

/** The passage with its quoted sentences marked; a long one begins shortly before them. */
function excerpt(source: Source): Node[] {
  const pieces = cut(source.text, source.highlight ?? []);
  const first = pieces.findIndex((piece) => piece.marked);
  if (source.text.length > LONG) shorten(pieces, first);
  return pieces.filter((piece) => piece.text).map((piece) => (piece.marked ? element("mark", {}, piece.text) : document.createTextNode(piece.text)));
}

function shorten(pieces: Piece[], first: number): void {
  const before = pieces[0];
  if (first === 1 && before && before.text.length > LEAD) before.text = `… ${before.text.slice(-LEAD).replace(/^\S*\s/, "")}`;
  const after = pieces.at(-1);
  if (after && !after.marked && after.text.length > LONG / 2) after.text = `${after.text.slice(0, LONG / 2).replace(/\s\S*$/, "")} …`;
}

/** "2 sources" for the button that opens the panel. */
export const sourcesLabel = (view: AnswerView): string => plural(view.sources.length, "source");
