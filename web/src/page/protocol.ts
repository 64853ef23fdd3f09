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

/** Times in ms, the first token's from the question on. `finish`: "stop", "length", "context" or "cancelled". */
export interface Generated {
  model: string;
  prompt_tokens: number;
  completion_tokens: number;
  first_token_ms: number;
  tokens_per_second: number;
  finish: string;
  /** Tokens guessed and checked together, those that were right, and who guessed or why it rests, in words. */
  guessed: number;
  accepted: number;
  guessing: string;
}

export interface Answer {
  id: string;
  text: string;
  kind: "generated" | "extractive" | "none";
  sources: Source[];
  latency: Latency;
  routing: Routing;
  recorded: boolean;
  /** How a language model wrote it; null where it is quoted. */
  generated: Generated | null;
  /** In words, what is not as one would expect. */
  notes: string[];
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
  generated: Generated | null;
  quality: number | null;
  latency: Latency;
  routing: Routing;
  sources: number;
  timestamp: number;
  error: { kind: string; message: string } | null;
  /** Why it may not be removed. */
  hold: string | null;
}

/** What entries are looked for; all of it must hold. Times are UTC milliseconds. */
export interface Criteria {
  since?: number;
  until?: number;
  quality_below?: number;
  quality_at_least?: number;
  rated?: boolean;
  model?: string;
  session?: string;
  error?: string | boolean;
  slower_than?: number;
  held?: boolean;
}

export type Question = "low_quality" | "similar_errors" | "latency_spikes";

/** `like` is the entry that the others are like; `median_ms` is what is usual, `threshold_ms` what is more than that. */
export interface FoundEntries {
  total: number;
  entries: WitnessEntry[];
  like?: WitnessEntry | null;
  median_ms?: number | null;
  threshold_ms?: number | null;
}

/** Of the entries of a span of time. `latency` has p50, p90 and p99 of each step. */
export interface Figures {
  start: number;
  end: number;
  count: number;
  rated: number;
  quality: number | null;
  errors: number;
  error_rate: number | null;
  models: Record<string, number>;
  latency: Record<keyof Latency, [number, number, number]> | null;
}

/** `trend` is by how much the rating rises a day; `models` and `kinds` are all that there are, whatever the criteria. */
export interface Summary {
  total: Figures;
  buckets: Figures[];
  bucket_ms: number;
  trend: number | null;
  models: string[];
  kinds: string[];
  retention: { max_age_ms: number | null; max_entries: number | null };
}

export interface Cleared {
  removed: number;
  held: number;
  changed: number;
}

interface WitnessMethods {
  witness: { params: { limit: number; offset: number; criteria?: Criteria; about?: string; like?: string; question?: Question; archived: boolean }; result: FoundEntries };
  witness_summary: { params: { origin: number; criteria?: Criteria; archived: boolean }; result: Summary };
  witness_verify: { params: { head?: string }; result: { entries: number; links: number; head: string; removed: Record<string, number>; adopted: number; broken: string | null } };
  witness_hold: { params: { id: string; reason?: string }; result: WitnessEntry };
  witness_keep: { params: { max_age_ms?: number; max_entries?: number }; result: Cleared };
  witness_export: { params: { format: "jsonl" | "otlp"; text: boolean; criteria?: Criteria; archived: boolean }; result: { name: string; bytes: ArrayBuffer } };
  witness_archive: { params: { until: number }; result: { name: string; id: string; entries: number } };
  witness_clear: { params: { id: string }; result: Cleared };
  witness_open: { params: { bytes: ArrayBuffer }; result: { made_at: number; entries: number; sealed: number } };
  witness_close: { params: Nothing; result: Nothing };
}

export interface Stats {
  storage: { database_bytes: number; quota_bytes: number | null; usage_bytes: number | null; persisted: boolean | null };
  memory: { heap_bytes: number };
  counts: Record<string, number>;
  space: unknown;
  writeback: { queued: number; written: number; dropped: number };
  durable_ms: number | null;
}

/** What one collection takes, in bytes but for `rows` and `edges`. `bytes` is the sum. */
export interface Share {
  name: string;
  bytes: number;
  rows: number;
  text: number;
  words: number;
  vectors: number;
  index: number;
  edges: number;
}

/** Where the database's bytes are; all of it adds up to `size`. */
export interface StorageReport {
  size: number;
  collections: Share[];
  edges: number;
  caches: Record<string, number>;
  other: Record<string, number>;
  free: number;
  structure: number;
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

/** "writer": this tab saves for all; "follower": another tab saves what is done here; "reader": nothing can be saved here. */
export type Role = "writer" | "follower" | "reader";

/** The language model that answers. `last`: how it wrote its last answer. `draft`: the smaller one that guesses for it. */
export interface LoadedModel {
  id: string;
  name: string;
  architecture: string;
  nbytes: number;
  context: number;
  load_ms: number;
  last: Generated | null;
  draft: LoadedModel | null;
}

/** A model file on this device. `done` of `size` bytes are here; `trust` says how its sha256 was known. */
export interface KeptModel {
  id: string;
  name: string;
  size: number;
  done: number;
  sha256: string | null;
  trust: "known" | "first use" | "file";
  url: string | null;
  entry: string | null;
  added_at: number;
  complete: boolean;
}

/** A change of a model, kept in this notebook. `fits`: it was made for the model that is loaded. */
export interface KeptAdapter {
  name: string;
  version: number;
  saved_at: number;
  nbytes: number;
  fits: boolean;
  ready: boolean;
}

export interface CatalogEntry {
  id: string;
  title: string;
  maker: string;
  url: string;
  size: number;
  quantization: string;
  licence: string;
  template: string;
  pinned: boolean;
  need: number;
  fit: { verdict: "fits" | "tight" | "too large"; why: string };
}

export interface Models {
  loaded: LoadedModel | null;
  kernels: boolean;
  built_in: { title: string; file: string; size: number; licence: string } | null;
  store: { kind: "opfs" | "indexeddb" | "folder" | null; problem: string | null };
  kept: KeptModel[];
  catalog: CatalogEntry[];
  adapters: KeptAdapter[];
}

export type Kind = "kv" | "adapter" | "router" | "index" | "embedding";

/** One that happened. `saved`: it can come back as it was. */
export interface Eviction {
  kind: Kind;
  name: string;
  step: "shrunk" | "evicted";
  bytes: number;
  at: number;
  reason: "room" | "pieces" | "watermark" | "budget";
  saved: boolean;
}

/** The pool, in bytes; `high`, `low`: the watermarks. `map`: how full equal parts of the first `touched` bytes of its region are, 0 to 1. */
export interface PoolReport {
  high: number;
  low: number;
  peak: number;
  wasted: number;
  fragmentation: number;
  largest_hole: number;
  region: number;
  touched: number;
  map: number[];
  counts: { shrunk: number; evicted: number; refused: number };
  evictions: Eviction[];
}

/** What a model has in memory of a conversation. Pages that others share count with each. `old`: kind of the older tokens. */
export interface LiveCache {
  session: string;
  tier: "hot" | "warm";
  tokens: number;
  exact_tokens: number;
  exact_bytes: number;
  exact_pages: number;
  old: string;
  old_tokens: number;
  old_bytes: number;
  old_pages: number;
  old_layers: number;
  layers: number;
  state_bytes: number;
  bytes: number;
}

/** What is saved of one. `fits`: it was saved for the model that is loaded. */
export interface ColdCache {
  session: string;
  bytes: number;
  tokens: number;
  saved_at: number;
  fits: boolean;
}

/** `hits`: where they were when they went on. `pages`: bytes in the pool, each page once. */
export interface CachesReport {
  hits: { hot: number; warm: number; cold: number; gone: number };
  pages: { pages: number; exact: number; old: number; shared: number; idle: number };
  page_tokens: number;
  live: LiveCache[];
  cold: ColdCache[];
  cold_sessions: number;
  cold_bytes: number;
}

/** Working memory. Without a model `pool` and `caches` are not there, and `budget` is what conversations could have at most. */
export interface InUse {
  pressure: "nominal" | "fair" | "serious" | "critical";
  device?: number | null;
  heap?: number | null;
  limit?: number | null;
  budget: number;
  used: number;
  kinds: Partial<Record<Kind, number>>;
  pool?: PoolReport | null;
  caches?: CachesReport | null;
  model?: { id: string; name: string; context: number } | null;
  answering: string[];
}

/** How answers are written; what is missing is left to the router. */
export interface Settings {
  use_model: boolean;
  temperature?: number;
  top_p?: number;
  max_tokens: number;
}

/** What opens a sealed memory. `this_device`: this browser has the key. */
export interface Protection {
  passphrase: boolean;
  device_key: boolean;
  this_device: boolean;
}

/** What a person opens a memory with; neither: this device's key is tried. */
export interface Secret {
  passphrase?: string;
  device_key?: boolean;
}

export interface Started {
  role: Role;
  protection: Protection | null;
  version: string;
  space: unknown;
  timings: Record<string, number>;
  counts: Record<string, number>;
}

export type Stage = "python" | "packages" | "memory" | "model";

export type ProtocolEvent =
  | { type: "progress"; label: string; done: number; total: number; stage?: Stage }
  | { type: "sources"; sources: Source[]; generating: boolean }
  | { type: "piece"; text: string }
  | { type: "part"; bytes: Uint8Array<ArrayBuffer> }
  | { type: "lost"; reason: string }
  | { type: "role"; role: Role; reason: string }
  | { type: "changed" }
  | { type: "unsaved"; message: string }
  | { type: "crashed"; kind: string; message: string };

/** Whether it tells of the memory as a whole and not of one call: what other tabs did, a full disk. */
export function isOfTheMemory(event: ProtocolEvent): boolean {
  return ["lost", "role", "changed", "unsaved"].includes(event.type);
}

type Nothing = Record<string, never>;

export interface Methods extends WitnessMethods {
  start: { params: { database: string } & Secret; result: Started };
  protection: { params: { database: string }; result: { protection: Protection | null } };
  protect: { params: Secret; result: { protection: Protection | null } };
  unprotect: { params: Nothing; result: { protection: Protection | null } };
  change_keys: { params: Secret & { current?: string }; result: { protection: Protection | null } };
  lock: { params: Nothing; result: Nothing };
  remember: { params: { items: Item[] }; result: Remembered };
  remember_samples: { params: Nothing; result: Remembered };
  documents: { params: Nothing; result: { documents: DocumentInfo[] } };
  document: { params: { id: string }; result: { document: DocumentInfo; text: string; passages: Passage[] } };
  forget: { params: ({ document: string } | { session: string }) & { despite_hold?: boolean }; result: { removed: Record<string, number> } };
  ask: { params: { text: string; session: string; settings: Settings }; result: Answer };
  stop: { params: { session: string }; result: Nothing };
  models: { params: Nothing; result: Models };
  model_load: { params: { id?: string; file?: File; keep?: boolean; context?: number }; result: { loaded: LoadedModel } };
  draft_load: { params: { id?: string; file?: File; keep?: boolean }; result: { draft: LoadedModel } };
  draft_unload: { params: Nothing; result: Nothing };
  adapter_add: { params: { file: File }; result: { adapter: KeptAdapter } };
  adapter_remove: { params: { name: string }; result: Nothing };
  session_adapter: { params: { session: string; adapter: string | null }; result: Nothing };
  model_unload: { params: Nothing; result: { heap_bytes: number } };
  model_download: { params: { id: string; restart?: boolean }; result: { kept: KeptModel } };
  model_delete: { params: { id: string }; result: Nothing };
  flush: { params: Nothing; result: Nothing };
  feedback: { params: { id: string; quality: number }; result: Nothing };
  sessions: { params: Nothing; result: { sessions: SessionInfo[] } };
  session: { params: { id: string }; result: { turns: Turn[]; adapter: string | null } };
  stats: { params: Nothing; result: Stats };
  storage: { params: Nothing; result: { report: StorageReport } };
  make_room: { params: Nothing; result: { room: { embeddings: number; packs: number; before: number; after: number } } };
  in_use: { params: Nothing; result: InUse };
  kernels: { params: Nothing; result: { kernels: Kernels | null } };
  export: { params: { passphrase?: string }; result: { name: string; bytes: ArrayBuffer } };
  import: { params: { bytes: ArrayBuffer; passphrase?: string }; result: { counts: Record<string, number> } };
  erase: { params: Nothing; result: Nothing };
}

export type Method = keyof Methods;
export type Request = { id: number; method: Method | "cancel"; params: unknown };
export type Reply = { id?: number; result?: unknown; error?: { kind: string; message: string }; event?: ProtocolEvent };
