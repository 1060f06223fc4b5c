/** A name and the address at which this machine is to find it. */
export interface HostLine {
  address: string;
  name: string;
}

/** Of the file, what is ours, and which names others define. */
export interface HostsFile {
  /** Without our block, byte for byte. */
  before: string;
  after: string;
  ours: HostLine[];
  /** Line numbers begin with 1. */
  foreign: Map<string, { line: number; address: string }[]>;
}

/** Each stack has a block of its own: its data directory says whose it is. */
const markers = (dataDir: string) => ({ begin: `# BEGIN wherry ${dataDir}`, end: `# END wherry ${dataDir}` });

/** Throws when a block has no end: what belongs to it cannot be known. */
export function parseHosts(text: string, dataDir: string): HostsFile {
  const { begin, end } = markers(dataDir);
  const lines = text.split(/(?<=\n)/);
  const at = (mark: string) => lines.flatMap((line, i) => (line.trim() === mark ? [i] : []));
  const [begins, ends] = [at(begin), at(end)];
  if (begins.length !== ends.length || begins.length > 1 || (begins[0] ?? 0) > (ends[0] ?? 0)) throw new Error(`line ${Math.min(...begins, ...ends) + 1}: "${begin}" and "${end}" do not stand once each, in this order; mend the file by hand`);
  const [first = lines.length, last = lines.length - 1] = [begins[0], ends[0]];
  const ours: HostLine[] = [];
  const foreign: HostsFile["foreign"] = new Map();
  for (const [i, line] of lines.entries()) {
    const [address, ...names] = line.replace(/#.*/s, "").trim().split(/\s+/);
    for (const name of names) {
      if (i > first && i < last) ours.push({ address: address!, name: name.toLowerCase() });
      else foreign.set(name.toLowerCase(), [...(foreign.get(name.toLowerCase()) ?? []), { line: i + 1, address: address! }]);
    }
  }
  return { before: lines.slice(0, first).join(""), after: lines.slice(last + 1).join(""), ours, foreign };
}

export function blockOf(dataDir: string, lines: readonly HostLine[]): string {
  if (lines.length === 0) return "";
  const { begin, end } = markers(dataDir);
  return `${[begin, ...lines.map(({ address, name }) => `${address} ${name}`), end].join("\n")}\n`;
}

/** The file with our block at its place, or at the end; without one, as it was before there was one. */
export function withBlock({ before, after }: HostsFile, block: string): string {
  // A last line without an end is nobody else's to mend, but our block must not become a part of it.
  const open = block !== "" && before !== "" && !before.endsWith("\n");
  return `${before}${open ? "\n" : ""}${block}${after}`;
}
