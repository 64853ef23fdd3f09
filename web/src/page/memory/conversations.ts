// What a model has in memory of each conversation: where it is, how many tokens in which tier, what they take; one bar a page.
import { block, shape } from "../drawing";
import { element, type Child } from "../element";
import { bytes, count, fullMoment, moment, plural, sentence } from "../format";
import type { CachesReport, ColdCache, InUse, LiveCache } from "../protocol";
import { pageBars, PRECISION, type tiers } from "./figures";

const TIERS = {
  hot: { name: "Hot", text: "in memory: the newest tokens in float16, older ones in fewer bits" },
  warm: { name: "Warm", text: "in memory, all full pages in fewer bits" },
  cold: { name: "Cold", text: "saved in the notebook, read back when it goes on" },
  gone: { name: "Gone", text: "nowhere: read anew from what was said" },
};
const COLUMNS = ["Conversation", "Where", "Newest tokens", "Older tokens", "Takes"];

export function tierLadder(steps: ReturnType<typeof tiers>, hits: CachesReport["hits"]): HTMLElement {
  return element("ol", { class: "tiers" }, ...steps.map(({ name, count: many, bytes: size }) =>
    element("li", { class: `tier ${name}` },
      element("p", { class: "tier-head" }, element("span", { class: "tier-name" }, TIERS[name].name), element("span", { class: "tier-count" }, plural(many, "conversation"))),
      element("p", { class: "quiet" }, size ? `${bytes(size)} ${TIERS[name].text}` : sentence(TIERS[name].text)),
      element("p", { class: "quiet" }, `Continued from here: ${plural(hits[name], "time")}`))));
}

/** Roles are written out: on a phone the cells are blocks, and a table of blocks would be none to a screen reader. */
export function conversationsTable(use: InUse, caches: CachesReport, title: (session: string) => string | null): HTMLElement {
  const head = element("thead", { role: "rowgroup" }, element("tr", { role: "row" },
    ...COLUMNS.map((label, at) => element("th", { scope: "col", role: "columnheader", class: at > 1 ? "number" : null }, label))));
  const rows = [
    ...caches.live.map((cache) => liveRow(cache, use, caches.page_tokens, title(cache.session))),
    ...caches.cold.map((cache) => coldRow(cache, use, title(cache.session))),
  ];
  return element("table", { class: "in-use-table", role: "table" }, element("caption", { class: "visually-hidden" }, "Conversations and what of them is held where"), head, element("tbody", { role: "rowgroup" }, ...rows));
}

function liveRow(cache: LiveCache, { model, answering }: InUse, pageTokens: number, title: string | null): HTMLElement {
  const strip = track(Math.max(model?.context ?? 0, cache.tokens));
  for (const { kind, first, tokens, height } of pageBars(cache, pageTokens)) {
    const gap = Math.min(pageTokens * 0.12, tokens * 0.2);
    strip.append(block(first, tokens - gap, `fill ${kind}`, `${kind === "old" ? `Older tokens, ${PRECISION[cache.old] ?? cache.old}` : "Newest tokens, float16"}`, 10 - 10 * height, 10 * height));
  }
  const kept = `${PRECISION[cache.old] ?? cache.old}${cache.old_layers < cache.layers ? ` in ${cache.old_layers} of ${cache.layers} layers` : ""}`;
  return row(cache.session, title, strip, [
    element("span", {}, TIERS[cache.tier].name, answering.includes(cache.session) && element("span", { class: "tag" }, "answering")),
    element("span", {}, count(cache.exact_tokens), detail(`${plural(cache.exact_pages, "page")}, ${bytes(cache.exact_bytes)}`)),
    element("span", {}, count(cache.old_tokens), ...(cache.old_pages ? [detail(`${plural(cache.old_pages, "page")}, ${bytes(cache.old_bytes)}`), detail(kept)] : [detail("none yet")])),
    element("span", {}, bytes(cache.bytes), cache.state_bytes > 0 && detail(`state ${bytes(cache.state_bytes)}`)),
  ]);
}

function coldRow(cache: ColdCache, { model }: InUse, title: string | null): HTMLElement {
  const strip = track(Math.max(model?.context ?? 0, cache.tokens));
  strip.append(block(0, cache.tokens, "fill saved", "Saved in the notebook"));
  return row(cache.session, title, strip, [
    element("span", {}, cache.fits ? TIERS.cold.name : "Of another model", element("span", { class: "share-detail", title: fullMoment(cache.saved_at) }, `saved ${moment(cache.saved_at)}`)),
    "–",
    "–",
    element("span", {}, bytes(cache.bytes), detail(`${count(cache.tokens)} tokens`), detail("in the notebook")),
  ]);
}

function row(session: string, title: string | null, strip: SVGElement, cells: Child[]): HTMLElement {
  const name = title === null ? element("span", {}, "A conversation that is just beginning") : element("a", { href: `#/c/${session}` }, title);
  return element("tr", { role: "row" },
    element("th", { scope: "row", role: "rowheader" }, name, strip),
    ...cells.map((cell, at) => element("td", { role: "cell", "data-label": COLUMNS[at + 1], class: at > 0 ? "number mono" : null }, cell)));
}

/** As wide as the model's context. Hidden from screen readers: its figures stand in the row. */
function track(context: number): SVGElement {
  return shape("svg", { viewBox: `0 0 ${Math.max(context, 1)} 10`, preserveAspectRatio: "none", class: "page-strip", "aria-hidden": "true" });
}

const detail = (text: string): HTMLElement => element("span", { class: "share-detail" }, text);
