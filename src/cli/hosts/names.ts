import type { Door } from "../../wherry.ts";
import type { HostLine, HostsFile } from "./block.ts";

export interface Names {
  lines: HostLine[];
  /** Names that get no line, with the reason. */
  refused: { name: string; why: string }[];
  /** Told, though it is no fault. */
  notes: string[];
}

/** Which names get a line, and at which address: of two objects with one name, the one that has the usual ports. */
export function namesOf(doors: readonly Door[], { foreign }: Pick<HostsFile, "foreign">, file: string): Names {
  const byName = new Map<string, Door[]>();
  for (const door of doors) if (door.name !== "" && !door.isEmpty && door.scheme !== "tcp" && door.scheme !== "udp") byName.set(door.name, [...(byName.get(door.name) ?? []), door]);
  const names: Names = { lines: [], refused: [], notes: [] };
  for (const [name, ways] of [...byName].sort(([a], [b]) => (a < b ? -1 : 1))) {
    // Resolvers answer these themselves, with loopback's first address.
    if (/(^|\.)localhost$/.test(name) && ways.some(({ address }) => address === "127.0.0.1")) continue;
    const best = ways.toSorted((a, b) => rank(a) - rank(b))[0]!;
    if (name.startsWith("*.")) {
      names.notes.push(`${name} (${best.object}): the file has no wildcards; add the names that you use, for example "${best.address} any${name.slice(1)}"`);
      continue;
    }
    const others = foreign.get(name) ?? [];
    const rival = others.find(({ address }) => address !== best.address);
    if (rival) names.refused.push({ name, why: `${file}:${rival.line} says ${rival.address}, and ${best.object} is at ${best.address}: change or remove that line` });
    else if (others.length > 0) names.notes.push(`${name}: ${file}:${others[0]!.line} says so already`);
    else names.lines.push({ address: best.address, name });
    const elsewhere = new Map(ways.filter(({ address }) => address !== best.address).map(({ object, address }) => [object, address]));
    for (const [object, address] of elsewhere) names.notes.push(`${name}: ${object} at ${address} has it as well, and a name has one address: ${best.object} is taken`);
  }
  return names;
}

const rank = ({ boundPort, port }: Door): number => (boundPort === undefined ? 2 : boundPort === port ? 0 : 1);
