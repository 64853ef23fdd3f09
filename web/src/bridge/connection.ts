// One SQLite connection over a PagedFile: statements compiled once and kept, parameters and results as packed rows.
import type { SqlDatabase } from "sql.js";
import type { Engine } from "./engine";
import { Failure, type Kind } from "./failure";
import type { PagedFile } from "./pagedfile";
import { PackedRows, RowPacker, ValueKind } from "./rows";

const ROW = 100;
const DONE = 101;
const TRANSIENT = -1; // SQLite copies the text at once
const STATIC = 0; // it stays where it is while the statement runs
const KEPT_STATEMENTS = 100;
const CHANGES_ROWS = /^\s*(insert|update|delete|replace)\b/i;
const REPLACES_FILE = /^\s*vacuum\b/i;
const KINDS: Record<number, Kind> = { 8: "ReadOnlyError", 11: "CorruptError", 13: "QuotaError", 26: "CorruptError" }; // by SQLite's result code

// cache_spill: pages must reach the file at commit only, since a rollback after a spill truncates the file behind our back.
// locking_mode: without it every read asks the file system for locks, twenty times slower. journal_mode: rollback needs one.
const PRAGMAS = ["cache_spill = 0", "locking_mode = exclusive", "journal_mode = memory", "temp_store = memory", "cache_size = -8192", "foreign_keys = 1", "secure_delete = 1"];
const NO_PARAMETERS = new PackedRows(new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0])); // one row of none

interface Statement {
  pointer: number;
  parameters: number;
}

export class Connection {
  /** Why the database can no longer be trusted, if something went wrong inside SQLite itself. */
  broken: Failure | undefined;
  private readonly database: SqlDatabase;
  private readonly statements = new Map<string, Statement>(); // least recently used first
  private readonly scratch: number; // two pointers: statement and tail

  constructor(
    private readonly engine: Engine,
    readonly file: PagedFile,
  ) {
    this.database = new engine.sqlite.Database(file.handover());
    this.scratch = engine.sqlite._malloc(8);
    try {
      if (!file.adopted) throw new Failure("StorageError", "this version of sql.js did not take the paged file as its own");
      for (const pragma of PRAGMAS) this.run(`PRAGMA ${pragma}`);
      this.query("SELECT count(*) FROM sqlite_schema"); // the first look into the file: fails if it is no database
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Refuses every change from now on. */
  forbidWrites(): void {
    this.run("PRAGMA query_only = 1");
  }

  /** Throws CorruptError unless SQLite finds the whole file in order. */
  requireSound(): void {
    const report = new PackedRows(this.query("PRAGMA integrity_check(1)"));
    const verdict = new TextDecoder().decode(report.heap);
    if (verdict !== "ok") throw new Failure("CorruptError", `this SQLite file is damaged: ${verdict}`);
  }

  /** Runs one statement once per row of parameters, or once without any: all or none. Returns how many rows it changed. */
  run(sql: string, packed?: Uint8Array): number {
    const parameters = packed ? new PackedRows(packed) : NO_PARAMETERS;
    if (parameters.rows < 2) return this.runEach(sql, parameters);
    this.runEach("SAVEPOINT many");
    try {
      const changed = this.runEach(sql, parameters);
      this.runEach("RELEASE many");
      return changed;
    } catch (error) {
      this.takeBack();
      throw error;
    }
  }

  /** All rows of one statement, packed. */
  query(sql: string, packed?: Uint8Array): Uint8Array {
    const statement = this.prepared(sql);
    const packer = new RowPacker();
    let columns = 0;
    this.eachRow(statement, packed ? new PackedRows(packed) : NO_PARAMETERS, () => {
      while (this.step(statement) === ROW) {
        columns ||= this.engine.sqlite._sqlite3_column_count(statement.pointer);
        for (let column = 0; column < columns; column++) this.packValue(packer, statement.pointer, column);
        packer.endRow();
      }
    });
    return packer.packed(columns);
  }

  close(): void {
    for (const { pointer } of this.statements.values()) this.engine.sqlite._sqlite3_finalize(pointer);
    this.statements.clear();
    this.engine.sqlite._free(this.scratch);
    if (!this.broken) this.database.close();
  }

  private runEach(sql: string, parameters = NO_PARAMETERS): number {
    const statement = this.prepared(sql);
    const counts = CHANGES_ROWS.test(sql);
    let changed = 0;
    this.eachRow(statement, parameters, () => {
      while (this.step(statement) === ROW);
      if (counts) changed += this.engine.sqlite._sqlite3_changes(this.database.db);
    });
    return changed;
  }

  private takeBack(): void {
    try {
      this.runEach("ROLLBACK TO many");
      this.runEach("RELEASE many");
    } catch {
      // without memory SQLite has rolled back all savepoints already
    }
  }

  private eachRow(statement: Statement, parameters: PackedRows, act: () => void): void {
    const { sqlite, memory } = this.engine;
    if (parameters.rows && parameters.columns !== statement.parameters) {
      throw new Failure("StorageError", `the statement takes ${statement.parameters} parameters, ${parameters.columns} were given`);
    }
    const heap = sqlite._malloc(parameters.heap.length + 1);
    new Uint8Array(memory.buffer).set(parameters.heap, heap);
    try {
      for (let row = 0; row < parameters.rows; row++) {
        this.bind(statement, parameters, row, heap);
        act();
        sqlite._sqlite3_reset(statement.pointer);
      }
    } finally {
      sqlite._sqlite3_reset(statement.pointer);
      sqlite._sqlite3_clear_bindings(statement.pointer);
      sqlite._free(heap);
    }
  }

  private bind({ pointer }: Statement, parameters: PackedRows, row: number, heap: number): void {
    const { sqlite } = this.engine;
    for (let column = 0; column < parameters.columns; column++) {
      const value = row * parameters.columns + column;
      switch (parameters.kinds[value]) {
        case ValueKind.Integer:
          this.check(this.bindInteger(pointer, column + 1, parameters.integer(value)));
          break;
        case ValueKind.Float:
          this.check(sqlite._sqlite3_bind_double(pointer, column + 1, parameters.float(value)));
          break;
        case ValueKind.Null:
          this.check(sqlite._sqlite3_bind_blob(pointer, column + 1, 0, 0, STATIC));
          break;
        default: {
          const [offset, length] = parameters.span(value);
          const bind = parameters.kinds[value] === ValueKind.Text ? sqlite._sqlite3_bind_text : sqlite._sqlite3_bind_blob;
          this.check(bind(pointer, column + 1, heap + offset, length, STATIC));
        }
      }
    }
  }

  // sql.js exports no 64-bit binding. A float that is a whole number, or beyond 2**53 its decimal digits, become the same
  // integer in an INTEGER column, and floats compare with integers by value everywhere.
  private bindInteger(statement: number, parameter: number, value: bigint): number {
    const { sqlite, memory } = this.engine;
    const number = Number(value);
    if (number === (number | 0)) return sqlite._sqlite3_bind_int(statement, parameter, number);
    if (Number.isSafeInteger(number)) return sqlite._sqlite3_bind_double(statement, parameter, number);
    const digits = new TextEncoder().encode(String(value));
    const pointer = sqlite._malloc(digits.length);
    new Uint8Array(memory.buffer).set(digits, pointer);
    try {
      return sqlite._sqlite3_bind_text(statement, parameter, pointer, digits.length, TRANSIENT);
    } finally {
      sqlite._free(pointer);
    }
  }

  private packValue(packer: RowPacker, statement: number, column: number): void {
    const { sqlite } = this.engine;
    switch (sqlite._sqlite3_column_type(statement, column)) {
      case 1: {
        const number = sqlite._sqlite3_column_double(statement, column);
        packer.integer(Number.isSafeInteger(number) ? BigInt(number) : BigInt(new TextDecoder().decode(this.columnBytes(statement, column, true))));
        break;
      }
      case 2:
        packer.float(sqlite._sqlite3_column_double(statement, column));
        break;
      case 3:
        packer.bytes(ValueKind.Text, this.columnBytes(statement, column, true));
        break;
      case 4:
        packer.bytes(ValueKind.Blob, this.columnBytes(statement, column, false));
        break;
      default:
        packer.null();
    }
  }

  private columnBytes(statement: number, column: number, text: boolean): Uint8Array {
    const { sqlite, memory } = this.engine;
    const pointer = text ? sqlite._sqlite3_column_text(statement, column) : sqlite._sqlite3_column_blob(statement, column);
    return new Uint8Array(memory.buffer, pointer, sqlite._sqlite3_column_bytes(statement, column));
  }

  private prepared(sql: string): Statement {
    const kept = this.statements.get(sql);
    const statement = kept ?? this.prepare(sql);
    if (kept) this.statements.delete(sql);
    this.statements.set(sql, statement);
    if (this.statements.size > KEPT_STATEMENTS) {
      const [oldest, { pointer }] = this.statements.entries().next().value!;
      this.engine.sqlite._sqlite3_finalize(pointer);
      this.statements.delete(oldest);
    }
    return statement;
  }

  private prepare(sql: string): Statement {
    if (REPLACES_FILE.test(sql)) throw new Failure("StorageError", "VACUUM cannot run on a live database in the browser: it would replace the file");
    const { sqlite, memory } = this.engine;
    const text = new TextEncoder().encode(sql + "\0");
    const at = sqlite._malloc(text.length);
    new Uint8Array(memory.buffer).set(text, at);
    let pointer: number;
    try {
      this.check(this.guarded(() => sqlite._sqlite3_prepare_v2(this.database.db, at, text.length, this.scratch, this.scratch + 4)));
      const out = new DataView(memory.buffer);
      pointer = out.getUint32(this.scratch, true);
      const rest = new TextDecoder().decode(text.subarray(out.getUint32(this.scratch + 4, true) - at, -1)).trim();
      if (!pointer || rest) {
        sqlite._sqlite3_finalize(pointer);
        throw new Failure("StorageError", pointer ? `one statement at a time, please; this follows the first: ${rest}` : "there is no SQL statement in this text");
      }
    } finally {
      sqlite._free(at);
    }
    let parameters = 0;
    while (sqlite._sqlite3_bind_int(pointer, parameters + 1, 0) === 0) parameters++;
    sqlite._sqlite3_clear_bindings(pointer);
    return { pointer, parameters };
  }

  private step({ pointer }: Statement): number {
    const result = this.guarded(() => this.engine.sqlite._sqlite3_step(pointer));
    if (result !== ROW && result !== DONE) this.check(result);
    return result;
  }

  /** Calls into SQLite. An exception from within, such as memory that cannot grow, leaves it in an unknown state. */
  private guarded<T>(call: () => T): T {
    if (this.broken) throw this.broken;
    try {
      return call();
    } catch (error) {
      this.broken = new Failure("StorageError", `SQLite stopped in the middle of its work (${error}); open the database again`, { cause: error });
      throw this.broken;
    }
  }

  private check(result: number): void {
    if (result === 0) return;
    throw new Failure(KINDS[result & 0xff] ?? "StorageError", this.message());
  }

  private message(): string {
    const { sqlite, memory } = this.engine;
    const start = sqlite._sqlite3_errmsg(this.database.db);
    const bytes = new Uint8Array(memory.buffer, start);
    return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
  }
}
