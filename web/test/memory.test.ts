import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { evicted, pageBars, shares, tiers } from "../src/page/memory/figures";
import { Refresher } from "../src/page/memory/refresher";
import type { InUse, LiveCache } from "../src/page/protocol";

const live = (session: string, more: Partial<LiveCache> = {}): LiveCache => ({
  session, tier: "hot", tokens: 150, exact_tokens: 86, exact_bytes: 6 * 16384, exact_pages: 6, old: "q8", old_tokens: 64, old_bytes: 4 * 8704, old_pages: 4, old_layers: 4, layers: 4, state_bytes: 4096, bytes: 6 * 16384 + 4 * 8704 + 4096, ...more,
});
const use = (more: Partial<InUse> = {}): InUse => ({
  pressure: "nominal", budget: 1_000_000, used: 300_000, kinds: { kv: 200_000, index: 60_000, embedding: 40_000 }, answering: [],
  caches: { hits: { hot: 0, warm: 0, cold: 0, gone: 2 }, pages: { pages: 10, exact: 120_000, old: 50_000, shared: 0, idle: 0 }, page_tokens: 16, live: [live("a"), live("b", { tier: "warm", bytes: 5000 })], cold: [{ session: "c", bytes: 700, tokens: 90, saved_at: 1, fits: true }], cold_sessions: 2, cold_bytes: 1500 },
  ...more,
});

test("the parts of the budget add up to it, and those of the conversations to what they hold", () => {
  const parts = shares(use());
  assert.equal(parts.reduce((sum, part) => sum + part.bytes, 0), 1_000_000);
  assert.ok(Math.abs(parts.reduce((sum, part) => sum + part.part, 0) - 1) < 1e-9);
  const bytes = Object.fromEntries(parts.map((part) => [part.key, part.bytes]));
  assert.deepEqual(bytes, { exact: 120_000, old: 50_000, state: 30_000, adapter: 0, index: 60_000, embedding: 40_000, router: 0, free: 700_000 });
});

test("without a model there are no conversations among the parts", () => {
  const parts = shares(use({ caches: undefined, kinds: { index: 60_000 }, used: 60_000 }));
  assert.deepEqual(parts.map((part) => part.key), ["index", "embedding", "router", "free"]);
  assert.equal(parts.at(-1)!.bytes, 1_000_000);
  assert.ok(Math.abs(parts.reduce((sum, part) => sum + part.part, 0) - 1) < 1e-9);
});

test("more in use than the budget leaves nothing free and no bar longer than the picture", () => {
  const parts = shares(use({ budget: 200_000 }));
  assert.equal(parts.at(-1)!.bytes, 0);
  assert.ok(Math.abs(parts.reduce((sum, part) => sum + part.part, 0) - 1) < 1e-9);
});

test("each page is a bar as wide as its tokens and as high as what it takes", () => {
  const bars = pageBars(live("a"), 16);
  assert.deepEqual(bars.map((bar) => bar.first), [0, 16, 32, 48, 64, 80, 96, 112, 128, 144]);
  assert.deepEqual(bars.map((bar) => bar.kind), [...Array(4).fill("old"), ...Array(6).fill("exact")]);
  assert.equal(bars.reduce((sum, bar) => sum + bar.tokens, 0), 150);
  assert.equal(bars.at(-1)!.tokens, 6);
  assert.ok(Math.abs(bars[0]!.height - 8704 / 16384) < 1e-9 && bars[9]!.height === 1);
  assert.equal(pageBars(live("a", { tokens: 0, exact_tokens: 0, exact_pages: 0, exact_bytes: 0, old_tokens: 0, old_pages: 0, old_bytes: 0 }), 16).length, 0);
});

test("where pages could not be told apart, each tier is one bar", () => {
  const bars = pageBars(live("a", { tokens: 4000, exact_tokens: 240, exact_pages: 15, old_tokens: 3760, old_pages: 235 }), 16);
  assert.deepEqual(bars.map(({ first, tokens }) => [first, tokens]), [[0, 3760], [3760, 240]]);
});

test("each conversation is in one tier", () => {
  const found = tiers(use(), ["a", "b", "c", "d", "e", "f"]);
  // one of the two cold ones is not named: of d, e and f two are gone
  assert.deepEqual(found.map(({ name, count }) => [name, count]), [["hot", 1], ["warm", 1], ["cold", 2], ["gone", 2]]);
  assert.equal(found[2]!.bytes, 1500);
});

test("what left is told in words", () => {
  const of = (more: object) => evicted({ kind: "kv", name: "a", step: "evicted", bytes: 1, at: 0, reason: "room", saved: true, ...more }, (id) => `“${id}”`);
  assert.deepEqual(of({}), { what: "“a”", became: "saved: now cold", why: "something new needed room" });
  assert.equal(of({ saved: false }).became, "let go of: now gone");
  assert.equal(of({ step: "shrunk", reason: "budget" }).became, "made smaller: hot to warm");
  assert.equal(of({ name: "shared pages", step: "shrunk" }).what, "Pages that no conversation uses");
  assert.equal(of({ kind: "adapter", name: "formal" }).what, "Adapter formal");
});

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

test("it draws at once, then not more often than its pause, and the last change is seen", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  let drawn = 0;
  const refresher = new Refresher(async () => void drawn++, () => true, 500, 5000);
  for (let piece = 0; piece < 40; piece++) refresher.poke();
  await settled();
  assert.equal(drawn, 1);
  mock.timers.tick(499);
  await settled();
  assert.equal(drawn, 1);
  refresher.poke();
  mock.timers.tick(1);
  await settled();
  assert.equal(drawn, 2);
  mock.timers.tick(500);
  await settled();
  assert.equal(drawn, 2);
  mock.timers.tick(4500);
  await settled();
  assert.equal(drawn, 3);
  mock.timers.reset();
});

test("unseen it does not draw, whatever happens, and no timer runs; seen again it draws", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  let drawn = 0;
  let seen = true;
  const refresher = new Refresher(async () => void drawn++, () => seen, 500, 5000);
  await refresher.now();
  seen = false;
  mock.timers.tick(60_000);
  refresher.poke();
  await settled();
  mock.timers.tick(60_000);
  await settled();
  assert.equal(drawn, 1);
  seen = true;
  mock.timers.tick(60_000);
  await settled();
  assert.equal(drawn, 1);
  await refresher.now();
  assert.equal(drawn, 2);
  mock.timers.reset();
});
