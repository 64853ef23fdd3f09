// The dialog that takes new notes: choose files, or paste text with a title.
import { openDialog } from "./dialogs";
import { chooseFiles } from "./drops";
import { element } from "./element";
import { icon } from "./icons";
import type { Intake } from "./intake";

export function openAdding(intake: Intake, first: "choose" | "paste" = "choose"): void {
  const title = element("input", { id: "note-title", class: "field", type: "text", autocomplete: "off", placeholder: "First line, if left empty" });
  const text = element("textarea", { id: "note-text", class: "field note-text", rows: 7, required: true, placeholder: "Paste or write a note" });
  const form = element("form", { class: "dialog-form", onsubmit: (event: Event) => {
    event.preventDefault();
    const body = text.value;
    if (!body.trim()) return text.focus();
    dialog.close();
    void intake.items([{ title: title.value.trim() || firstLine(body), text: body, media_type: /^#{1,6} /m.test(body) ? "text/markdown" : "text/plain" }]);
  } },
    element("label", { class: "field-label", for: "note-text" }, "Text"), text,
    element("label", { class: "field-label", for: "note-title" }, "Title"), title,
    element("div", { class: "dialog-actions" }, element("button", { type: "submit", class: "button" }, "Remember text")));
  const choose = element("button", { type: "button", class: "drop-target", onclick: () => chooseFiles((files) => {
    dialog.close();
    void intake.files(files);
  }) }, icon("drop"), element("span", { class: "drop-title" }, "Choose files, or drop them anywhere"), element("span", { class: "drop-hint" }, ".txt, .md and any other plain text, several at once"));
  const dialog = openDialog("Add notes", "adding", choose, element("p", { class: "or" }, element("span", {}, "or paste text")), form);
  (first === "paste" ? text : choose).focus();
}

function firstLine(text: string): string {
  const line = text.split("\n").map((each) => each.replace(/^#+\s*/, "").trim()).find(Boolean) ?? "Note";
  return line.length > 80 ? `${line.slice(0, 79).trimEnd()}…` : line;
}
