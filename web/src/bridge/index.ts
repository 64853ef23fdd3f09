// What Python in a worker cannot do by itself: files of the page and of the network, big files and SQLite that last, ONNX models.
// Python finds it as globalThis.pyruvllmBridge (pyruvllm/host/browser.py is its only reader).
import { configure, asset } from "./assets";
import { openDatabase, deleteDatabase } from "./database";
import { openBlob, openFiles } from "./files";
import { createSession } from "./onnx";
import { protectionOf } from "./pagestore";
import { openRequest } from "./request";
import { openSealedFile, sealedFile } from "./sealedfile";

const storage = { openDatabase, deleteDatabase, protectionOf, sealedFile, openSealedFile };
export const bridge = { configure, asset, ...storage, createSession, openFiles, openBlob, openRequest };
export type Bridge = typeof bridge;

declare global {
  var pyruvllmBridge: Bridge | undefined;
}
globalThis.pyruvllmBridge = bridge;
