import { existsSync, readFileSync } from "node:fs";
import type { Writable } from "node:stream";
import type { Client } from "../api/client.ts";
import { type Door, doorsInCluster } from "../wherry.ts";
import { parseHosts } from "./hosts/block.ts";
import { table } from "./status.ts";
import { authorityFile } from "./trust/authority.ts";
import { readLedger } from "./trust/ledger.ts";

/** Where Ingresses and Gateways are reached, and what would have this machine know their names and trust their certificates. */
export async function printDoors(client: Client, dataDir: string, out: Writable): Promise<void> {
  const doors = await doorsInCluster(client);
  if (doors.length === 0) return;
  const hosts = existsSync("/etc/hosts") ? readFileSync("/etc/hosts", "utf8") : "";
  const isUntrusted = existsSync(authorityFile(dataDir)) && readLedger(dataDir).length === 0;
  out.write(`\n${describeDoors(doors, hosts, isUntrusted)}`);
}

/** `hosts`: the text of the machine's file. */
export function describeDoors(doors: readonly Door[], hosts: string, isUntrusted: boolean): string {
  const rows = doors.map(({ object, url, address, port, boundPort, code, isEmpty }) => {
    const [kind, namespace, name] = object.split("/");
    const state = boundPort === undefined ? (code === undefined ? "not served yet" : `not served: port ${port} could not be had (${code})`) : isEmpty ? "no route is attached" : "";
    return [`${namespace}/${kind!.toLowerCase()}/${name}`, url, `${address}${state === "" ? "" : `, ${state}`}`];
  });
  const known = parseHosts(hosts, "").foreign;
  const unknown = doors.filter(({ name, address, isEmpty }) => name !== "" && !isEmpty && !/(^|\.)localhost$/.test(name) && !name.startsWith("*.") && !known.get(name)?.some((line) => line.address === address)).map(({ name }) => name);
  const names = [...new Set(unknown)];
  const shown = names.length > 3 ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more` : names.join(", ");
  return [
    table(["ROUTE", "URL", "AT"], rows),
    ...(names.length > 0 ? [`  To have this machine find ${shown}: wherry hosts\n`] : []),
    ...(isUntrusted && doors.some(({ scheme }) => scheme === "https") ? ["  To have it trust the stack's certificates: wherry trust\n"] : []),
  ].join("");
}
