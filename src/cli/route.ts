import { closeSync, createReadStream, existsSync, fstatSync, openSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { WherryError } from "../base/errors.ts";
import { table } from "./api/verb.ts";
import { connect } from "./connect.ts";
import { dataDirOf, dataDirOption, parseOptions } from "./options.ts";

export async function run(argv: string[]): Promise<number | void> {
  const options = parseOptions(
    {
      line: "route explain URL [-H 'NAME: VALUE'] [-X METHOD] [--from NAMESPACE] | route log [--lines N] [--failed] [--json] [--follow] | route usage [--data-dir DIR]",
      about: "explain: which listener, route, rule, filters and endpoints would serve a request, and why the others would not; nothing is sent; exit code 1 when nobody would serve it.\nlog: what the gateway answered; an answer that is not the endpoint's has a flag (docs/reference/flags.md) and a reason.\nusage: what has been counted of quotas (rateLimit.global of BackendTrafficPolicies, plans of APIs) in the windows that are open, for each client.",
      options: {
        header: { type: "string", multiple: true, short: "H", value: "'NAME: VALUE'", help: "a header of the request; may be repeated" },
        request: { type: "string", short: "X", value: "METHOD", help: "the method (default: GET)" },
        from: { type: "string", value: "NAMESPACE", help: "explain, of a Service's URL: where the pod is that asks (default: default)" },
        lines: { type: "string", value: "N", help: "log: so many of the last (default: 20)" },
        failed: { type: "boolean", help: "log: only answers that are the gateway's own, and those from 500 on" },
        json: { type: "boolean", help: "log: lines as they are written" },
        follow: { type: "boolean", short: "f", help: "log: go on with what comes" },
        "data-dir": dataDirOption,
      },
      examples: ["wherry route explain http://shop.example.com:8080/users", "wherry route explain http://127.99.0.1:8080/users -H 'Host: shop.example.com' -H 'X-Canary: yes'", "wherry route explain https://shop.example.com/orders -X POST", "wherry route explain http://users.shop/health --from billing", "wherry route log --failed -f", "wherry route usage"],
      positionals: true,
    },
    argv,
  );
  if (!options) return;
  const [action, url, ...more] = options.positionals;
  if (action === "log" && url === undefined) return printLog(join(dataDirOf(options.values), "gateway.log"), options.values as LogOptions);
  if (action === "usage" && url === undefined) return printUsage(dataDirOf(options.values));
  if (action !== "explain" || url === undefined || more.length > 0) throw new WherryError("USAGE", "say: wherry route explain URL, wherry route log, or wherry route usage; see wherry route --help");
  const headers = ((options.values["header"] as string[] | undefined) ?? []).map((line): [string, string] => {
    const [, name, value] = /^([^:\s]+):\s*(.*)$/.exec(line) ?? [];
    if (name === undefined) throw new WherryError("USAGE", `${JSON.stringify(line)} is not a header; for example -H 'X-Canary: yes'`);
    return [name, value!];
  });
  const { explainRoute } = await import("../wherry.ts");
  const client = await connect(dataDirOf(options.values));
  const { served, text } = await explainRoute(client, { url, method: (options.values["request"] as string | undefined) ?? "GET", headers, ...(options.values["from"] !== undefined && { from: options.values["from"] as string }) });
  process.stdout.write(text);
  return served ? 0 : 1;
}

async function printUsage(dataDir: string): Promise<void> {
  const { quotaUsage } = await import("../wherry.ts");
  const counts = await quotaUsage(dataDir);
  if (counts.length === 0) process.stdout.write("nothing has been counted in the windows that are open\n");
  else process.stdout.write(table(["KEY", "COUNT", "UNIT", "UNTIL", "OF"], counts.map(({ key, count, unit, until, of }) => [key || "(all)", String(count), unit, until, of])));
}

interface LogOptions {
  lines?: string;
  failed?: boolean;
  json?: boolean;
  follow?: boolean;
}

/** One line of the access log, as far as it is shown. */
interface Line {
  time: string;
  method?: string;
  host?: string;
  path?: string;
  status: number;
  ms?: number;
  client: string;
  /** Who has proved to be whom. */
  peer?: string;
  rule?: string;
  endpoint?: string;
  flag?: string;
  reason?: string;
  /** What filters have found and did not act on: of limits and rules on trial, what they would have refused. */
  notes?: string;
}

const lookEveryMs = 200;

async function printLog(file: string, { lines = "20", failed = false, json = false, follow = false }: LogOptions): Promise<void> {
  if (!/^\d{1,6}$/.test(lines)) throw new WherryError("USAGE", `--lines ${lines}: must be a whole number, 0 or more`);
  if (!existsSync(file)) throw new WherryError("NOT_RUNNING", `there is no ${file} yet`);
  const show = (text: string): string[] => {
    if (text === "") return [];
    const line = JSON.parse(text) as Line;
    if (failed && line.flag === undefined && line.status < 500) return [];
    return [json ? text : shown(line)];
  };
  let descriptor = openSync(file, "r");
  // As long as it is now: what comes later is followed, or not asked for.
  let at = fstatSync(descriptor).size;
  const before = existsSync(`${file}.1`) ? readFileSync(`${file}.1`, "latin1") : "";
  const present = readFileSync(file, "latin1").slice(0, at);
  const whole = `${before}${present.slice(0, present.lastIndexOf("\n") + 1)}`.split("\n");
  at = present.lastIndexOf("\n") + 1;
  const last: string[] = [];
  for (let i = whole.length - 1; i >= 0 && last.length < Number(lines); i--) last.unshift(...show(whole[i]!));
  if (last.length > 0) process.stdout.write(`${last.join("\n")}\n`);
  if (!follow) return closeSync(descriptor);
  // Nobody reads any more.
  process.stdout.on("error", () => process.exit(0));
  for (;;) {
    const { size } = fstatSync(descriptor);
    let text = "";
    if (size > at) for await (const chunk of createReadStream("", { fd: descriptor, start: at, end: size - 1, autoClose: false, encoding: "latin1" })) text += chunk as string;
    const end = text.lastIndexOf("\n") + 1;
    at += end;
    for (const line of text.slice(0, end).split("\n").flatMap(show)) process.stdout.write(`${line}\n`);
    // Read to its end, and not the present one any more.
    if (end === 0 && statSync(file).ino !== fstatSync(descriptor).ino) {
      closeSync(descriptor);
      descriptor = openSync(file, "r");
      at = 0;
    }
    await new Promise((resolve) => setTimeout(resolve, lookEveryMs));
  }
}

function shown({ time, method, host, path, status, ms, client, peer, rule, endpoint, flag, reason, notes }: Line): string {
  const request = method === undefined ? `refused from ${client}` : `${method} ${host}${path}`;
  return [time, String(status), request, ...(ms === undefined ? [] : [`${ms} ms`]), ...(peer === undefined ? [] : [`from ${peer.replace(/^spiffe:\/\//, "")}`]), ...(rule === undefined ? [] : [rule]), ...(endpoint === undefined ? [] : [`→ ${endpoint}`]), ...(flag === undefined ? [] : [`${flag}: ${reason}`]), ...(notes === undefined ? [] : [`(${notes})`])].join("  ");
}
