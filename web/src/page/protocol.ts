// What the page and the worker say to each other. Plain data; times are UTC milliseconds, offsets count code points (Python's).

export interface Latency {
  embedding_ms: number;
  retrieval_ms: number;
  routing_ms: number;
  attention_ms: number;
  generation_ms: number;
  total_ms: number;
}

export interface Routing {
  model: string;
  context_size: number;
  temperature: number;
  top_p: number;
  confidence: number;
  model_probs: number[];
  policy: string;
}

/** Why a passage was found. `similarity` is a cosine; `terms` are the words it shares with the question. */
export interface Why {
  similarity: number | null;
  vector_rank: number | null;
  bm25: number | null;
  text_rank: number | null;
  terms: string[];
  graph: string[];
}

export interface Source {
  number: number;
  id: string;
  document: string;
  title: string;
  heading: string | null;
  text: string;
  score: number;
  why: Why;
  start: number;
  end: number;
  highlight: [number, number][];
}

export interface Answer {
  id: string;
  text: string;
  kind: "extractive" | "none";
  sources: Source[];
  latency: Latency;
  routing: Routing;
  recorded: boolean;
  /** How it was rated, in a conversation that is opened again. */
  quality?: number | null;
}

export interface DocumentInfo {
  id: string;
  title: string;
  media_type: string;
  size: number;
  passages: number;
  created_at: number;
}

export interface Passage {
  id: string;
  ordinal: number;
  start: number;
  end: number;
  heading: string | null;
  text: string;
}

export interface Item {
  title: string;
  text: string;
  media_type: string;
}

export interface Remembered {
  documents: DocumentInfo[];
  skipped: { title: string; reason: string }[];
  questions?: string[];
}

export interface SessionInfo {
  id: string;
  title: string;
  turn_count: number;
  last_active: number;
}

export interface Turn {
  role: "user" | "assistant";
  text: string;
  created_at: number;
  answer?: Answer;
}

export interface WitnessEntry {
  id: string;
  session: string;
  query: string;
  model: string;
  quality: number | null;
  latency: Latency;
  routing: Routing;
  sources: number;
  timestamp: number;
  error: { kind: string; message: string } | null;
}

export interface Stats {
  storage: { database_bytes: number; quota_bytes: number | null; usage_bytes: number | null; persisted: boolean | null };
  memory: { heap_bytes: number };
  counts: Record<string, number>;
  space: unknown;
  writeback: { queued: number; written: number; dropped: number };
  durable_ms: number | null;
}

/** A kernel for an operation at a shape class. `seconds` a run, the median of its samples; `excluded` says why it may not serve. */
export interface KernelInfo {
  name: string;
  seconds: number | null;
  samples: number;
  excluded: string | null;
}

/** An operation at sizes up to those that `shape` names. `serves` is null while the kernels for it are being tried. */
export interface ShapeClass {
  shape: string;
  serves: string | null;
  since: number;
  uses: number;
  kernels: KernelInfo[];
}

/** `compiled`: there is a kernel for it that this engine can run. Without classes it was not used yet. */
export interface Operation {
  name: string;
  does: string;
  compiled: boolean;
  explained: string | null;
  classes: ShapeClass[];
}

/** What computes. `pack.key` is the id of the key that signed it, null where no pack can be used and numpy computes. */
export interface Kernels {
  engine: string;
  features: string[];
  pack: { name: string; version: number; modules: number; compiled: number; key: string | null };
  refused: { place: string; why: string }[];
  banned: { operation: string; kernel: string; why: string }[];
  operations: Operation[];
}

export interface Started {
  writable: boolean;
  reason: string | null;
  version: string;
  space: unknown;
  timings: Record<string, number>;
  counts: Record<string, number>;
}

export type Stage = "python" | "packages" | "memory" | "model";

export type ProtocolEvent =
  | { type: "progress"; label: string; done: number; total: number; stage?: Stage }
  | { type: "sources"; sources: Source[] }
  | { type: "piece"; text: string }
  | { type: "lost"; reason: string }
  | { type: "writable-soon" }
  | { type: "unsaved"; message: string }
  | { type: "crashed"; kind: string; message: string };

/** Whether it tells of the memory as a whole and not of one call: the writer's lock lost or free again, a full disk. */
export function isOfTheMemory(event: ProtocolEvent): boolean {
  return event.type === "lost" || event.type === "writable-soon" || event.type === "unsaved";
}

type Nothing = Record<string, never>;

export interface Methods {
  start: { params: { database: string }; result: Started };
  remember: { params: { items: Item[] }; result: Remembered };
  remember_samples: { params: Nothing; result: Remembered };
  documents: { params: Nothing; result: { documents: DocumentInfo[] } };
  document: { params: { id: string }; result: { document: DocumentInfo; text: string; passages: Passage[] } };
  forget: { params: { document: string } | { session: string }; result: { removed: Record<string, number> } };
  ask: { params: { text: string; session: string }; result: Answer };
  flush: { params: Nothing; result: Nothing };
  feedback: { params: { id: string; quality: number }; result: Nothing };
  sessions: { params: Nothing; result: { sessions: SessionInfo[] } };
  session: { params: { id: string }; result: { turns: Turn[] } };
  witness: { params: { limit: number; offset: number; where?: Record<string, unknown>; query?: string }; result: { total: number; entries: WitnessEntry[] } };
  stats: { params: Nothing; result: Stats };
  kernels: { params: Nothing; result: { kernels: Kernels | null } };
  export: { params: Nothing; result: { name: string; bytes: ArrayBuffer } };
  import: { params: { bytes: ArrayBuffer }; result: { counts: Record<string, number> } };
  erase: { params: Nothing; result: Nothing };
}

export type Method = keyof Methods;
export type Request = { id: number; method: Method | "cancel"; params: unknown };
export type Reply = { id?: number; result?: unknown; error?: { kind: string; message: string }; event?: ProtocolEvent };
