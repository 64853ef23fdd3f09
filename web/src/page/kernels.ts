// What computes on this device: the pack of compiled kernels, the engine that runs them, what of it is not used and why.
import { byId, element, fill, type Child } from "./element";
import { count, plural, sentence } from "./format";
import { icon } from "./icons";
import type { Notebook } from "./notebook";
import { operationsTable, unusedOperations } from "./operations";
import type { Kernels } from "./protocol";

const PLACES: Record<string, string> = {
  current: "The pack that is installed in this notebook was refused.",
  previous: "The pack that was installed before it was refused.",
  bundled: "The pack that came with this page was refused.",
};
const SLOWER = "The numpy reference serves instead: it gives right answers, slower.";

export class KernelsView {
  private readonly root = byId("view-kernels");
  private readonly cards = element("div", { class: "kernel-cards" });
  private readonly faults = element("div");
  private readonly operations = element("section", { class: "operations-section", "aria-labelledby": "operations-title" });

  constructor(private readonly notebook: Notebook) {
    fill(this.root, element("div", { class: "page-column wide" },
      element("header", { class: "page-head" }, element("h2", { class: "page-title" }, "Kernels"),
        element("p", { class: "page-lede" }, "The heavy arithmetic is done by compiled kernels on this device. Which of them serves is decided by what was measured here, and every figure below was.")),
      this.cards, this.faults, this.operations));
  }

  async load(): Promise<void> {
    try {
      await this.notebook.whenReady();
      this.draw((await this.notebook.call("kernels", {})).kernels ?? null);
    } catch (error) {
      fill(this.faults);
      fill(this.operations);
      fill(this.cards, warning(`What computes could not be read: ${(error as Error).message}`));
    }
  }

  private draw(kernels: Kernels | null): void {
    if (!kernels) {
      fill(this.faults);
      fill(this.operations);
      return fill(this.cards, warning(`This installation has no compiled kernels. ${SLOWER}`));
    }
    fill(this.cards, packCard(kernels), engineCard(kernels), compiledCard(kernels), faultsCard(kernels));
    fill(this.faults, ...faults(kernels));
    const used = kernels.operations.filter((operation) => operation.classes.length);
    const classes = used.reduce((sum, operation) => sum + operation.classes.length, 0);
    fill(this.operations,
      element("h3", { class: "section-title", id: "operations-title" }, "Operations used in this notebook"),
      element("p", { class: "quiet" }, used.length
        ? `${plural(used.length, "operation")} at ${plural(classes, "shape class", "shape classes")}. A shape class holds sizes up to its figures. A time is that of one run: the median of the last samples.`
        : kernels.pack.key ? "None yet. Add notes and ask: what is measured then appears here." : "None: numpy computes, without kernels."),
      used.length > 0 && operationsTable(used),
      unusedOperations(kernels.operations.filter((operation) => !operation.classes.length)));
  }
}

function packCard({ pack }: Kernels): HTMLElement {
  if (!pack.key) return card("Pack", state("warn", "No pack can be used"), quiet(SLOWER));
  return card("Pack", state("check", "Verified"),
    figures([["Name", pack.name], ["Version", String(pack.version)], ["Signed by key", pack.key]]),
    quiet("Before anything was compiled, the signature and the hash of every module were checked with the keys that came with this page."));
}

function engineCard({ engine, features }: Kernels): HTMLElement {
  const has = (feature: string) => (features.includes(feature) ? "yes" : "no");
  return card("Engine", element("p", { class: "kept" }, engineName(engine)),
    figures([["SIMD", has("simd128")], ["Relaxed SIMD", has("relaxed-simd")]]),
    quiet(engine));
}

function compiledCard({ pack, operations }: Kernels): HTMLElement {
  const compiled = operations.filter((operation) => operation.compiled).length;
  return card("Compiled", element("p", { class: "big-figure" }, count(compiled), element("span", { class: "of" }, ` of ${count(operations.length)}`)),
    quiet("operations have compiled kernels that this engine can run."),
    figures([["Modules compiled so far", `${count(pack.compiled)} of ${count(pack.modules)}`]]),
    quiet("A module is compiled when an operation of it is first used."));
}

function faultsCard({ refused, banned }: Kernels): HTMLElement {
  const found = [refused.length > 0 && `${plural(refused.length, "pack")} refused`, banned.length > 0 && `${plural(banned.length, "kernel")} banned`].filter(Boolean).join(", ");
  return card("Not used", found ? state("warn", found) : state("check", "Nothing refused or banned"),
    quiet("A pack that was altered is refused. A kernel first runs beside its numpy reference; one that gives something else is banned until the next start."));
}

/** What is not used, why, and what serves instead. */
function faults({ pack, refused, banned }: Kernels): HTMLElement[] {
  const instead = pack.key ? `Version ${pack.version}, signed by ${pack.key}, serves instead.` : SLOWER;
  const row = (title: string, why: string, serves: string) =>
    element("li", { class: "fault" }, icon("warn"), element("div", {}, element("p", { class: "action-title" }, title), element("p", {}, sentence(why)), element("p", { class: "quiet" }, serves)));
  const rows = [
    ...refused.map(({ place, why }) => row(PLACES[place] ?? `The pack ${place} was refused.`, why, instead)),
    ...banned.map(({ operation, kernel, why }) => row(`The kernel ${kernel} is banned until the next start.`, why, `Another kernel for ${operation} serves instead, or its numpy reference.`)),
  ];
  return rows.length ? [element("ul", { class: "faults", "aria-label": "Not used" }, ...rows)] : [];
}

/** "Chrome 156"; the engine's own words where it is none of the browsers we know. */
function engineName(engine: string): string {
  const found = /(Edg|OPR|Firefox|Chrome)\w*\/(\d+)/.exec(engine) ?? /(Version)\/(\d+).* Safari/.exec(engine);
  const names: Record<string, string> = { Edg: "Edge", OPR: "Opera", Version: "Safari" };
  return found ? `${names[found[1]!] ?? found[1]} ${found[2]}` : engine;
}

function card(title: string, ...children: Child[]): HTMLElement {
  return element("section", { class: "card" }, element("h3", { class: "small-title" }, title), ...children);
}

const state = (kind: "check" | "warn", text: string): HTMLElement => element("p", { class: kind === "warn" ? "kept bad" : "kept" }, icon(kind), text);

const quiet = (text: string): HTMLElement => element("p", { class: "quiet" }, text);

const warning = (text: string): HTMLElement => element("p", { class: "failure-message" }, icon("warn"), element("span", {}, text));

function figures(rows: [string, string][]): HTMLElement {
  return element("dl", { class: "figures" }, ...rows.map(([label, value]) => element("div", { class: "figure-row" }, element("dt", {}, label), element("dd", {}, value))));
}
