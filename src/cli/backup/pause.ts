import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { WherryError } from "../../base/errors.ts";
import { socketPath } from "../../base/socket-path.ts";

/** Programs of a running stack that stand still, all at one instant. */
export interface Paused {
  /** Lets them go on. Rejects with BACKUP_FAILED if they already did. Gives how long they stood still, in ms. */
  resume(): Promise<number>;
  /** As resume(), when it does not matter any more. */
  abandon(): void;
}

/**
 * Has every program with volumes stand still. The agent lets them go on when this process ends in whatever way, when the
 * stack stops, and when it takes too long. Throws NOT_RUNNING, BACKUP_FAILED.
 */
export async function pausePrograms(dataDir: string): Promise<Paused> {
  const began = performance.now();
  const { line, socket, next } = await ask(socketPath(dataDir, "agent.sock"), { op: "pause" });
  refuse(line);
  let resuming = false;
  const lost = next.then((text) => text ?? (resuming ? undefined : "the stack has stopped"));
  return {
    async resume() {
      resuming = true;
      // The agent ends its side, too; what it said before that is read.
      socket.end();
      const why = await lost;
      if (why !== undefined) refuse(why);
      return performance.now() - began;
    },
    abandon: () => void socket.destroy(),
  };
}

/** Throws if this is what an agent says that does not, or no longer, hold the programs. */
function refuse(line: string): void {
  let message = line;
  try {
    const answer = JSON.parse(line) as { ok: boolean; status?: { message?: string } };
    if (answer.ok) return;
    message = answer.status?.message ?? line;
  } catch {}
  throw new WherryError("BACKUP_FAILED", `the programs could not be made to stand still while their volumes are copied: ${message}`);
}

/** Has the API process copy its store. Gives the copy's revision. Throws NOT_RUNNING, DISK_FULL, BACKUP_FAILED. */
export async function copyRunningStore(dataDir: string, file: string): Promise<number> {
  const { line, socket } = await ask(socketPath(dataDir, "store.sock"), { copyTo: file });
  socket.destroy();
  const answer = JSON.parse(line) as { revision: number } | { error: string; full: boolean };
  if ("revision" in answer) return answer.revision;
  throw new WherryError(answer.full ? "DISK_FULL" : "BACKUP_FAILED", `the objects could not be copied: ${answer.error}`);
}

/** One line out, one line back; then `next` is a further line, or undefined when there is none. */
function ask(path: string, request: object): Promise<{ line: string; socket: Socket; next: Promise<string | undefined> }> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    const gone = (error?: Error) => reject(new WherryError("NOT_RUNNING", `the stack does not answer on ${path}${error ? `: ${error.message}` : ""}`));
    socket.once("error", gone);
    const lines = createInterface({ input: socket });
    lines.on("error", gone); // readline hands on what its input says
    lines.once("close", () => gone());
    lines.once("line", (line) => {
      const next = new Promise<string | undefined>((done) => {
        lines.once("line", done);
        lines.once("close", () => done(undefined));
        socket.on("error", () => done(undefined));
      });
      resolve({ line, socket, next });
    });
    socket.write(`${JSON.stringify(request)}\n`);
  });
}
