// What Python in a worker cannot do by itself: files of the page, SQLite that lasts, ONNX models.
// Python finds it as globalThis.pyruvllmBridge (pyruvllm/host/browser.py is its only reader).
import { configure, asset } from "./assets";
import { openDatabase, deleteDatabase } from "./database";
import { createSession } from "./onnx";

export const bridge = { configure, asset, openDatabase, deleteDatabase, createSession };
export type Bridge = typeof bridge;

declare global {
  var pyruvllmBridge: Bridge | undefined;
}
globalThis.pyruvllmBridge = bridge;
