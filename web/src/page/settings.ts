// How answers are written, as the person wants it. Kept beside the theme: it is of this browser, not of the notebook.
import { element } from "./element";
import type { Settings } from "./protocol";

const KEY = "pyruvllm.generation";
const DEFAULTS: Settings = { use_model: true, max_tokens: 400 };

/** The settings of the next question. */
export function settings(): Settings {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}") as Partial<Settings>;
    return { ...DEFAULTS, ...kept };
  } catch {
    return { ...DEFAULTS };
  }
}

function keep(changes: Partial<Record<keyof Settings, unknown>>): void {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...settings(), ...changes }));
  } catch {
    // a browser that refuses localStorage asks with the defaults the next time
  }
}

interface NumberField {
  name: "temperature" | "top_p" | "max_tokens";
  label: string;
  hint: string;
  range: { min: number; max: number; step: number };
}

const NUMBERS: NumberField[] = [
  { name: "temperature", label: "Temperature", hint: "0 always takes the likeliest word; higher is livelier. Empty: the router decides.", range: { min: 0, max: 2, step: 0.1 } },
  { name: "top_p", label: "Top-p", hint: "Only the likeliest words that together have this share are drawn from. Empty: the router decides.", range: { min: 0.05, max: 1, step: 0.05 } },
  { name: "max_tokens", label: "Longest answer", hint: "In tokens; a token is about three quarters of a word.", range: { min: 16, max: 4000, step: 1 } },
];

/** The form, folded until it is wanted. */
export function settingsForm(): HTMLElement {
  const now = settings();
  const quote = element("input", { type: "checkbox", id: "setting-quote", checked: !now.use_model, onchange: () => keep({ use_model: !quote.checked }) });
  return element("details", { class: "model-settings" },
    element("summary", {}, "Settings"),
    element("div", { class: "setting-fields" }, ...NUMBERS.map((field) => numberField(field, now[field.name]))),
    element("label", { class: "check", for: "setting-quote" }, quote, element("span", {}, "Quote only: answer with sentences from my notes even while a model is loaded")));
}

function numberField({ name, label, hint, range }: NumberField, value: number | undefined): HTMLElement {
  const id = `setting-${name}`;
  const input = element("input", { class: "field", type: "number", inputmode: "decimal", id, "aria-describedby": `${id}-hint`, ...range, value: value ?? "", onchange: () => {
    const given = input.value.trim() === "" ? undefined : Number(input.value);
    const right = given === undefined ? name !== "max_tokens" : given >= range.min && given <= range.max && (name !== "max_tokens" || Number.isInteger(given));
    if (right) keep({ [name]: given });
    else input.value = String(settings()[name] ?? "");
  } });
  return element("div", { class: "field-group" }, element("label", { class: "field-label", for: id }, label), input, element("p", { class: "quiet", id: `${id}-hint` }, hint));
}
