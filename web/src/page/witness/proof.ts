// Whether the log is as it was recorded: each record is linked to the one before it by a hash, and here the links are looked at.
import { element, fill, type Child } from "../element";
import { count, percent, plural } from "../format";
import { icon } from "../icons";
import type { Notebook } from "../notebook";
import type { Methods } from "../protocol";
import { toast } from "../toasts";

const FEW = 2000; // entries that are checked without being asked to
const REMOVED: Record<string, string> = { forgotten: "forgotten", expired: "at the end of their time", archived: "into archives" };

export class Proof {
  private readonly state = element("div", { class: "proof-state", role: "status" });
  private readonly noted = element("input", { type: "text", class: "field mono", id: "noted-head", spellcheck: "false", autocomplete: "off" });
  private readonly button = element("button", { type: "button", class: "button plain", onclick: () => void this.verify() }, "Check the log");
  readonly root = element("section", { class: "card", "aria-labelledby": "proof-title" },
    element("h3", { class: "small-title", id: "proof-title" }, "Is it as it was recorded?"), this.state,
    element("details", {}, element("summary", {}, "Compare with a fingerprint from earlier"),
      element("form", { class: "noted", onsubmit: (event: Event) => {
        event.preventDefault();
        void this.verify(this.noted.value.trim().toLowerCase() || undefined);
      } }, element("label", { class: "field-label", for: "noted-head" }, "Fingerprint that you noted"), this.noted, element("button", { type: "submit", class: "button plain" }, "Compare"))),
    this.button);
  /** The same in a few words, for the head of the page; it leads to the card. */
  readonly chip = element("button", { type: "button", class: "proof-chip", hidden: true, onclick: () => this.root.scrollIntoView({ block: "center" }) });
  private checked = false;

  constructor(private readonly notebook: Notebook) {
    fill(this.state, element("p", { class: "quiet" }, "Every record is linked to the one before it. If one is altered or taken out behind the log’s back, the links no longer fit."));
  }

  /** Checks a short log by itself, once; a long one when asked. */
  offer(entries: number): void {
    if (this.checked || entries > FEW) return;
    this.checked = true;
    void this.verify();
  }

  private async verify(head?: string): Promise<void> {
    this.button.disabled = true;
    try {
      const verdict = await this.notebook.call("witness_verify", { ...(head && { head }) }, {
        event: (event) => event.type === "progress" && event.total > FEW && fill(this.state, element("p", { class: "quiet" }, `Checked ${percent(event.done / event.total)}`)),
      });
      this.draw(verdict, head);
    } catch (error) {
      fill(this.state, failure(`It could not be checked: ${(error as Error).message}`));
    } finally {
      this.button.disabled = false;
    }
  }

  private draw({ entries, head, removed, adopted, broken }: Methods["witness_verify"]["result"], noted?: string): void {
    const gone = Object.entries(removed).map(([how, times]) => `${count(times)} ${REMOVED[how] ?? how}`);
    const copy = async () => {
      await navigator.clipboard.writeText(head);
      toast("The fingerprint is copied. Keep it outside of this notebook to compare with later.");
    };
    this.chip.hidden = false;
    this.chip.classList.toggle("bad", Boolean(broken));
    fill(this.chip, icon(broken ? "warn" : "check"), broken ? "Not as it was recorded" : "Verified: unbroken");
    fill(this.state,
      broken ? failure(`Not as it was recorded. The first that does not fit is ${broken}.`)
        : element("p", { class: "kept" }, icon("check"), `Verified: ${plural(entries, "entry", "entries")}, unbroken`),
      !broken && noted && element("p", { class: "quiet" }, "The fingerprint that you noted is one of its links: nothing since then was cut off."),
      adopted > 0 && element("p", { class: "quiet" }, `${plural(adopted, "entry is", "entries are")} from before the log was linked, and proven from then on.`),
      gone.length > 0 && element("p", { class: "quiet" }, `Removed on purpose: ${gone.join(", ")}.`),
      entries > 0 && element("p", { class: "fingerprint" }, element("span", { class: "quiet" }, "Fingerprint "), element("code", { class: "mono" }, `${head.slice(0, 16)}…`),
        element("button", { type: "button", class: "icon-button small", "aria-label": "Copy the fingerprint", onclick: () => void copy() }, icon("copy"))));
  }
}

const failure = (...children: Child[]): HTMLElement => element("p", { class: "failure-message" }, icon("warn"), element("span", {}, ...children));
