// The little Markdown of answers: paragraphs, lists, “quoted” sentences, and citation marks such as [1].
import { element } from "./element";
import type { Source } from "./protocol";

const INLINE = /\[(\d{1,2})\]|(“[^”]*”?|"[^"\n]*"?)/g;

export type Cite = (number: number) => void;

/** One block of an answer as nodes: a paragraph, or a list when every line is an item. */
export function block(text: string, sources: Source[], cite: Cite): HTMLElement {
  const lines = text.split("\n");
  if (lines.every((line) => /^\s*[-*•] /.test(line))) {
    return element("ul", {}, ...lines.map((line) => inline(element("li"), line.replace(/^\s*[-*•] /, ""), sources, cite)));
  }
  return inline(element("p"), text, sources, cite);
}

/** The blocks of a text: what empty lines separate. */
export const blocks = (text: string): string[] => text.split(/\n\s*\n/).filter((part) => part.trim());

/** The text as it is read aloud: without citation marks. */
export const spoken = (text: string): string => text.replace(/\s*\[\d{1,2}\]/g, "").replace(/\s+/g, " ").trim();

function inline<Kind extends HTMLElement>(parent: Kind, text: string, sources: Source[], cite: Cite): Kind {
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    parent.append(text.slice(at, match.index));
    at = match.index + match[0].length;
    if (!match[1]) {
      // a quotation may itself carry citation marks
      const quoted = element("span", { class: "quoted" });
      parent.append(/\[\d{1,2}\]/.test(match[0]) ? inlineMarks(quoted, match[0], sources, cite) : (quoted.append(match[0]), quoted));
    } else parent.append(mark(Number(match[1]), match[0], sources, cite));
  }
  parent.append(text.slice(at));
  return parent;
}

function inlineMarks<Kind extends HTMLElement>(parent: Kind, text: string, sources: Source[], cite: Cite): Kind {
  for (const part of text.split(/(\[\d{1,2}\])/)) {
    const number = /^\[(\d{1,2})\]$/.exec(part)?.[1];
    parent.append(number ? mark(Number(number), part, sources, cite) : part);
  }
  return parent;
}

function mark(number: number, text: string, sources: Source[], cite: Cite): Node {
  const source = sources.find((one) => one.number === number);
  if (!source) return document.createTextNode(text);
  return element("button", { type: "button", class: "cite", "aria-label": `Source ${number}: ${source.title}`, onclick: () => cite(number) }, String(number));
}
