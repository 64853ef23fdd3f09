// The log in figures: how many requests, how they were rated, how many failed, how long each step took, in all and over time.
import { element, fill, type Child } from "../element";
import { count, fullMoment, milliseconds, moment, percent, plural } from "../format";
import { STEPS } from "../latency";
import type { Figures, Summary } from "../protocol";

const DAY = 86_400_000;

export class FiguresPanel {
  private readonly line = element("span", { class: "figures-line" });
  private readonly body = element("div", { class: "figures-body" });
  readonly root = element("details", { class: "log-figures" }, element("summary", {}, element("span", { class: "figures-title" }, "Figures"), this.line), this.body);

  draw(summary: Summary): void {
    const { total, buckets } = summary;
    this.root.hidden = total.count === 0;
    if (!total.count || !total.latency) return;
    this.line.textContent = [
      plural(total.count, "request"),
      total.rated ? `rated ${total.quality!.toFixed(2)} on average` : "none rated",
      `${percent(total.error_rate ?? 0)} failed`,
      `half took under ${milliseconds(total.latency.total_ms[0])}`,
    ].join(" · ");
    fill(this.body, element("div", { class: "charts" },
      chart("Requests", buckets, (one) => one.count, (value) => count(value), { part: (one) => one.errors, partName: "failed" }),
      chart("Mean rating", buckets, (one) => one.quality, (value) => value.toFixed(2), { most: 1, note: trend(summary.trend) }),
      chart("Time in all, 90 of 100 under", buckets, (one) => one.latency?.total_ms[1] ?? null, milliseconds, {}),
      element("p", { class: "quiet chart-span" }, `From ${dated(buckets[0]!.start)} to ${dated(buckets.at(-1)!.end)}, a column for each ${spanName(summary.bucket_ms)}`)),
      element("div", { class: "figures-tables" }, latencies(total), models(total)));
  }
}

interface ChartOptions {
  most?: number;
  note?: string;
  part?: (figures: Figures) => number;
  partName?: string;
}

/** Columns, one a bucket. The figures are in their titles, and what matters of them in the label of the whole. */
function chart(title: string, buckets: Figures[], value: (figures: Figures) => number | null, shown: (value: number) => string, options: ChartOptions): HTMLElement {
  const known = buckets.map(value).filter((one): one is number => one !== null && one !== undefined);
  const most = options.most ?? Math.max(...known, 0);
  const range = known.length ? `${shown(Math.min(...known))} to ${shown(Math.max(...known))}` : "nothing";
  const columns = buckets.map((figures) => {
    const height = value(figures);
    const part = options.part?.(figures) ?? 0;
    const told = height === null || height === undefined ? "nothing" : shown(height) + (part ? `, ${count(part)} ${options.partName}` : "");
    const column = element("span", { class: "chart-column", title: `${fullMoment(figures.start)}: ${told}` }, element("span", { class: "column-fill" }, part > 0 && element("span", { class: "column-part" })));
    column.style.setProperty("--value", String(most && height ? height / most : 0));
    column.style.setProperty("--part", String(height ? part / height : 0));
    return column;
  });
  return element("figure", { class: "chart" },
    element("figcaption", { class: "small-title" }, title, element("span", { class: "mono" }, range)),
    element("div", { class: "chart-columns", role: "img", "aria-label": `${title} over time: ${range}` }, ...columns),
    options.note !== undefined && element("p", { class: "quiet" }, options.note));
}

function trend(value: number | null): string {
  if (value === null || value === undefined) return "Too few ratings for a trend.";
  if (Math.abs(value) < 0.005) return "Neither rising nor falling.";
  return `${value > 0 ? "Rising" : "Falling"} by ${Math.abs(value).toFixed(2)} a day.`;
}

function latencies({ latency }: Figures): HTMLElement {
  const rows = [...STEPS, ["total_ms", "In all"] as const].map(([key, label]) => element("tr", key === "total_ms" ? { class: "total" } : {},
    element("th", { scope: "row" }, key !== "total_ms" && element("span", { class: `swatch ${key}`, "aria-hidden": "true" }), label),
    ...latency![key].map((value) => element("td", {}, milliseconds(value)))));
  const head = (label: string, hint: string) => element("th", { scope: "col", title: hint }, label);
  return element("section", {}, element("h3", { class: "small-title" }, "Time of each step"),
    element("table", { class: "percentiles" },
      element("thead", {}, element("tr", {}, element("th", { scope: "col" }, element("span", { class: "visually-hidden" }, "Step")),
        head("p50", "half of the requests took no longer"), head("p90", "90 of 100 took no longer"), head("p99", "99 of 100 took no longer"))),
      element("tbody", {}, ...rows)),
    element("p", { class: "quiet" }, "p90 is what 90 of 100 requests did not exceed."));
}

function models({ models: used, count: all, errors, rated }: Figures): HTMLElement {
  const bar = (name: string, times: number): Child => {
    const meter = element("span", { class: "meter", "aria-hidden": "true" }, element("span", { class: "meter-fill" }));
    meter.style.setProperty("--value", String(times / all));
    return element("li", {}, element("span", {}, name), meter, element("span", { class: "mono" }, count(times)));
  };
  const fact = (label: string, value: string) => element("div", { class: "figure-row" }, element("dt", {}, label), element("dd", {}, value));
  return element("section", {}, element("h3", { class: "small-title" }, "Answered by"),
    element("ul", { class: "probabilities" }, ...Object.entries(used).map(([name, times]) => bar(name, times))),
    element("dl", { class: "figures" }, fact("Failed", `${count(errors)} of ${count(all)}`), fact("Rated", `${count(rated)} of ${count(all)}`)));
}

const dated = (ms: number): string => (new Date(ms).toDateString() === new Date().toDateString() ? `today, ${moment(ms)}` : moment(ms));

function spanName(ms: number): string {
  const days = Math.round(ms / DAY);
  if (days > 1) return days === 7 ? "week" : `${days} days`;
  return { 300_000: "5 minutes", 3_600_000: "hour", 21_600_000: "6 hours" }[ms] ?? "day";
}
