// What the reports of the pool and of the conversations come to, in figures and words. Nothing here touches the page.
import type { Eviction, InUse, LiveCache } from "../protocol";

/** A part of the budget. `part`: of the whole bar, 0 to 1. */
export interface Share {
  key: string;
  label: string;
  detail: string;
  bytes: number;
  part: number;
}

/**
 * What holds how much, in the order of the bar, all kinds that there can be; what is left of the budget comes last. Without a model the
 * budget is for conversations alone, beside what the notebook itself holds.
 */
export function shares({ budget, used, kinds, caches }: InUse): Share[] {
  const whole = Math.max(caches ? Math.max(budget, used) : budget + used, 1);
  const made = (key: string, label: string, detail: string, bytes: number) => ({ key, label, detail, bytes, part: bytes / whole });
  const { exact = 0, old = 0 } = caches?.pages ?? {};
  const conversations = caches
    ? [
        made("exact", "Newest tokens", "keys and values in float16", exact),
        made("old", "Older tokens", "the same in fewer bits", old),
        made("state", "State of the model", "what it carries along beside them", Math.max((kinds.kv ?? 0) - exact - old, 0)),
        made("adapter", "Adapters", "small changes to the model", kinds.adapter ?? 0),
      ]
    : [];
  return [
    ...conversations,
    made("index", "Vector index", "finds what is similar", kinds.index ?? 0),
    made("embedding", "Kept embeddings", "made again when they are let go", kinds.embedding ?? 0),
    made("router", "Router weights", kinds.router ? "choose how a question is answered" : "none are learned yet", kinds.router ?? 0),
    caches ? made("free", "Free", "", Math.max(budget - used, 0)) : made("free", "For conversations", "at most, once a model is loaded", budget),
  ];
}

/** Where the bars of a conversation stand: one a page, `height` is what it takes of one in float16, 0 to 1. */
export interface PageBar {
  kind: "old" | "exact";
  first: number;
  tokens: number;
  height: number;
}

const MOST_BARS = 96; // beyond which they could not be told apart

export function pageBars(cache: LiveCache, pageTokens: number): PageBar[] {
  const exact = cache.exact_pages ? cache.exact_bytes / cache.exact_pages : 0;
  const old = cache.old_pages ? cache.old_bytes / cache.old_pages : 0;
  const height = exact ? Math.min(old / exact, 1) : OLD_HEIGHT[cache.old] ?? 1;
  const step = cache.exact_pages + cache.old_pages > MOST_BARS ? Infinity : pageTokens;
  const bars: PageBar[] = [];
  const add = (kind: "old" | "exact", from: number, to: number, tall: number) => {
    for (let first = from; first < to; first += step) bars.push({ kind, first, tokens: Math.min(step, to - first), height: tall });
  };
  add("old", 0, cache.old_tokens, height);
  add("exact", cache.old_tokens, cache.tokens, 1);
  return bars;
}

const OLD_HEIGHT: Record<string, number> = { f16: 1, q8: 0.55, q8q4: 0.42, q4: 0.3 }; // about, where no page in float16 tells

export const PRECISION: Record<string, string> = { f16: "float16", q8: "8 bits", q8q4: "keys 8 bits, values 4", q4: "4 bits" };

/** Of what was said in how many conversations the cache is hot, warm, cold or gone; `known`: the ids of all that there are. */
export function tiers({ caches }: InUse, known: string[]): { name: "hot" | "warm" | "cold" | "gone"; count: number; bytes: number }[] {
  const live = (tier: string) => (caches?.live ?? []).filter((each) => each.tier === tier);
  const sum = (all: LiveCache[]) => all.reduce((total, each) => total + each.bytes, 0);
  const here = new Set([...(caches?.live ?? []), ...(caches?.cold ?? [])].map((each) => each.session));
  const unlisted = (caches?.cold_sessions ?? 0) - (caches?.cold.length ?? 0); // cold ones beyond those that are named
  return [
    { name: "hot", count: live("hot").length, bytes: sum(live("hot")) },
    { name: "warm", count: live("warm").length, bytes: sum(live("warm")) },
    { name: "cold", count: caches?.cold_sessions ?? 0, bytes: caches?.cold_bytes ?? 0 },
    { name: "gone", count: Math.max(known.filter((id) => !here.has(id)).length - unlisted, 0), bytes: 0 },
  ];
}

/** What left, what became of it and why, in words; `title` gives the name of a conversation. */
export function evicted(eviction: Eviction, title: (session: string) => string): { what: string; became: string; why: string } {
  const { kind, name, step, saved, reason } = eviction;
  const what = kind === "adapter" ? `Adapter ${name}` : kind !== "kv" ? name : name === "shared pages" ? "Pages that no conversation uses" : title(name);
  const became = step === "shrunk" ? (name === "shared pages" ? "let go of" : "made smaller: hot to warm") : saved ? "saved: now cold" : "let go of: now gone";
  return { what, became, why: WHY[reason] };
}

const WHY: Record<Eviction["reason"], string> = {
  room: "something new needed room",
  pieces: "what was free lay in pieces that were too small",
  watermark: "more than 90 % were in use",
  budget: "the budget became smaller",
};
