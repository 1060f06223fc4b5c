import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { WherryError } from "../base/errors.ts";
import { type Door, doorsInCluster } from "../wherry.ts";
import { connect } from "./connect.ts";
import { blockOf, type HostsFile, parseHosts, withBlock } from "./hosts/block.ts";
import { namesOf } from "./hosts/names.ts";
import { replaceContent } from "./hosts/write.ts";
import { dataDirOf, dataDirOption, parseOptions } from "./options.ts";
import { sudoLine } from "./root.ts";

export const hostsFile = "/etc/hosts";

export async function run(argv: string[]): Promise<number | void> {
  const options = parseOptions(
    {
      line: "hosts [--print] [--undo] [--data-dir DIR]",
      about: `Write the host names of the stack's Ingresses and Gateways into ${hostsFile}, so that this machine finds them by name: in a block
of their own, which takes the place of the last one. Other lines are left alone; a name that one of them gives another address
is refused. It says what it did, and where each name is served; what needs root it leaves to a command that it prints (exit
code 1 then, and where a name is refused).`,
      options: { print: { type: "boolean", help: "only print the block" }, undo: { type: "boolean", help: "take the block out again" }, "data-dir": dataDirOption },
      examples: ["wherry hosts", "wherry hosts --print", "wherry hosts --undo"],
    },
    argv,
  );
  if (!options) return;
  const { print, undo } = options.values as { print?: boolean; undo?: boolean };
  if (print && undo) throw new WherryError("USAGE", "--print and --undo: say one of them");
  const dataDir = dataDirOf(options.values);
  if (/[\n\r]/.test(dataDir)) throw new WherryError("USAGE", `--data-dir ${JSON.stringify(dataDir)}: its name would not stand on one line`);
  const text = existsSync(hostsFile) ? readFileSync(hostsFile, "utf8") : "";
  const present = parse(text, dataDir);
  if (undo) {
    const lines = present.ours.map(({ address, name }) => `removed  ${address} ${name}`);
    if (text === withBlock(present, "")) return void process.stdout.write(`nothing to undo: ${hostsFile} has no block of ${dataDir}\n`);
    return write(text, withBlock(present, ""), lines, ["hosts", "--undo", "--data-dir", dataDir]);
  }
  const doors = await doorsInCluster(await connect(dataDir));
  const { lines, refused, notes } = namesOf(doors, present, hostsFile);
  const block = blockOf(dataDir, lines);
  const complain = () => {
    for (const note of notes) process.stderr.write(`note: ${note}\n`);
    for (const { name, why } of refused) process.stderr.write(`refused: ${name}: ${why}\n`);
  };
  if (print) {
    process.stdout.write(block);
    complain();
    return refused.length > 0 ? 1 : 0;
  }
  const wanted = withBlock(present, block);
  const told = [
    ...present.ours.filter((old) => !lines.some(({ address, name }) => address === old.address && name === old.name)).map(({ address, name }) => `removed  ${address} ${name}`),
    ...lines.map(({ address, name }) => `${present.ours.some((old) => old.address === address && old.name === name) ? "there    " : "written  "}${address} ${name}`),
  ];
  let code = 0;
  if (wanted !== text) code = write(text, wanted, told, ["hosts", "--data-dir", dataDir]);
  else process.stdout.write(lines.length > 0 ? `${hostsFile} has them already:\n${told.map((line) => `  ${line}\n`).join("")}` : "no Ingress and no Gateway has a host name that could be written\n");
  process.stdout.write(whereServed(doors, lines.map(({ name }) => name)));
  complain();
  return refused.length > 0 ? 1 : code;
}

function parse(text: string, dataDir: string): HostsFile {
  try {
    return parseHosts(text, dataDir);
  } catch (error) {
    throw new WherryError("MACHINE_UNCHANGED", `${hostsFile}: ${(error as Error).message}`);
  }
}

function write(present: string, wanted: string, told: readonly string[], words: readonly string[]): number {
  try {
    accessSync(hostsFile, constants.W_OK);
  } catch {
    process.stdout.write(`${told.map((line) => `  ${line.replace("written", "wanted ")}\n`).join("")}\n${hostsFile} needs root:\n  ${sudoLine(words)}\n`);
    return 1;
  }
  try {
    const how = replaceContent(hostsFile, present, wanted);
    process.stdout.write(`${hostsFile}${how === "in place" ? " (a mount: written in place)" : ""}:\n${told.map((line) => `  ${line}\n`).join("")}`);
    return 0;
  } catch (error) {
    throw new WherryError("MACHINE_UNCHANGED", `${hostsFile} could not be written: ${(error as Error).message}`, { cause: error });
  }
}

/** What to type, for each name; and what keeps a name from its usual port. */
function whereServed(doors: readonly Door[], names: readonly string[]): string {
  const mine = doors.filter(({ name, scheme }) => names.includes(name) && scheme !== "tcp" && scheme !== "udp");
  const rows = mine.map((door) => `  ${door.boundPort === undefined ? `${door.url} is not served: ${door.address}:${door.port} could not be had (${door.code ?? "not yet"})` : door.url}\n`);
  const remedies = portRemedies(mine);
  return `${rows.length > 0 ? `\nserved:\n${rows.join("")}` : ""}${remedies.map((line) => `\n${line}\n`).join("")}`;
}

/** A name cannot say a port: what gives the usual ones to this stack. */
export function portRemedies(doors: readonly Door[]): string[] {
  const moved = doors.filter(({ port, boundPort }) => port < 1024 && boundPort !== port);
  const denied = [...new Set(moved.filter(({ code }) => code === "EACCES").map(({ port }) => port))].sort((a, b) => a - b);
  const taken = [...new Set(moved.filter(({ code }) => code === "EADDRINUSE").map(({ address, port }) => `${address}:${port}`))];
  return [
    ...(denied.length > 0 ? [`This user may not listen on port ${denied.join(" and ")}; let everybody, and start the stack again:\n  sudo sysctl -w net.ipv4.ip_unprivileged_port_start=${denied[0]}`] : []),
    ...(taken.length > 0 ? [`Another program has ${taken.join(" and ")}: \`sudo ss -ltnp\` names it.`] : []),
  ];
}
