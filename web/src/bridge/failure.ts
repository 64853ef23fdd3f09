// Errors on their way to Python. `name` is the name of a class in pyruvllm/errors.py, which Python raises in their place.

export type Kind =
  | ("StorageError" | "CorruptError" | "NewerError" | "ReadOnlyError" | "FencedError" | "QuotaError")
  | ("LockedError" | "PassphraseError" | "TamperedError")
  | ("OfflineError" | "UnreachableError" | "RefusedError" | "TruncatedError");

export class Failure extends Error {
  constructor(kind: Kind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = kind;
  }
}

/** Any error of IndexedDB or the engine as a Failure that says what was being done. */
export function failed(doing: string, error: unknown): Failure {
  if (error instanceof Failure) return error;
  const { name, message } = error instanceof Object ? (error as Error) : { name: "Error", message: String(error) };
  const text = `${doing}: ${message || name}`;
  switch (name) {
    case "QuotaExceededError":
      return new Failure("QuotaError", `${text}. What was saved before is safe, unsaved changes are still in memory`, { cause: error });
    case "VersionError":
      return new Failure("NewerError", `${text}. A newer version made this database; nothing was overwritten`, { cause: error });
    case "NotReadableError": // a record's file is gone or unreadable
    case "DataError":
      return new Failure("CorruptError", `${text}. Nothing was overwritten`, { cause: error });
    case "RangeError": // from where memory is asked for
      return new Failure("StorageError", `${text}. This tab has not enough memory for it; nothing was changed. Close other tabs, or open it natively`, { cause: error });
    default:
      return new Failure("StorageError", text, { cause: error });
  }
}
