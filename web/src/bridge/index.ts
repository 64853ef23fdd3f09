// What Python in a worker cannot do by itself: files of the page, SQLite that lasts, ONNX models.
// Python finds it as globalThis.pyruvllmBridge (pyruvllm/host/browser.py is its only reader).
import { configure, asset } from "./assets";
import { openDatabase, deleteDatabase } from "./database";
import { createSession } from "./onnx";
import { protectionOf } from "./pagestore";
import { openSealedFile, sealedFile } from "./sealedfile";

export const bridge = { configure, asset, openDatabase, deleteDatabase, protectionOf, sealedFile, openSealedFile, createSession };
export type Bridge = typeof bridge;

declare global {
  var pyruvllmBridge: Bridge | undefined;
}
globalThis.pyruvllmBridge = bridge;
