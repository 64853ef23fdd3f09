// One database among those of other tabs: whether it writes or follows, and how that changes.
//
// Who holds the writer's lock writes. The others wait in line for it, take in what the writer saves, and are asked to by its
// messages, at the latest after POLL_MS. A lock that becomes free is inherited; one that is taken away, because its holder does not
// answer or was asked to let go, makes its holder a follower, which lets go of what it had not saved.
import { Failure, failed } from "./failure";
import type { PagedFile } from "./pagedfile";
import type { PageStore } from "./pagestore";
import { Tabs } from "./tabs";
import { inherit, seize, type Lock } from "./writer";

const POLL_MS = 1000; // what another tab saved is known at once, as it tells; at the latest after this, should a message be lost
const CLAIMS = 10;

/** What a tab is told of the others: it follows now, and why; it writes now; what it reads is newer. */
export type Told = (what: "follower" | "writer" | "refreshed", why: string) => void;

/** The database, as far as it matters here. */
export interface Member {
  readonly name: string;
  readonly store: PageStore;
  readonly file: PagedFile;
  writable: boolean;
  flush(): Promise<void>;
  /** Refuses changes from now on. */
  forbid(): void;
  /** Reads the file anew, or another one: what SQLite knew of it is not so any more. */
  reconnect(file: PagedFile): void;
  /** Commits, folds and changes of role, one after the other. */
  inTurn<T>(work: () => Promise<T>): Promise<T>;
  /** It is lost for good. */
  end(reason: string): void;
}

export class Membership {
  readonly tabs: Tabs;
  private told: Told | undefined;
  private waiting = new AbortController(); // for the lock
  private polling: ReturnType<typeof setInterval> | undefined;
  private refreshing: Promise<void> | undefined;
  private promotion: Promise<void> | undefined;
  private left = false;

  constructor(
    private readonly member: Member,
    private lock: Lock | undefined,
  ) {
    this.tabs = new Tabs(member.name, { saved: () => void this.soon(), handOver: () => this.handOver(), silent: () => this.replaceSilent() });
    if (lock) this.lead(lock);
    else this.tabs.follow();
  }

  /** From now on `told` hears of the other tabs; a follower sees what the writer saves and takes its place. */
  follow(told: Told): void {
    this.told = told;
    if (!this.member.writable && this.polling === undefined) this.await();
  }

  /** Becomes the writer. One that answers saves first; of one that does not, nothing that it acknowledged is lost. */
  async takeOver(): Promise<void> {
    if (this.member.writable) return;
    await this.tabs.handover();
    await this.seize();
  }

  /** Takes in what the writer saved, if this is a follower. */
  async refresh(): Promise<void> {
    if (!this.member.writable && !this.left) await this.member.inTurn(() => this.catchUp());
  }

  /** From writer to follower: what was not saved is let go of, and what is saved is read anew. */
  stepDown(reason: string): void {
    const { member } = this;
    if (this.left || !member.writable) return;
    member.forbid();
    this.giveBack();
    this.tabs.follow();
    const reread = async () => {
      const file = await member.store.reload();
      if (!file || this.left) return;
      member.reconnect(file);
      this.told?.("follower", reason);
      this.await();
    };
    member.inTurn(reread).catch((error: Error) => member.end(error.message));
  }

  /** Has no more to do with other tabs; calls that wait for an answer fail with the reason. */
  leave(reason: string): void {
    this.left = true;
    this.told = undefined;
    this.waiting.abort();
    clearInterval(this.polling);
    this.tabs.close(reason);
    this.giveBack();
  }

  private lead(lock: Lock): void {
    this.lock = lock;
    clearInterval(this.polling);
    globalThis.addEventListener?.("pagehide", this.hidden);
    void lock.stolen.then(() => this.lock === lock && this.stepDown("another tab took over the writing"));
    this.tabs.lead();
  }

  private giveBack(): void {
    globalThis.removeEventListener?.("pagehide", this.hidden);
    this.lock?.release();
    this.lock = undefined;
  }

  /** A page that is put aside may never come back, and others should be able to write. */
  private readonly hidden = (): void => this.member.end(`the page was left; load it again to write to "${this.member.name}"`);

  /** Steps down in a turn of its own, when nothing is on its way to the disk. */
  private async handOver(): Promise<void> {
    const { member } = this;
    const letGo = async (): Promise<boolean> => {
      if (member.writable && member.file.changed) return false;
      this.stepDown("another tab asked to write");
      return true;
    };
    do await member.flush();
    while (!(await member.inTurn(letGo)));
  }

  private async replaceSilent(): Promise<void> {
    try {
      await this.seize("the tab that wrote did not answer");
    } catch (error) {
      const text = "the tab that writes does not answer, it may be asleep, and this one could not take over";
      throw new Failure("StorageError", `${text}: ${(error as Error).message}`, { cause: error });
    }
  }

  /** Waits for the writer's place, and looks at what is saved until then. */
  private await(): void {
    clearInterval(this.polling);
    this.polling = setInterval(() => void this.soon(), POLL_MS);
    (this.polling as { unref?(): void }).unref?.(); // Node would wait for it
    void this.soon();
    const { signal } = this.waiting;
    void inherit(this.member.name, signal).then((lock) => {
      if (signal.aborted) return lock?.release(); // it takes the lock by other means, or has left
      this.promotion = this.promote(lock!, false).catch(() => undefined); // it waits again
    });
  }

  /** One refresh at a time, and one more if something came meanwhile. */
  private soon(): Promise<void> {
    if (!this.told) return Promise.resolve(); // who reads is not ready yet: nothing may change under it
    this.refreshing ??= Promise.resolve()
      .then(() => {
        this.refreshing = undefined;
        return this.refresh();
      })
      .catch(() => undefined); // what is read stays as old as it is, and the next look tries again
    return this.refreshing;
  }

  /** In turn. The image, what SQLite has read of it, and whoever indexed it change in one step. */
  private async catchUp(): Promise<void> {
    const { member } = this;
    const newer = await member.store.newer().catch((error: Error) => {
      if (error.name === "LockedError") member.end(error.message); // what it cannot read it can neither follow nor write
      throw error;
    });
    if (!newer || this.left || member.writable) return;
    member.store.take(member.file, newer);
    if (!newer.changes.length && !newer.extents.length) return;
    member.reconnect(member.file);
    this.told?.("refreshed", "");
  }

  private async seize(why = ""): Promise<void> {
    this.waiting.abort();
    await this.promotion;
    if (this.left || this.member.writable) return;
    this.waiting = new AbortController();
    await this.promote(await seize(this.member.name), true, why);
  }

  /** From follower to writer. The store is claimed before anything is written: the one before may still be committing. */
  private async promote(lock: Lock, stolen: boolean, why = ""): Promise<void> {
    const { member } = this;
    try {
      await member.inTurn(async () => {
        await this.catchUp();
        for (let claims = 1; !(await this.claimed(claims, stolen)); claims++) await this.catchUp();
        if (this.left) throw new Failure("StorageError", `the database "${member.name}" was closed`);
        member.writable = true;
        member.reconnect(member.file);
      });
    } catch (error) {
      lock.release();
      if (!this.left && !member.writable) this.await();
      throw error;
    }
    this.told?.("writer", why);
    this.lead(lock);
  }

  /**
   * False where the one before committed once more meanwhile. Who did not steal the lock need not claim now, its first commit does: a
   * full disk must not keep it from deleting.
   */
  private async claimed(attempt: number, stolen: boolean): Promise<boolean> {
    try {
      await this.member.store.claim();
      return true;
    } catch (error) {
      if ((error as Error).name === "FencedError" && attempt < CLAIMS) return false;
      if (!stolen) return true;
      throw failed(`taking over the database "${this.member.name}"`, error);
    }
  }
}
