import { execFileSync } from "node:child_process";
import { probeMachine } from "../wherry.ts";
import { parseOptions } from "./options.ts";
import { table } from "./status.ts";

export async function run(argv: string[]): Promise<number | void> {
  const options = parseOptions(
    { line: "doctor [--isolation MODE]", about: "What this machine can give, what it cannot, and the one command that would lift it. Everything is tried, nothing assumed.", options: { isolation: { type: "string", value: "MODE", help: "judge this mode instead of the best possible one: isolated or plain" } }, examples: ["wherry doctor"] },
    argv,
  );
  if (!options) return;
  const { mode, findings } = await probeMachine((options.values["isolation"] as "isolated" | undefined) ?? "auto");
  process.stdout.write(`Pods would run ${mode === "isolated" ? "isolated: each with its own network, processes and files" : "in plain mode: as host processes, without walls between them"}.\n\n`);
  process.stdout.write(table(["", "WHAT", ""], findings.map(({ enforced, id, message }) => [enforced ? "✓" : "✗", id, message])));
  const open = findings.filter(({ enforced, remedy }) => !enforced && remedy !== "");
  if (open.length > 0) process.stdout.write(`\nTo lift what is missing:\n${open.map(({ id, remedy }) => `  ${id}: ${remedy}\n`).join("")}`);
  try {
    execFileSync("kubectl", ["version", "--client=true"], { stdio: "ignore" });
  } catch {
    process.stdout.write("\nkubectl is not on the PATH; the stack runs without it, but you will want it (package kubectl, or kubernetes-client).\n");
  }
}
