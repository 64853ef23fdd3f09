// Reveals streamed text at an even pace: pieces come in bursts, eyes prefer a flow.

const CATCH_UP_MS = 260; // whatever is waiting is shown within about this time

export class Pace {
  private waiting = "";
  private shown = "";
  private frame = 0;
  private last = 0;
  private ended: (() => void) | null = null;
  private readonly still = matchMedia("(prefers-reduced-motion: reduce)").matches;

  constructor(private readonly show: (text: string) => void) {}

  add(piece: string): void {
    this.waiting += piece;
    if (this.still || document.hidden) this.reveal(this.waiting.length);
    else if (!this.frame) {
      this.last = performance.now();
      this.frame = requestAnimationFrame((now) => this.step(now));
    }
  }

  /** Resolves when everything that came is on the page; at once where nothing may move or nobody looks. */
  finish(): Promise<void> {
    if (!this.waiting) return Promise.resolve();
    return new Promise((resolve) => {
      this.ended = resolve;
      setTimeout(() => this.reveal(this.waiting.length), 4 * CATCH_UP_MS); // frames stop in a hidden tab
    });
  }

  private step(now: number): void {
    const share = Math.min(1, (now - this.last) / CATCH_UP_MS);
    this.last = now;
    this.frame = 0;
    this.reveal(Math.max(2, Math.ceil(this.waiting.length * share)));
    if (this.waiting) this.frame = requestAnimationFrame((later) => this.step(later));
  }

  private reveal(size: number): void {
    if (this.waiting) {
      this.shown += this.waiting.slice(0, size);
      this.waiting = this.waiting.slice(size);
      this.show(this.shown);
    }
    if (!this.waiting) this.ended?.();
  }
}
