import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";

/**
 * A script in the language of Go's testscript, as far as Kubernetes' test/cmd/testdata/*.txtar use it: commands one a
 * line (`!` before: must fail), `stdout` and `stderr` as regular expressions over what came last, `cp`, `cmp`, `env`
 * (for the script itself: upstream runs kubectl in its own process, which does not see it), and files after the script. `kubectl` is the real one, in the source tree's folder; `kube-retry` asks it until it agrees.
 */
export interface ScriptOptions {
  kubectl: string;
  kubeconfig: string;
  /** Kubernetes' source tree, where `hack/testdata` lies. */
  tree: string;
  variables?: Record<string, string>;
}
export interface Script {
  lines: { number: number; text: string }[];
  files: Map<string, string>;
}

export function parseTxtar(text: string): Script {
  const [head, ...parts] = text.split(/^-- (.+) --$/m);
  const files = new Map<string, string>();
  for (let index = 0; index < parts.length; index += 2) files.set(parts[index]!, parts[index + 1]!.replace(/^\n/, ""));
  const lines = head!.split("\n").map((line, index) => ({ number: index + 1, text: line.trim() }));
  return { lines: lines.filter((line) => line.text !== "" && !line.text.startsWith("#")), files };
}

/** Words of a line: quoted in single quotes (a doubled one is itself), variables outside of them, `#` begins a comment. */
export function words(line: string, variables: Readonly<Record<string, string>>): string[] {
  const found: string[] = [];
  let word: string | undefined;
  for (const [token] of line.matchAll(/'(?:[^']|'')*'|\$\{\w+\}|\$\w+|\s+|#.*|[^'\s]/g)) {
    if (/^\s/.test(token) || (token.startsWith("#") && word === undefined)) {
      if (word !== undefined) found.push(word);
      word = undefined;
    } else if (token.startsWith("'")) word = (word ?? "") + token.slice(1, -1).replaceAll("''", "'");
    else if (token.startsWith("$") && token.length > 1) word = (word ?? "") + (variables[token.replace(/[${}]/g, "")] ?? "");
    else word = (word ?? "") + token;
  }
  return word === undefined ? found : [...found, word];
}

/** Runs it to the end, or to the first line that is not so; gives how many commands were run. */
export async function runTxtar(file: string, { kubectl, kubeconfig, tree, variables: more = {} }: ScriptOptions): Promise<number> {
  const { lines, files } = parseTxtar(readFileSync(file, "utf8"));
  const work = mkdtempSync(join(tmpdir(), "wherry-txtar-"));
  const variables: Record<string, string> = { ...more, WORK: work, HOME: work, KUBECONFIG: kubeconfig };
  const last = { stdout: "", stderr: "" };
  let commands = 0;
  const call = (args: readonly string[]) =>
    new Promise<number>((done) => {
      const child = spawn(kubectl, args, { cwd: tree, env: { PATH: process.env["PATH"] ?? "", LANG: "C", HOME: work, KUBECONFIG: kubeconfig }, stdio: ["ignore", "pipe", "pipe"], timeout: 120_000 });
      last.stdout = last.stderr = "";
      child.stdout.setEncoding("utf8").on("data", (chunk: string) => (last.stdout += chunk));
      child.stderr.setEncoding("utf8").on("data", (chunk: string) => (last.stderr += chunk));
      child.on("close", (code) => done(code ?? 128));
    });
  const content = (name: string) => (name === "stdout" || name === "stderr" ? last[name] : readFileSync(resolve(work, name), "utf8"));
  /** Undefined, or why not. */
  const run = async (verb: string, args: string[], negated: boolean): Promise<string | undefined> => {
    const expect = (is: boolean, what: string) => (is !== negated ? undefined : `${negated ? "unexpectedly " : ""}${what}`);
    switch (verb) {
      case "kubectl": {
        commands++;
        // As upstream's runner does: with the API server alone, what has a finalizer stays.
        const code = await call(args[0] === "delete" && !args.some((arg) => arg.startsWith("--wait")) ? [...args, "--wait=false"] : args);
        return expect(code === 0, `exit code ${code}`);
      }
      case "kube-retry": {
        commands++;
        const [resource, path, wanted, seconds = "30"] = args as [string, string, string, string?];
        const deadline = performance.now() + Number(seconds) * 1000;
        for (;;) {
          const code = await call(["get", ...resource.split(/\s+/), "-o", `jsonpath=${path}`]);
          const is = code === 0 && last.stdout.trim() === wanted;
          if (is || performance.now() > deadline) return expect(is, `${JSON.stringify(last.stdout.trim())} is ${is ? "" : "not "}${JSON.stringify(wanted)}`);
        }
      }
      case "stdout":
      case "stderr":
        return expect(new RegExp(args[0]!, "m").test(last[verb]), `${verb} ${negated ? "matches" : "does not match"} ${args[0]}`);
      case "cp":
        for (const name of args.slice(0, -1)) writeFileSync(resolve(work, args.at(-1)!), content(name));
        return undefined;
      case "cmp":
        return expect(content(args[0]!) === content(args[1]!), `${args[0]} is ${JSON.stringify(content(args[0]!))}, ${args[1]} ${JSON.stringify(content(args[1]!))}`);
      case "env":
        for (const pair of args) variables[pair.slice(0, pair.indexOf("="))] = pair.slice(pair.indexOf("=") + 1);
        return undefined;
      default:
        return `the runner does not know the command ${verb}`;
    }
  };
  try {
    for (const [name, text] of files) {
      mkdirSync(dirname(join(work, name)), { recursive: true });
      writeFileSync(join(work, name), text);
    }
    for (const { number, text } of lines) {
      const negated = /^!\s/.test(text);
      const [verb, ...args] = words(negated ? text.slice(1) : text, variables);
      const why = await run(verb!, args, negated);
      if (why) throw new Error(`${file}:${number}: ${text}\n  ${why}\n  stdout: ${last.stdout}\n  stderr: ${last.stderr}`);
    }
    return commands;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
