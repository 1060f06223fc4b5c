import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { load } from "js-yaml";
import type { AuthorizationPolicy } from "../../api/istio/security.ts";
import { type Call, compileAuthorisation } from "../../policy/authorise/authorise.ts";
import { requestView } from "../../policy/testing/request.ts";
import { translateAuthorization } from "./authorise.ts";

/**
 * Who may call: authorisation.txt. A block begins with `== TITLE`; then policies, `policy NAME ACTION [dry-run] RULES` in YAML, of
 * namespace shop; then calls:
 *
 *   GET host:port/path from NAMESPACE/ACCOUNT [name: value; …] -> EXPECTED
 *
 * `TCP` instead of a method is a connection that is not HTTP, and `nobody` a caller who is not known; among the headers `ip`,
 * `remote`, `to`, `sni` and `claims` are what they say. Expected is `allow` or `deny`, `by NAME` of the policy that decided, then
 * `dry-run allow|deny [by NAME]` and `audited NAME`.
 */
for (const block of readFileSync(join(import.meta.dirname, "authorisation.txt"), "utf8").split(/^== /m).slice(1)) {
  const [title, ...lines] = block.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  test(title!, () => {
    const policies = lines.filter((line) => line.startsWith("policy ")).map(policyOf);
    const authorise = compileAuthorisation(policies.map(translateAuthorization));
    for (const line of lines.filter((text) => !text.startsWith("policy "))) {
      const [call, expected] = line.split(" -> ");
      const verdict = authorise?.(callOf(call!));
      if (!verdict) {
        assert.equal("allow", expected, line);
        continue;
      }
      const { isAllowed, by, dryRun, audited } = verdict;
      const said = (allowed: boolean, name: string | undefined): string => (allowed ? "allow" : "deny") + (name === undefined ? "" : ` by ${name.replace("shop/", "")}`);
      assert.equal([said(isAllowed, by), ...(dryRun ? [`dry-run ${said(dryRun.isAllowed, dryRun.by)}`] : []), ...(audited.length > 0 ? [`audited ${audited.join(" ").replaceAll("shop/", "")}`] : [])].join(" "), expected, line);
    }
  });
}

function policyOf(line: string): AuthorizationPolicy {
  const [, name, action, dryRun, rules] = /^policy (\S+) (\S+) (dry-run )?(.*)$/.exec(line)!;
  return { apiVersion: "security.istio.io/v1", kind: "AuthorizationPolicy", metadata: { name, namespace: "shop", ...(dryRun && { annotations: { "istio.io/dry-run": "true" } }) }, spec: { action, ...(rules !== "none" && { rules: load(rules!) }) } } as unknown as AuthorizationPolicy;
}

function callOf(text: string): Call {
  const [, method, host, port = "80", path = "/", from, fields = ""] = /^(\S+) ([^/:\s]*)(?::(\d+))?(\/\S*)? from (\S+)(?: \[(.*)\])?$/.exec(text) ?? assert.fail(`not understood: ${text}`);
  const { ip = "10.244.0.9", remote = ip, to = "10.244.0.1", sni = "", claims, ...headers } = Object.fromEntries(fields.split("; ").filter(Boolean).map((field) => [field.slice(0, field.indexOf(":")), field.slice(field.indexOf(":") + 1).trim()]));
  const [namespace, serviceAccount] = from!.split("/");
  return {
    caller: from === "nobody" ? undefined : { trustDomain: "cluster.local", namespace: namespace!, serviceAccount: serviceAccount! },
    sourceIp: ip!,
    remoteIp: remote!,
    destinationIp: to!,
    destinationPort: Number(port),
    serverName: sni!,
    request: method === "TCP" ? undefined : requestView({ method: method!, host: host!, target: path, headers: { host: host!, ...headers } as Record<string, string> }),
    claims: claims === undefined ? undefined : (load(claims) as Record<string, unknown>),
  };
}
