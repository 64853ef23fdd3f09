// The parts of sql.js 1.16 that the bridge uses: the module's raw SQLite functions beside its documented Database.
declare module "sql.js" {
  export interface SqlDatabase {
    readonly db: number; // sqlite3*
    run(sql: string): void;
    export(): Uint8Array;
    close(): void;
  }
  export interface SqlModule {
    Database: new (image?: Uint8Array) => SqlDatabase;
    _malloc(bytes: number): number;
    _free(pointer: number): void;
    _sqlite3_errmsg(db: number): number;
    _sqlite3_changes(db: number): number;
    _sqlite3_prepare_v2(db: number, sql: number, bytes: number, statement: number, tail: number): number;
    _sqlite3_step(statement: number): number;
    _sqlite3_reset(statement: number): number;
    _sqlite3_finalize(statement: number): number;
    _sqlite3_clear_bindings(statement: number): number;
    _sqlite3_bind_int(statement: number, parameter: number, value: number): number;
    _sqlite3_bind_double(statement: number, parameter: number, value: number): number;
    _sqlite3_bind_text(statement: number, parameter: number, text: number, bytes: number, destructor: number): number;
    _sqlite3_bind_blob(statement: number, parameter: number, blob: number, bytes: number, destructor: number): number;
    _sqlite3_column_count(statement: number): number;
    _sqlite3_column_type(statement: number, column: number): number;
    _sqlite3_column_double(statement: number, column: number): number;
    _sqlite3_column_text(statement: number, column: number): number;
    _sqlite3_column_blob(statement: number, column: number): number;
    _sqlite3_column_bytes(statement: number, column: number): number;
  }
  type Instantiate = (imports: WebAssembly.Imports, received: (instance: WebAssembly.Instance) => void) => object;
  interface Options {
    instantiateWasm: Instantiate;
    useOldExtensionFunctions: boolean; // sql.js's own stand-ins for functions that SQLite has
  }
  export default function initSqlJs(options: Options): Promise<SqlModule>;
}
