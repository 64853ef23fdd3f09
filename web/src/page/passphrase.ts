// Fields for passphrases: what is typed can be shown, and how hard it is to guess is said in words.
import { openDialog } from "./dialogs";
import { element, fill } from "./element";
import { icon } from "./icons";

export const SHORTEST = 8; // characters

let made = 0;

/** A labelled passphrase field with a button that shows what is typed. */
export function passphraseField(label: string, autocomplete: "current-password" | "new-password"): { root: HTMLElement; input: HTMLInputElement } {
  const id = `passphrase-${++made}`;
  const input = element("input", { id, class: "field", type: "password", autocomplete, autocapitalize: "off", spellcheck: "false" });
  const show = element("button", { type: "button", class: "quiet-button", "aria-pressed": "false", "aria-controls": id, onclick: () => {
    const shown = input.type === "password";
    input.type = shown ? "text" : "password";
    show.setAttribute("aria-pressed", String(shown));
    show.textContent = shown ? "Hide" : "Show";
  } }, "Show");
  show.setAttribute("aria-label", `Show: ${label}`);
  return { root: element("div", { class: "passphrase" }, element("label", { class: "field-label", for: id }, label), element("div", { class: "passphrase-row" }, input, show)), input };
}

/** A new passphrase, typed twice. `taken` is it, or undefined after it said and showed what is wrong. */
export function newPassphrase(): { fields: HTMLElement[]; first: HTMLInputElement; taken(problem: Problem): string | undefined } {
  const first = passphraseField("New passphrase", "new-password");
  const again = passphraseField("The same once more", "new-password");
  const hint = element("p", { class: "strength", id: `strength-${made}`, "aria-live": "polite" });
  first.input.setAttribute("aria-describedby", hint.id);
  const judge = () => {
    const { level, text } = strength(first.input.value);
    hint.dataset.level = String(level);
    hint.textContent = text;
  };
  first.input.addEventListener("input", judge);
  judge();
  const taken = (problem: Problem) => {
    const passphrase = first.input.value;
    if ([...passphrase].length < SHORTEST) problem.show(`The passphrase needs at least ${SHORTEST} characters.`, first.input);
    else if (passphrase !== again.input.value) problem.show("The two passphrases are not the same.", again.input);
    else return passphrase;
    return undefined;
  };
  return { fields: [first.root, hint, again.root], first: first.input, taken };
}

/** What is wrong with a form, said at once. */
export class Problem {
  readonly root = element("p", { class: "failure-message", role: "alert", hidden: true });

  show(text: string, field?: HTMLElement): void {
    fill(this.root, icon("warn"), element("span", {}, text));
    this.root.hidden = false;
    field?.focus();
  }
}

/** Asks for a passphrase, a new one twice; resolves null when the person left. */
export function askPassphrase(title: string, text: string, label: string, fresh: boolean): Promise<string | null> {
  return new Promise((resolve) => {
    let given: string | null = null;
    const old = passphraseField("Passphrase", "current-password");
    const chosen = newPassphrase();
    const problem = new Problem();
    const form = element("form", { class: "dialog-form", onsubmit: (event: Event) => {
      event.preventDefault();
      given = (fresh ? chosen.taken(problem) : old.input.value) || null;
      if (given) dialog.close();
    } },
      element("p", {}, text), ...(fresh ? chosen.fields : [old.root]), problem.root,
      element("div", { class: "dialog-actions" }, element("button", { type: "button", class: "button plain", onclick: () => dialog.close() }, "Cancel"), element("button", { type: "submit", class: "button" }, label)));
    const dialog = openDialog(title, "small", form);
    dialog.addEventListener("close", () => resolve(given));
    (fresh ? chosen.first : old.input).focus();
  });
}

/** How hard a passphrase is to guess: 0 too short, 1 weak, 2 fair, 3 strong; and what to say of it. */
export function strength(passphrase: string): { level: 0 | 1 | 2 | 3; text: string } {
  const length = [...passphrase].length;
  if (length < SHORTEST) return { level: 0, text: length ? `At least ${SHORTEST} characters; ${SHORTEST - length} to go` : "Four or five unrelated words are easy to keep and hard to guess" };
  const kinds = [/\p{Ll}/u, /\p{Lu}/u, /\p{Nd}/u, /[^\p{L}\p{N}]/u].filter((kind) => kind.test(passphrase)).length;
  const different = new Set(passphrase.toLowerCase()).size;
  const words = passphrase.trim().split(/[\s\-_.,]+/).filter((word) => word.length > 2).length;
  const bits = Math.min(length, different * 1.6) * (1.4 + 0.6 * kinds) + (words > 3 ? 12 : 0); // a rough measure: it cannot know what is famous
  if (/^(.)\1*$|password|passwort|12345|qwert/i.test(passphrase) || bits < 32) return { level: 1, text: "Weak: easily guessed" };
  if (bits < 52) return { level: 2, text: "Fair: a few more words would make it strong" };
  return { level: 3, text: "Strong" };
}
