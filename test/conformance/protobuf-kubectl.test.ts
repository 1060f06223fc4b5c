import assert from "node:assert/strict";
import { test } from "node:test";
import { builtinSchema } from "../../src/api/kinds/table.ts";
import { decodeProtobuf, isProtobuf } from "../../src/api/protobuf.ts";
import { walk } from "../../src/api/walker.ts";
import { find, needs } from "../needs.ts";
import { startDocumentsServer } from "./documents-server.ts";

/** `kubectl create …`: since 1.32 its bodies are protobuf, while `--dry-run=client -o json` prints the same object. */
const commands = [
  "deployment web --image=nginx --replicas=0 --port=80",
  "configmap c --from-literal=a=b",
  "secret generic s --from-literal=a=b",
  "job j --image=busybox -- echo hi",
  "cronjob c --image=busybox --schedule=@daily -- echo hi",
  "namespace n",
  "role r --verb=get,list --resource=configmaps",
  "clusterrole c --verb=get --non-resource-url=/logs",
  "rolebinding r --role=r --user=u --group=g --serviceaccount=a:b",
  "ingress i --rule=foo.com/bar*=svc:8080,tls=cert --class=nginx",
  "poddisruptionbudget p --selector=app=nginx --min-available=50%",
  "quota q --hard=cpu=1,memory=1G,pods=2",
  "service clusterip s --tcp=5678:8080",
  "serviceaccount s",
  "priorityclass p --value=1000 --description=x",
];

for (const minor of ["1.32", "1.33"]) {
  test(`kubectl ${minor}'s protobuf bodies read like its JSON`, async (t) => {
    if (!needs(t, `kubectl.${minor}`)) return;
    const program = find(`kubectl.${minor}`)!;
    const version = await new Promise<string>((resolve) => void import("node:child_process").then(({ execFile }) => execFile(program, ["version", "--client"], (_, stdout) => resolve(stdout))));
    if (!version.includes(`v${minor}.`)) return t.skip(`no kubectl ${minor} on this machine`);
    await using server = await startDocumentsServer((body) => (isProtobuf(body) ? decodeProtobuf(body) : JSON.parse(body.toString())));
    for (const command of commands) {
      const [head, tail] = command.split(" -- ") as [string, string?];
      const rest = tail === undefined ? [] : ["--", ...tail.split(" ")];
      const sent = await server.kubectl(program, "create", ...head.split(" "), ...rest);
      assert.equal(sent.code, 0, `${command}: ${sent.stderr}`);
      const body = server.requests.findLast(({ method }) => method === "POST")!;
      assert.equal(body.contentType, "application/vnd.kubernetes.protobuf", command);
      const decoded = decodeProtobuf(body.body);
      const printed = await server.kubectl(program, "create", ...head.split(" "), "--dry-run=client", "-o", "json", ...rest);
      const json = JSON.parse(printed.stdout) as Record<string, unknown>;
      const [group, apiVersion] = decoded.apiVersion.includes("/") ? (decoded.apiVersion.split("/") as [string, string]) : ["", decoded.apiVersion];
      const schema = builtinSchema(group, apiVersion, decoded.kind)!;
      // The dry run names the default namespace and prints empty structs; the request does neither.
      const tidy = (value: unknown): unknown => JSON.parse(JSON.stringify(walk(schema, value as Record<string, unknown>).value, (key, inner: unknown) => (key === "namespace" && inner === "default" ? undefined : typeof inner === "object" && inner !== null && Object.keys(inner).length === 0 ? undefined : inner)));
      assert.deepEqual(prune(tidy(decoded)), prune(tidy(json)), command);
    }
  });
}

/** Without objects that became empty. */
function prune(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(prune);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, inner]) => [key, prune(inner)] as const)
      .filter(([, inner]) => typeof inner !== "object" || inner === null || Object.keys(inner).length > 0),
  );
}
