// Why a passage was found, as parts the page can draw: shared words, similarity, and what the graph added.
import type { Source } from "./protocol";

export interface Reason {
  similarity: number | null;
  terms: string[];
  other: string[];
}

/** The memory says it in words (“shares “engine”; similar in meaning (0.62)”) or as fields; both come out the same. */
export function reason(why: Source["why"]): Reason {
  if (typeof why !== "string") return { similarity: why.similarity ?? null, terms: why.terms ?? [], other: why.graph ?? [] };
  const found: Reason = { similarity: null, terms: [], other: [] };
  for (const part of why.split("; ")) {
    const similarity = /^similar in meaning \((-?[\d.]+)\)$/.exec(part);
    if (similarity) found.similarity = Number(similarity[1]);
    else if (part.startsWith("shares ")) found.terms = [...part.matchAll(/“([^”]+)”/g)].map((match) => match[1]!);
    else found.other.push(part);
  }
  return found;
}
