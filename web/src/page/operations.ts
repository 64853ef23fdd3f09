// The operations that were used: at each shape class which kernel serves, how long it takes, how much longer the others take.
import { openDialog } from "./dialogs";
import { element, type Child } from "./element";
import { count, duration, plural } from "./format";
import type { KernelInfo, Operation, ShapeClass } from "./protocol";

const COLUMNS = ["Shape class", "Served by", "Takes", "Samples", "Uses", "Others"];
const NUMBERS = ["Takes", "Samples", "Uses"];

/** Roles are written out: on a phone the cells are blocks, and a table of blocks would be none to a screen reader. */
export function operationsTable(operations: Operation[]): HTMLElement {
  return element("table", { class: "operations", role: "table" },
    element("caption", { class: "visually-hidden" }, "Operations, their shape classes and kernels"),
    element("thead", { role: "rowgroup" }, element("tr", { role: "row" },
      ...COLUMNS.map((label) => element("th", { scope: "col", role: "columnheader", class: NUMBERS.includes(label) ? "number" : null }, label)))),
    ...operations.map((operation) => element("tbody", { role: "rowgroup" }, headRow(operation), ...operation.classes.map(classRow))));
}

export function unusedOperations(operations: Operation[]): HTMLElement | false {
  return operations.length > 0 && element("details", { class: "unused" },
    element("summary", {}, `${plural(operations.length, "operation")} not used yet`),
    element("dl", { class: "unused-list" }, ...operations.map(({ name, does }) => element("div", {}, element("dt", { class: "mono" }, name), element("dd", { class: "quiet" }, does)))));
}

function headRow({ name, does, explained }: Operation): HTMLElement {
  return element("tr", { role: "row", class: "operation-row" },
    element("th", { role: "rowheader", scope: "rowgroup", colspan: COLUMNS.length }, element("div", { class: "operation-head" },
      element("div", {}, element("p", { class: "operation-name" }, name), element("p", { class: "quiet" }, does)),
      element("button", { type: "button", class: "button plain", "aria-haspopup": "dialog", "aria-label": `Explain ${name}`, onclick: () => explain(name, explained ?? "") }, "Explain"))));
}

function classRow({ shape, serves, uses, kernels }: ShapeClass): HTMLElement {
  const serving = kernels.find((kernel) => kernel.name === serves);
  const others = kernels.filter((kernel) => kernel !== serving);
  const cell = (label: string, ...children: Child[]) =>
    element("td", { role: "cell", "data-label": label, class: NUMBERS.includes(label) ? "number mono" : null }, ...children);
  return element("tr", { role: "row", class: "class-row" },
    element("th", { role: "rowheader", scope: "row", class: "shape mono" }, shape || "all sizes"),
    cell("Served by", serving ? element("span", { class: "kernel-name mono" }, named(serving.name)) : element("span", { class: "tag" }, "being tried")),
    cell("Takes", time(serving)),
    cell("Samples", serving ? count(serving.samples) : "–"),
    cell("Uses", count(uses)),
    cell("Others", others.length > 0 ? element("ul", { class: "others" }, ...others.map((kernel) => element("li", {}, element("span", { class: "kernel-name mono" }, named(kernel.name)), ` ${compared(kernel, serving)}`))) : "none"));
}

const named = (kernel: string): string => (kernel === "reference" ? "numpy reference" : kernel);

const time = (kernel: KernelInfo | undefined): string => (typeof kernel?.seconds === "number" ? duration(kernel.seconds) : "–");

/** How much slower it is than what serves, or why it does not count. */
function compared(kernel: KernelInfo, serving: KernelInfo | undefined): string {
  if (kernel.excluded) return kernel.excluded;
  if (typeof kernel.seconds !== "number") return "not measured";
  const measured = `${duration(kernel.seconds)}, ${plural(kernel.samples, "sample")}`;
  if (!serving?.seconds) return measured;
  const ratio = kernel.seconds / serving.seconds;
  return ratio > 1 ? `${ratio.toFixed(ratio < 10 ? 2 : 0)} × the time (${measured})` : `not faster by enough (${measured})`;
}

function explain(name: string, text: string): void {
  openDialog(name, "explained", element("pre", { class: "explanation mono", tabindex: 0, role: "region", "aria-label": `Explanation of ${name}` }, text));
}
