// The rail and the source panel: columns where there is room, drawers over the page where there is none.
import { byId } from "./element";

export class Drawer {
  private before: HTMLElement | null = null;

  /** `inline` is the media query under which the panel is a column and never a drawer. */
  constructor(
    readonly panel: HTMLElement,
    private readonly opener: HTMLElement,
    closer: HTMLElement,
    private readonly inline: MediaQueryList,
  ) {
    closer.addEventListener("click", () => this.close());
    opener.addEventListener("click", () => (this.isOpen ? this.close() : this.open()));
    inline.addEventListener("change", () => this.settle());
    addEventListener("keydown", (event) => event.key === "Escape" && !document.querySelector("dialog[open]") && this.close());
    byId("scrim").addEventListener("click", () => this.close());
    this.settle();
  }

  get isOpen(): boolean {
    return this.panel.classList.contains("open");
  }

  get isInline(): boolean {
    return this.inline.matches;
  }

  /** Shows the drawer and gives it the focus, unless the panel stands in its column already or has the focus. */
  open(): void {
    if (this.inline.matches || this.isOpen) return;
    this.before = document.activeElement as HTMLElement | null;
    this.panel.inert = false;
    this.panel.classList.add("open");
    this.opener.setAttribute("aria-expanded", "true");
    this.cover(true);
    const inside = this.panel.querySelector<HTMLElement>(".source.chosen .source-open") ?? this.panel.querySelector<HTMLElement>("button, a");
    inside?.focus({ preventScroll: true });
  }

  close(): void {
    if (!this.isOpen) return;
    this.settle();
    this.cover(false);
    this.before?.focus({ preventScroll: true });
  }

  /** Out of sight is out of reach: a closed drawer takes no focus. */
  private settle(): void {
    const wasOpen = this.isOpen;
    this.panel.classList.remove("open");
    this.panel.inert = !this.inline.matches;
    this.opener.setAttribute("aria-expanded", "false");
    if (wasOpen) this.cover(false);
  }

  private cover(on: boolean): void {
    byId("scrim").hidden = !on;
    byId("stage").inert = on;
  }
}
