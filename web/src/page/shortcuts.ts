// Keys that work anywhere, and the dialog that lists them. Single keys can be turned off, for those who speak to their computer.
import { openDialog } from "./dialogs";
import { element } from "./element";

const KEY = "pyruvllm.single-keys";

export interface ShortcutActions {
  ask(): void;
  begin(): void;
  add(): void;
  log(): void;
  storage(): void;
  models(): void;
  memory(): void;
  kernels(): void;
  theme(): void;
}

const LIST: [string, string, keyof ShortcutActions | null][] = [
  ["/", "Ask a question", "ask"],
  ["n", "New conversation", "begin"],
  ["a", "Add notes", "add"],
  ["l", "Witness log", "log"],
  ["s", "Storage", "storage"],
  ["m", "Language model", "models"],
  ["u", "Memory in use", "memory"],
  ["k", "Kernels", "kernels"],
  ["t", "Change theme", "theme"],
  ["?", "This list", null],
];

const ALWAYS: [string, string][] = [
  ["Enter", "Ask; Shift and Enter makes a new line"],
  ["Esc", "Close a dialog or panel, leave a field"],
  ["↑ ↓", "Move in lists; Home and End jump"],
];

export function listenForShortcuts(actions: ShortcutActions): void {
  addEventListener("keydown", (event) => {
    const field = event.target as HTMLElement;
    const typing = field.matches("input, textarea, select, [contenteditable]");
    if (event.key === "Escape" && typing && !field.closest("dialog")) return field.blur();
    if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]") || !enabled()) return;
    const found = LIST.find(([key]) => key === event.key);
    if (!found) return;
    event.preventDefault();
    if (found[2]) actions[found[2]]();
    else openShortcuts();
  });
}

export function openShortcuts(): void {
  const row = (key: string, what: string) => element("div", { class: "shortcut" }, element("dt", {}, ...key.split(" ").map((each) => element("kbd", {}, each))), element("dd", {}, what));
  const box = element("input", { type: "checkbox", id: "single-keys", checked: enabled(), onchange: () => {
    try {
      localStorage.setItem(KEY, box.checked ? "on" : "off");
    } catch {
      // without localStorage single keys stay on
    }
  } });
  openDialog("Keyboard shortcuts", "small",
    element("dl", { class: "shortcuts" }, ...LIST.map(([key, what]) => row(key, what)), ...ALWAYS.map(([key, what]) => row(key, what))),
    element("label", { class: "check", for: "single-keys" }, box, "Single-key shortcuts"));
}

function enabled(): boolean {
  try {
    return localStorage.getItem(KEY) !== "off";
  } catch {
    return true;
  }
}
