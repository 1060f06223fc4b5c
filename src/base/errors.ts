/**
 * Errors that a person reads at the terminal: what happened, and what to do about it. One row a code; the
 * reference page `docs/reference/errors.md` lists the same rows, which a test proves.
 */
export const errorCatalogue = {
  DATA_DIR_LOCKED: { exit: 3, remedy: "Stop the other Wherry (`wherry down`), or give this one its own --data-dir." },
  DATA_DIR_UNREADABLE: { exit: 3, remedy: "Make the folder yours (`chown -R $USER DIR; chmod 700 DIR`), or name another with --data-dir." },
  DATA_DIR_DAMAGED: { exit: 3, remedy: "Restore a backup of the folder, or start empty with `wherry reset`." },
  DATA_ENCRYPTED: { exit: 3, remedy: "Give the EncryptionConfiguration that holds the key with --encryption-provider-config; nothing was changed." },
  DISK_FULL: { exit: 4, remedy: "Free some space; nothing that was acknowledged is lost, and writes are taken again as soon as there is room." },
  PORT_TAKEN: { exit: 5, remedy: "Stop the program on that port, or choose another with --port." },
  TOO_MANY_STACKS: { exit: 5, remedy: "Stop another stack on this machine (`wherry down`, with its --data-dir)." },
  FOLDER_CLOSED: { exit: 10, remedy: "Let others pass through the folder (`chmod o+x FOLDER`), move what lies below it, or run Wherry as its owner instead of root." },
  MANIFEST_INVALID: { exit: 6, remedy: "Correct the file and try again; the object named above was not applied." },
  PROGRAM_MISSING: { exit: 7, remedy: "Install the package named above." },
  PLATFORM_UNSUPPORTED: { exit: 8, remedy: "Run on Linux x64 or arm64 with glibc." },
  DATA_DIR_NOT_EMPTY: { exit: 3, remedy: "Name a folder that is empty or not there yet with --data-dir, or empty this one with `wherry reset`." },
  BACKUP_DAMAGED: { exit: 12, remedy: "Fetch the file again from where it was kept, or restore another backup; nothing was changed." },
  BACKUP_TOO_NEW: { exit: 12, remedy: "Restore it with the version of Wherry that is named above, or a newer one; nothing was changed." },
  BACKUP_FAILED: { exit: 12, remedy: "See `wherry status`, and try again; the stack goes on, and nothing was left behind." },
  NOT_RUNNING: { exit: 9, remedy: "Start it with `wherry up`." },
  ACCESS_CONFIG_INVALID: { exit: 11, remedy: "Correct the file named above and start again; nothing was changed." },
  MACHINE_UNCHANGED: { exit: 13, remedy: "Mend what is named above and try again; the machine's files are as they were." },
  USAGE: { exit: 2, remedy: "See `wherry --help`." },
} as const satisfies Record<string, { exit: number; remedy: string }>;

export type ErrorCode = keyof typeof errorCatalogue;

/** An error for a person: `message` says what happened (with the value and where), the catalogue what to do. */
export class WherryError extends Error {
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "WherryError";
    this.code = code;
  }
  get remedy(): string {
    return errorCatalogue[this.code].remedy;
  }
  get exitCode(): number {
    return errorCatalogue[this.code].exit;
  }
}
