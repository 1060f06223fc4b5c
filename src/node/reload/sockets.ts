import { readFile } from "node:fs/promises";

/** What a pod's sockets say: which ports it listens on, and which connections to them are open. */
export interface Sockets {
  listening: ReadonlySet<number>;
  /** The port of each open connection to one of them. */
  established: readonly number[];
}

/** The sockets of the network that a process is in, as far as they are the pod's; undefined when the kernel does not say. */
export async function socketsOf(pid: number, ip: string): Promise<Sockets | undefined> {
  const tables = await Promise.all(["tcp", "tcp6"].map((table) => readFile(`/proc/${pid}/net/${table}`, "latin1").catch(() => undefined)));
  return tables.every((table) => table === undefined) ? undefined : parseSockets(tables.join("\n"), ip);
}

const any = /^0+$/;

/** Source of the format: proc(5), /proc/net/tcp. An address is written in the machine's byte order, IPv4 inside IPv6 in its last word. */
export function parseSockets(tables: string, ip: string): Sockets {
  const address = ip.split(".").map((part) => Number(part).toString(16).padStart(2, "0")).toReversed().join("").toUpperCase();
  // On the machine's own network, where plain pods are, a listener on every address may be anybody's.
  const own = ip.startsWith("127.");
  const listening = new Set<number>();
  const established: number[] = [];
  for (const line of tables.split("\n")) {
    const [, local, , state] = line.trim().split(/\s+/);
    const [where, port] = local?.split(":") ?? [];
    if (where === undefined || port === undefined) continue;
    const number = parseInt(port, 16);
    const isHere = where.endsWith(address);
    if (state === "0A" && (isHere || (!own && any.test(where)))) listening.add(number);
    else if (state === "01" && isHere) established.push(number);
  }
  return { listening, established: established.filter((port) => listening.has(port)) };
}
