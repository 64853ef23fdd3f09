// Speaks to screen readers through the two live regions of the page.
import { byId } from "./element";

/** Said when the reader has finished what it is saying. The same sentence twice is said twice. */
export function announce(message: string): void {
  say(byId("announcer"), message);
}

/** Said at once: failures only. */
export function alarm(message: string): void {
  say(byId("alarm"), message);
}

function say(region: HTMLElement, message: string): void {
  region.textContent = "";
  requestAnimationFrame(() => (region.textContent = message));
}
