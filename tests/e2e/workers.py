"""The page's worker without the page: calls into it from a blank page of the site, for tests of several tabs."""

from playwright.sync_api import BrowserContext, Page

START = """async (database) => {
  const worker = new Worker("./worker.js", { type: "module" });
  const calls = new Map();
  let next = 1;
  window.roles = [];
  worker.onmessage = ({ data: { id, result, error, event } }) => {
    if (event?.type === "role") roles.push([event.role, event.reason, Date.now()]);
    if (event || !calls.has(id)) return;
    const { resolve, reject } = calls.get(id);
    calls.delete(id);
    if (error) reject(new Error(`${error.kind}: ${error.message}`)); else resolve(result);
  };
  window.call = (method, params) => new Promise((resolve, reject) => {
    calls.set(next, { resolve, reject });
    worker.postMessage({ id: next++, method, params });
  });
  /** Asks so often, or asks and remembers without end; what was acknowledged is said on the console. Gives how long each took. */
  window.busy = async (who, times = Infinity) => {
    const took = [];
    for (let n = 0; n < times; n++) {
      const start = performance.now();
      const answer = await call("ask", { text: `Is ${who} at berth ${n}?`, session: `berths of ${who}` });
      if (!answer.recorded) throw new Error(`${who} ${n} was not recorded`);
      console.log(`asked ${who} ${n}`);
      took.push(performance.now() - start);
      if (times < Infinity) continue;
      await call("remember", { items: [{ title: `${who} ${n}`, text: `Ferry ${who} lay at berth ${n}.`, media_type: "text/plain" }] });
      console.log(`remembered ${who} ${n}`);
    }
    return took;
  };
  return (await call("start", { database })).role;
}"""


def blank(context: BrowserContext, address: str = "") -> Page:
    """A page of the site on which nothing of its own runs. ``saved`` on it lists what it said was acknowledged."""
    page = context.new_page()
    page.saved = []  # type: ignore[attr-defined]
    page.on("console", lambda message: page.saved.append(message.text))  # type: ignore[attr-defined]
    page.goto(f"{address}manifest.webmanifest")
    return page


def start(page: Page, database: str) -> str:
    """The memory of that name in a worker of this page; returns the role it has."""
    return page.evaluate(START, database)
