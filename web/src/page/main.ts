// The page: builds its parts and lets them know of each other. Python is never here, it runs in the worker.
import { openAdding } from "./adding";
import type { AnswerView } from "./answer";
import { Chat } from "./chat";
import { confirm } from "./dialogs";
import { Drawer } from "./drawers";
import { chooseFiles, takeDrops } from "./drops";
import { byId, element, fill } from "./element";
import { plural } from "./format";
import { drawIcons, icon } from "./icons";
import { Intake } from "./intake";
import { KernelsView } from "./kernels";
import { MemoryView } from "./memory/view";
import { ModelJobs } from "./modeljobs";
import { ModelsView } from "./models";
import { Notebook } from "./notebook";
import { Notices } from "./notices";
import type { DocumentInfo, SessionInfo, Source } from "./protocol";
import { ProtectionView } from "./protection";
import { Rail } from "./rail";
import type { CallError } from "./rpc";
import { openReader } from "./reader";
import { listenForShortcuts, openShortcuts } from "./shortcuts";
import { sourcesLabel, SourcesPanel } from "./sources";
import { StorageView } from "./storage";
import { currentTheme, nextTheme, type Theme } from "./theme";
import { toast } from "./toasts";
import { focusUnlock } from "./unlock";
import { Welcome } from "./welcome";
import { WitnessView } from "./witness/view";

drawIcons(document);

const notebook = new Notebook();
const intake = new Intake(notebook);
const menu = new Drawer(byId("rail"), byId("menu"), byId("rail-close"), matchMedia("(min-width: 56rem)"));
const evidence = new Drawer(byId("evidence"), byId("open-evidence"), byId("evidence-close"), matchMedia("(min-width: 76rem)"));
const protection = new ProtectionView(notebook);
const storage = new StorageView(notebook, protection.root);
const log = new WitnessView(notebook);
const kernels = new KernelsView(notebook);
const memory = new MemoryView(notebook);
const jobs = new ModelJobs(notebook);
const models = new ModelsView(notebook, jobs);
const welcome = new Welcome(notebook, {
  samples: () => void intake.samples(),
  choose: () => chooseFiles((files) => void intake.files(files)),
  paste: () => openAdding(intake, "paste"),
  ask: (question) => void chat.ask(question),
  restart: () => void notebook.start(),
  unlock: (secret) => void notebook.unlock(secret),
  erase: () => void storage.erase(),
});
const panel = new SourcesPanel((id) => notebook.documents.find((document) => document.id === id), (source) => void read(source.document, source));
const chat = new Chat(notebook, panel, welcome.root, {
  explained: () => evidence.open(),
  selected: (view) => showSourcesButton(view),
  began: (session) => {
    history.replaceState(null, "", `#/c/${session}`);
    rail.select(session);
    title("Conversation");
  },
});
const rail = new Rail(notebook, { read: (document) => void read(document.id, null), forgetDocument: (document) => void forgetDocument(document), forgetSession: (session) => void forgetSession(session) });
new Notices(notebook, { restart: () => void notebook.start(), exportAll: () => void storage.exportAll(), makeRoom: () => storage.makeRoom() });

async function read(id: string, spot: Source | null): Promise<void> {
  try {
    const content = await notebook.call("document", { id });
    openReader(content, spot, notebook.readOnly ? null : () => void forgetDocument(content.document));
  } catch (error) {
    toast(`The document could not be opened: ${(error as Error).message}`, { tone: "problem" });
  }
}

async function forgetDocument(document: DocumentInfo): Promise<void> {
  const agreed = await confirm({ title: "Forget this document?", text: `“${document.title}” and its ${plural(document.passages, "passage")} are deleted from this device. Answers that quote it are withdrawn.`, confirm: "Forget", danger: true });
  if (!agreed) return;
  try {
    const removed = await forget({ document: document.id });
    if (!removed) return;
    toast(`“${document.title}” is forgotten: ${forgotten(removed)}`);
    if (removed.answers && chat.session) await chat.open(chat.session); // it may show one of them
  } catch (error) {
    toast(`Not forgotten: ${(error as Error).message}`, { tone: "problem" });
  }
  await notebook.refreshLibrary().catch(() => undefined);
}

async function forgetSession(session: SessionInfo): Promise<void> {
  const agreed = await confirm({ title: "Forget this conversation?", text: `“${session.title}”, ${plural(session.turn_count, "turn")} and the log entries of it are deleted from this device.`, confirm: "Forget", danger: true });
  if (!agreed) return;
  try {
    const removed = await forget({ session: session.id });
    if (!removed) return;
    toast(`The conversation is forgotten: ${forgotten(removed)}`);
    if (chat.session === session.id) location.hash = "#/";
  } catch (error) {
    toast(`Not forgotten: ${(error as Error).message}`, { tone: "problem" });
  }
  await notebook.refreshSessions().catch(() => undefined);
}

/** What went; null when something of it is on hold and the person left it so. */
async function forget(what: { document: string } | { session: string }): Promise<Record<string, number> | null> {
  try {
    return (await notebook.call("forget", what)).removed;
  } catch (error) {
    if ((error as CallError).kind !== "HeldError") throw error;
    const agreed = await confirm({ title: "Some of it is on hold", text: "An entry in the witness log that belongs to it was put on hold, so that it is kept. Nothing was removed so far. Forgetting it all the same ends the hold, and the log notes that.", confirm: "Forget all the same", danger: true });
    return agreed ? (await notebook.call("forget", { ...what, despite_hold: true })).removed : null;
  }
}

/** The report of a removal: what went, and that it was looked for. */
function forgotten(removed: Record<string, number>): string {
  const went = { passages: "passage", turns: "turn", answers: "quoting answer", witness: "log record", archived: "archived record", learned: "lesson", vectors: "vector", edges: "link" };
  const parts = Object.entries(went).flatMap(([key, name]) => (removed[key] ? [plural(removed[key], name)] : []));
  return `${parts.join(", ")} removed; ${removed.blended ? `${plural(removed.blended, "lesson")} made of more than this ${removed.blended === 1 ? "stays" : "stay"}; ` : ""}${plural(removed.searches ?? 0, "search", "searches")} for it found nothing`;
}

function showSourcesButton(view: AnswerView | null): void {
  const button = byId("open-evidence");
  button.hidden = !view || view.sources.length === 0;
  if (view) button.replaceChildren(icon("sources"), sourcesLabel(view));
}

function title(text: string): void {
  byId("title").textContent = text;
  document.title = text === NEW ? "PyRuvLLM" : `${text} · PyRuvLLM`;
}

const NEW = "New conversation";

/** The views beside the conversation, by their address. */
const PAGES = { log: { name: "Witness log", view: log }, storage: { name: "Storage", view: storage }, models: { name: "Language model", view: models }, memory: { name: "Memory in use", view: memory }, kernels: { name: "Kernels", view: kernels } };
type Page = keyof typeof PAGES;

const isPage = (where: string): where is Page => Object.hasOwn(PAGES, where);

function show(view: Page | "chat"): void {
  byId("view-chat").hidden = view !== "chat";
  byId("frame").dataset.view = view;
  for (const name of Object.keys(PAGES) as Page[]) {
    byId(`view-${name}`).hidden = name !== view;
    if (name === view) byId(`link-${name}`).setAttribute("aria-current", "page");
    else byId(`link-${name}`).removeAttribute("aria-current");
  }
  menu.close();
  evidence.close();
}

/** The address after # says what is shown: nothing for a new conversation, /c/ID, or a page. */
async function follow(): Promise<void> {
  const [, where = "", id = ""] = location.hash.split("/").map(decodeURIComponent);
  if (isPage(where)) {
    show(where);
    rail.select(null);
    title(PAGES[where].name);
    return PAGES[where].view.load();
  }
  show("chat");
  if (where === "c" && id) {
    title(notebook.sessions.find((session) => session.id === id)?.title ?? "Conversation");
    rail.select(id);
    if (chat.session === id) return;
    try {
      await notebook.whenReady();
      await chat.open(id);
      title(notebook.sessions.find((session) => session.id === id)?.title || "Conversation");
    } catch (error) {
      if (notebook.ready) toast(`That conversation is not here any more: ${(error as Error).message}`, { tone: "problem" });
      location.hash = "#/";
    }
    return;
  }
  title(NEW);
  rail.select(null);
  chat.begin();
  focusUnlock(byId("boot"));
}

function begin(): void {
  if (location.hash === "#/" || location.hash === "") void follow();
  else location.hash = "#/";
  chat.focus();
}

function drawTheme(theme: Theme): void {
  const names: Record<Theme, string> = { auto: "as the system", light: "light", dark: "dark" };
  byId("theme").setAttribute("aria-label", `Theme: ${names[theme]}`);
  byId("theme").replaceChildren(icon(theme));
}

function add(): void {
  if (notebook.readOnly) toast(notebook.readOnly, { tone: "problem" });
  else openAdding(intake);
}

function drawStatus(): void {
  const { phase, readOnly, role } = notebook;
  const here = role === "follower" ? "Open in another tab too" : notebook.protection ? "Protected, on this device" : "On this device";
  const text = { starting: "Starting", ready: readOnly ? "Reads only" : here, locked: "Locked", failed: "Stopped", unsupported: "Cannot run here" }[phase.name];
  byId("status").dataset.state = readOnly && phase.name === "ready" ? "readonly" : phase.name;
  byId("status-text").textContent = text;
  byId("status").dataset.role = role;
  byId("status").title = phase.name === "ready" && role === "follower" ? "The other tab saves what you do here. When it closes, this one does." : "";
  byId("composer").inert = phase.name === "locked";
  for (const id of ["add", "composer-add"]) {
    byId(id).setAttribute("aria-disabled", String(Boolean(readOnly)));
    byId(id).title = readOnly ?? "";
  }
}

const changeTheme = () => drawTheme(nextTheme());

for (const change of ["phase", "access", "library"] as const) notebook.on(change, () => (drawStatus(), welcome.draw()));
notebook.on("phase", () => {
  if (!["failed", "unsupported", "locked"].includes(notebook.phase.name)) return;
  // this is told where the conversation stands; what was asked stays visible on top of it
  if (!welcome.root.isConnected) byId("turns").append(welcome.root);
  if (byId("frame").dataset.view !== "chat") location.hash = "#/";
});
/** Says beside the question who answers. */
function drawAnswering(): void {
  const model = notebook.model;
  const name = element("a", { href: "#/models" }, model ? model.name : "Language model");
  fill(byId("composer-note"), ...(model
    ? [name, " writes the answers from your notes, on this device. It can be wrong: look at the sources."]
    : ["Answers are sentences quoted from your notes. No language model is loaded. ", name]));
}

notebook.on("model", drawAnswering);
notebook.on("phase", () => {
  drawAnswering();
  if (notebook.ready) void jobs.restore().catch(() => undefined); // the page works without it
});
notebook.on("sessions", () => {
  const open = notebook.sessions.find((session) => session.id === chat.session);
  if (open && byId("frame").dataset.view === "chat") title(open.title || "Conversation");
});
notebook.on("phase", () => {
  if (notebook.ready && chat.session && welcome.root.isConnected) welcome.root.remove();
});

byId("new-conversation").addEventListener("click", begin);
byId("add").addEventListener("click", add);
byId("composer-add").addEventListener("click", add);
byId("theme").addEventListener("click", changeTheme);
byId("shortcuts").addEventListener("click", openShortcuts);
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  location.hash = location.hash.startsWith("#/c/") ? location.hash : "#/";
  chat.focus();
});
addEventListener("hashchange", () => void follow());
takeDrops((files) => {
  const model = files.find((file) => file.name.toLowerCase().endsWith(".gguf"));
  const notes = files.filter((file) => !file.name.toLowerCase().endsWith(".gguf"));
  if (model) models.open(model);
  if (notes.length) void intake.files(notes);
});
listenForShortcuts({
  ask: () => {
    if (byId("frame").dataset.view !== "chat") location.hash = chat.session ? `#/c/${chat.session}` : "#/";
    chat.focus();
  },
  begin,
  add,
  log: () => (location.hash = "#/log"),
  storage: () => (location.hash = "#/storage"),
  models: () => (location.hash = "#/models"),
  memory: () => (location.hash = "#/memory"),
  kernels: () => (location.hash = "#/kernels"),
  theme: changeTheme,
});

drawTheme(currentTheme());
drawStatus();
void follow();
void notebook.start();
