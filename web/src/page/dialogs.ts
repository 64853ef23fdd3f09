// Modal dialogs on <dialog>: the browser keeps the focus inside, Esc closes, the focus goes back where it was.
import { element, type Child } from "./element";
import { icon } from "./icons";

let made = 0;

/** A dialog with a title and a close button. It leaves the page when it closes. */
export function openDialog(title: string, kind: string, ...children: Child[]): HTMLDialogElement {
  const id = `dialog-title-${++made}`;
  const dialog = element("dialog", { class: `dialog ${kind}`, "aria-labelledby": id },
    element("header", { class: "dialog-head" },
      element("h2", { id, class: "dialog-title", tabindex: -1 }, title),
      element("button", { type: "button", class: "icon-button", "aria-label": "Close", onclick: () => dialog.close() }, icon("close"))),
    element("div", { class: "dialog-body" }, ...children));
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // a press on the backdrop
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

export interface Question {
  title: string;
  text: string;
  confirm: string;
  danger?: boolean;
  /** The word that must be typed first, for what cannot be undone. */
  type?: string;
}

/** Asks; resolves true only when the person said yes. */
export function confirm(question: Question): Promise<boolean> {
  return new Promise((resolve) => {
    let agreed = false;
    const yes = element("button", { type: "submit", class: question.danger ? "button danger" : "button", disabled: Boolean(question.type) }, question.confirm);
    const word = question.type;
    const typed = element("input", { id: `confirm-${made}`, class: "field", type: "text", autocomplete: "off", spellcheck: "false",
      oninput: () => (yes.disabled = typed.value.trim().toLowerCase() !== word) });
    const form = element("form", { class: "dialog-form", onsubmit: (event: Event) => {
      event.preventDefault();
      agreed = !yes.disabled;
      dialog.close();
    } },
      element("p", {}, question.text),
      word && element("label", { class: "field-label", for: typed.id }, `Type “${word}” to confirm`),
      word && typed,
      element("div", { class: "dialog-actions" },
        element("button", { type: "button", class: "button plain", onclick: () => dialog.close() }, "Cancel"), yes));
    const dialog = openDialog(question.title, "small", form);
    dialog.addEventListener("close", () => resolve(agreed));
    (word ? typed : yes).focus();
  });
}
