// Who can open the notebook: nobody is asked, a passphrase, this device. Where that is shown, changed, and the notebook locked.
import { announce } from "./announce";
import { confirm, openDialog } from "./dialogs";
import { element, fill, type Child } from "./element";
import { icon } from "./icons";
import type { Notebook } from "./notebook";
import { newPassphrase, passphraseField, Problem } from "./passphrase";
import type { Protection, Secret } from "./protocol";
import type { CallError } from "./rpc";
import { toast } from "./toasts";

const IDLE_KEY = "pyruvllm.lock-after";
const IDLE_MINUTES = [0, 5, 15, 60];
const CHANNEL = "pyruvllm.lock";
const WAYS = [
  { key: "passphrase", title: "A passphrase", text: "Asked for each time the page is opened. Without it nobody can read the notebook, you included." },
  { key: "both", title: "A passphrase, and this browser", text: "This browser opens it without asking. The passphrase opens it when you locked it, and should this browser lose its key." },
  { key: "device", title: "This browser only", text: "Never asks. Another program finds only sealed records; whoever can use this browser can open it. If its data is cleared, the notebook is gone." },
] as const;
type Way = (typeof WAYS)[number]["key"];

export class ProtectionView {
  readonly root = element("section", { class: "card protection", "aria-labelledby": "protection-title" });
  private idle = 0; // timer
  private readonly others = "BroadcastChannel" in window ? new BroadcastChannel(CHANNEL) : null;

  constructor(private readonly notebook: Notebook) {
    for (const change of ["phase", "access"] as const) notebook.on(change, () => this.draw());
    for (const sign of ["pointerdown", "keydown", "scroll"]) addEventListener(sign, () => this.touch(), { capture: true, passive: true });
    if (this.others) this.others.onmessage = () => notebook.protection && void notebook.lock().catch(() => undefined);
    this.draw();
  }

  /** Locks here and in the other tabs. */
  async lock(): Promise<void> {
    try {
      this.others?.postMessage("lock");
      await this.notebook.lock();
    } catch (error) {
      toast(`Not locked: ${(error as Error).message}`, { tone: "problem" });
    }
  }

  private draw(): void {
    const { protection, readOnly, ready, role } = this.notebook;
    const elsewhere = readOnly ?? (role === "follower" ? "Another tab saves for this one: protection is changed there." : null);
    const blocked = !ready || elsewhere !== null;
    const button = (label: string, kind: string, run: () => void, writes = true) =>
      element("button", { type: "button", class: `button ${kind}`, disabled: writes ? blocked : !ready, title: writes ? elsewhere : null, onclick: run }, label);
    fill(this.root,
      element("h3", { class: "small-title", id: "protection-title" }, "Protection"),
      element("p", { class: "kept" }, icon(protection ? "lock" : "info"), protection ? opensWith(protection) : "Not protected"),
      element("p", { class: "quiet" }, protection
        ? "Everything is encrypted before it is written to the disk (AES-256-GCM), and altered, swapped or missing records are noticed. A complete older copy of all of it put back by somebody would not be."
        : "Whoever can read this browser’s files can read the notebook. Protect it, and everything is encrypted before it is written."),
      protection && this.idleChoice(),
      ready && elsewhere && element("p", { class: "quiet" }, elsewhere),
      element("div", { class: "failure-actions" }, ...(protection
        ? [button("Lock now", "", () => void this.lock(), false), button("Change", "plain", () => this.choose()), button("Remove protection", "plain danger-text", () => void this.remove())]
        : [button("Protect this notebook", "", () => this.choose())])));
    this.touch();
  }

  private idleChoice(): HTMLElement {
    const minutes = idleMinutes();
    const choice = element("select", { id: "lock-after", class: "field", onchange: () => {
      localStorage.setItem(IDLE_KEY, choice.value);
      this.touch();
    } }, ...IDLE_MINUTES.map((each) => element("option", { value: each, selected: each === minutes }, each ? `After ${each} minutes without use` : "Only when I lock it")));
    return element("div", { class: "idle-choice" }, element("label", { class: "field-label", for: "lock-after" }, "Lock by itself"), choice);
  }

  /** Somebody is there: the time until the notebook locks itself begins anew. */
  private touch(): void {
    clearTimeout(this.idle);
    const minutes = idleMinutes();
    if (minutes && this.notebook.protection && this.notebook.ready) this.idle = window.setTimeout(() => void this.lock(), minutes * 60_000);
  }

  private async remove(): Promise<void> {
    const agreed = await confirm({ title: "Remove the protection?", text: "Everything is written to this device unencrypted. Whoever can read this browser’s files can then read the notebook.", confirm: "Remove protection", danger: true });
    if (!agreed) return;
    try {
      await this.notebook.protect(null);
      toast("The notebook is not protected any more");
    } catch (error) {
      toast(`Still protected: ${(error as Error).message}`, { tone: "problem" });
    }
  }

  /** A dialog that asks what shall open the notebook, and first for what opens it now. */
  private choose(): void {
    const now = this.notebook.protection;
    const asks = now !== null && now.passphrase && !now.this_device; // the passphrase must agree; where this browser can, it does
    const current = passphraseField("Current passphrase", "current-password");
    const chosen = newPassphrase();
    const problem = new Problem();
    const words = element("fieldset", { class: "plain-set" }, ...chosen.fields);
    let way: Way = "passphrase";
    const choices = WAYS.map(({ key, title, text }) => {
      const input = element("input", { type: "radio", name: "way", value: key, checked: key === way, onchange: () => {
        way = key;
        words.hidden = words.disabled = key === "device";
      } });
      return element("label", { class: "way-choice" }, input, element("span", {}, element("span", { class: "action-title" }, title), element("span", { class: "quiet" }, text)));
    });
    const save = element("button", { type: "submit", class: "button" }, now ? "Change" : "Protect");
    const form = element("form", { class: "dialog-form", novalidate: true, onsubmit: async (event: Event) => {
      event.preventDefault();
      const passphrase = way === "device" ? undefined : chosen.taken(problem);
      if (way !== "device" && passphrase === undefined) return;
      save.disabled = true;
      try {
        await this.notebook.protect(withoutEmpty({ passphrase, device_key: way !== "passphrase", current: asks ? current.input.value : undefined }));
        dialog.close();
        toast(now ? "Changed: what opened it before does not any more" : "The notebook is protected");
        announce("The notebook is protected");
      } catch (error) {
        const { kind, message } = error as CallError;
        problem.show(kind === "PassphraseError" ? "That is not the current passphrase. Nothing was changed." : message, kind === "PassphraseError" ? current.input : undefined);
      } finally {
        save.disabled = false;
      }
    } },
      asks && current.root,
      element("fieldset", { class: "plain-set" }, element("legend", { class: "field-label" }, "What shall open it?"), ...choices),
      words, problem.root,
      element("p", { class: "quiet" }, "There is no way back in without it. Keep the passphrase somewhere safe, or an exported file."),
      element("div", { class: "dialog-actions" }, element("button", { type: "button", class: "button plain", onclick: () => dialog.close() }, "Cancel"), save));
    const dialog = openDialog(now ? "Change what opens the notebook" : "Protect this notebook", "", form);
    (asks ? current.input : chosen.first).focus();
  }
}

function opensWith({ passphrase, this_device }: Protection): Child {
  if (passphrase && this_device) return "Opens with a passphrase, and in this browser without asking";
  return passphrase ? "Opens with a passphrase" : "Opens in this browser only";
}

function idleMinutes(): number {
  const kept = Number(localStorage.getItem(IDLE_KEY));
  return IDLE_MINUTES.includes(kept) ? kept : 0;
}

function withoutEmpty(secret: Secret & { current?: string }): Secret & { current?: string } {
  return Object.fromEntries(Object.entries(secret).filter(([, value]) => value !== undefined));
}
