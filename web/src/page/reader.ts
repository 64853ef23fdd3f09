// A document as it was given, in a dialog, scrolled to the passage that was asked for.
import { openDialog } from "./dialogs";
import { element } from "./element";
import { fullMoment, plural } from "./format";
import { cut, unitOffsets, type Piece } from "./offsets";
import type { DocumentInfo, Source } from "./protocol";

export interface ReaderContent {
  document: DocumentInfo;
  text: string;
}

/** Opens the reader. `spot` is the passage to show, with its quoted sentences; `forget` appears as a button when given. */
export function openReader(content: ReaderContent, spot: Source | null, forget: (() => void) | null): void {
  const { document: info, text } = content;
  const parts = spot ? passage(text, spot) : [text];
  const page = element("div", { class: "reader-text", tabindex: 0, role: "document", "aria-label": info.title }, ...parts);
  const dialog = openDialog(info.title, "reader",
    element("p", { class: "reader-facts" }, [plural(info.passages, "passage"), plural(info.size, "character"), `added ${fullMoment(info.created_at)}`].join(" · ")),
    page,
    forget && element("div", { class: "reader-foot" }, element("button", { type: "button", class: "button plain danger-text", onclick: () => {
      dialog.close();
      forget();
    } }, "Forget this document")));
  const target = page.querySelector<HTMLElement>(".passage");
  if (target) target.scrollIntoView({ block: "center" });
  page.focus({ preventScroll: true });
}

/** The text around and in the passage, as nodes: the passage is tinted, what was quoted of it is marked. */
function passage(text: string, spot: Source): (Node | string)[] {
  const [from, to] = unitOffsets(text, [spot.start, spot.end]) as [number, number];
  const inside = text.slice(from, to);
  // highlights count in the passage's own text; a passage whose white space was tidied no longer lines up
  const pieces: Piece[] = inside === spot.text ? cut(inside, spot.highlight ?? []) : [{ text: inside, marked: false }];
  const tinted = element("span", { class: "passage" }, ...pieces.map((piece) => (piece.marked ? element("mark", {}, piece.text) : piece.text)));
  return [text.slice(0, from), tinted, text.slice(to)];
}
