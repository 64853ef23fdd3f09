// Draws again when something happened, not more often than can be watched, and not at all while nobody sees it.

export class Refresher {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private busy = false;
  private resting = false;
  private due = false;

  /** `pause`: ms from one drawing to the next at least; `beat`: ms after which it draws by itself, for what nobody tells. */
  constructor(private readonly draw: () => Promise<void>, private readonly visible: () => boolean, private readonly pause = 500, private readonly beat = 5000) {}

  /** Something happened. */
  poke(): void {
    this.due = true;
    if (!this.busy && !this.resting) void this.run();
  }

  /** It came to be seen: resolves when it is drawn. */
  async now(): Promise<void> {
    this.resting = false;
    this.due = true;
    if (!this.busy) await this.run();
  }

  /** Unseen it stops, without a timer, until it is poked or seen. */
  private async run(): Promise<void> {
    clearTimeout(this.timer);
    this.resting = false;
    if (!this.visible()) return;
    this.due = false;
    this.busy = true;
    try {
      await this.draw();
    } finally {
      this.busy = false;
      this.resting = true;
      this.timer = setTimeout(() => this.rested(), this.pause);
    }
  }

  private rested(): void {
    this.resting = false;
    if (this.due) void this.run();
    else this.timer = setTimeout(() => void this.run(), this.beat - this.pause);
  }
}
