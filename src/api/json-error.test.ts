import assert from "node:assert/strict";
import { test } from "node:test";
import { jsonError } from "./json-error.ts";

/** Text → what Go 1.26's encoding/json says of it. */
const cases = String.raw`
apiVersion: v1 → invalid character 'a' looking for beginning of value
 → unexpected end of JSON input
{ → unexpected end of JSON input
{"a" → unexpected end of JSON input
{"a": → unexpected end of JSON input
{"a":1 → unexpected end of JSON input
{"a":1, → unexpected end of JSON input
{"a":1,} → invalid character '}' looking for beginning of object key string
{a:1} → invalid character 'a' looking for beginning of object key string
{"a" 1} → invalid character '1' after object key
{"a":1 "b":2} → invalid character '"' after object key:value pair
[1 → unexpected end of JSON input
[1 2] → invalid character '2' after array element
[1,] → invalid character ']' looking for beginning of value
{"a":tru} → invalid character '}' in literal true (expecting 'e')
{"a":truE} → invalid character 'E' in literal true (expecting 'e')
{"a":"x → unexpected end of JSON input
{"a":"\q"} → invalid character 'q' in string escape code
{"a":01} → invalid character '1' after object key:value pair
{"a":-} → invalid character '}' in numeric literal
{"a":1.} → invalid character '}' after decimal point in numeric literal
{"a":1}x → invalid character 'x' after top-level value
{"a":nul} → invalid character '}' in literal null (expecting 'l')
} → invalid character '}' looking for beginning of value
{"a":'x'} → invalid character '\'' looking for beginning of value
{"a":[{},[],1e5,-0.5,true,null,"\u00e9"]} → `;

test("text that is not JSON is refused in Go's words", () => {
  for (const line of cases.slice(1).split("\n")) {
    const [text, expected] = line.split("→") as [string, string];
    assert.equal(jsonError(text.trimEnd()), expected.trim(), text);
  }
});
