import assert from "node:assert/strict";
import { test } from "node:test";
import { configMapKey, dns1035Label, dns1123Label, dns1123Subdomain, envVarName, httpHeaderName, labelValue, nameIsDnsLabel, nameIsPathSegment, percent, portName, qualifiedName, wildcardDns1123Subdomain } from "./names.ts";

test("names that have the form, and names that have not", () => {
  const long = (length: number): string => "a".repeat(length);
  const cases: [check: (value: string) => string[], good: string[], bad: string[]][] = [
    [dns1123Label, ["a", "a-b", "1", long(63)], ["", "-a", "a-", "A", "a.b", "a_b", long(64)]],
    [dns1123Subdomain, ["a", "a.b-c.1", long(253)], ["", ".a", "a.", "a..b", "A", "a b", long(254)]],
    [dns1035Label, ["a", "a-1"], ["1a", "a.b", "A", long(64)]],
    [wildcardDns1123Subdomain, ["*.a.b"], ["a.b", "*", "*.", "*a.b"]],
    [qualifiedName, ["a", "A_b.c", "example.com/a", "a/b"], ["", "/a", "a/", "a/b/c", "A.com/x", "-a", "a/ b", long(64)]],
    [labelValue, ["", "a", "A.b_c-1", long(63)], ["a b", "-a", "a-", "é", long(64)]],
    [envVarName, ["A", "a.b-c", "1", "my var", "a:b"], ["", "A=B", "a\n", "é"]],
    [configMapKey, ["a", "A.b-c_d", ".x"], ["", ".", "..", "..a", "a/b", long(254)]],
    [httpHeaderName, ["X-A"], ["", "X A", "X_A"]],
    [percent, ["0%", "100%"], ["", "5", "%", "-1%", "1.5%"]],
    [portName, ["http", "a-1", "1a"], ["", "1", "a--b", "-a", "a-", "A", "sixteencharacter"]],
  ];
  for (const [check, good, bad] of cases) {
    for (const value of good) assert.deepEqual(check(value), [], `${check.name} ${value}`);
    for (const value of bad) assert.ok(check(value).length > 0, `${check.name} ${JSON.stringify(value)}`);
  }
});

test("complaints are upstream's", () => {
  assert.deepEqual(dns1123Label("Web_1"), ["a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"]);
  assert.deepEqual(dns1123Subdomain("Web"), [
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
  ]);
  assert.deepEqual(dns1035Label("1a"), ["a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"]);
  assert.deepEqual(dns1123Label("a".repeat(64)), ["must be no more than 63 characters"]);
  assert.deepEqual(portName("A--"), ["must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)", "must contain at least one letter (a-z)", "must not contain consecutive hyphens", "must not begin or end with a hyphen"]);
  assert.deepEqual(qualifiedName("/"), ["prefix part must be non-empty", "name part must be non-empty", "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"]);
});

test("a prefix of a name may end with a dash", () => {
  assert.deepEqual(nameIsDnsLabel("web-", true), []);
  assert.equal(nameIsDnsLabel("web-", false).length, 1);
  assert.deepEqual(nameIsPathSegment("system:node", false), []);
  assert.deepEqual(nameIsPathSegment("a/b%", false), ["may not contain '/'", "may not contain '%'"]);
  assert.deepEqual(nameIsPathSegment("..", false), ["may not be '..'"]);
});
