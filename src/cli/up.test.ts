import assert from "node:assert/strict";
import { test } from "node:test";
import { run } from "./up.ts";

test("options that make no sense are refused before anything starts", async () => {
  const audit = "--audit-policy-file audit.yaml";
  const table: [line: string, message: RegExp][] = [
    ["--isolation half", /^--isolation half: must be auto, isolated or plain$/],
    ["--name A", /^--name A: lower-case letters/],
    ["--encryption-provider-config-automatic-reload", /there is no --encryption-provider-config to read again$/],
    ["--audit-log-path a.log", /^--audit-log-path: nothing is recorded without --audit-policy-file$/],
    ["--audit-log-maxage 3", /^--audit-log-maxage: nothing is recorded without --audit-policy-file$/],
    [`${audit} --audit-log-maxsize 1.5`, /^--audit-log-maxsize 1\.5: must be a whole number, 0 or more$/],
    [`${audit} --audit-log-maxbackup=-1`, /^--audit-log-maxbackup -1: must be a whole number, 0 or more$/],
    [`${audit} --audit-log-path -`, /^--audit-log-path -: standard output belongs to the stack; name a file$/],
  ];
  for (const [line, message] of table) await assert.rejects(run(line.split(" ")), { code: "USAGE", message }, line);
});
