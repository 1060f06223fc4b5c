import assert from "node:assert/strict";
import { test } from "node:test";
import { type Random, randomInt, seededRandom } from "../../base/random.ts";
import { controlOf, httpDate, parseDirectives, seconds } from "./directives.ts";
import { initialAgeMs, isStorable, lifetimeMs, useOf } from "./rules.ts";
import { CacheStore, type Entry } from "./store.ts";

/** What origins and clients may write, by a seed: a line that fails names it. Many more of them with `npm run conformance`. */
const rounds = process.env["WHERRY_CONFORMANCE"] ? 400_000 : 6_000;
const seeds = { directives: 1, nonsense: 2, dictionary: 3, dates: 4, store: 5, rules: 6 };
const pick = <T>(random: Random, from: readonly T[] | string): T => from[randomInt(random, from.length)] as T;
const text = (random: Random, alphabet: string, most: number): string => Array.from({ length: randomInt(random, most + 1) }, () => pick<string>(random, alphabet)).join("");

const names = ["max-age", "s-maxage", "no-store", "no-cache", "private", "public", "must-revalidate", "stale-if-error", "x", "ext-1"];
const values = ["", "0", "1", "60", "3600", "99999999999999999999", "1.5", "-1", "a", "0x10", "1e3"];
const space = (random: Random): string => pick<string>(random, ["", "", " ", "\t", "  "]);
const anyCase = (random: Random, word: string): string => word.replace(/[a-z]/g, (letter) => (random.next() < 0.3 ? letter.toUpperCase() : letter));

test("directives, however they are written: the first of a name counts, and each is read as it was meant", () => {
  const random = seededRandom(seeds.directives);
  for (let round = 0; round < rounds; round++) {
    const wanted = new Map<string, string>();
    const parts = Array.from({ length: randomInt(random, 6) }, () => {
      if (random.next() < 0.1) return space(random);
      const [name, value] = [pick(random, names), pick(random, values)];
      if (!wanted.has(name)) wanted.set(name, value);
      const written = anyCase(random, name);
      if (value === "" && random.next() < 0.5) return `${space(random)}${written}${space(random)}`;
      const given = random.next() < 0.3 || value === "" ? `"${value.replace(/./g, (c) => (random.next() < 0.1 ? `\\${c}` : c))}"` : value;
      return `${space(random)}${written}${space(random)}=${space(random)}${given}${space(random)}`;
    });
    const line = parts.join(",");
    assert.deepEqual([...parseDirectives(line)], [...wanted], `round ${round}: ${JSON.stringify(line)}`);
  }
});

test("nonsense costs nobody his no-store, and no number is made of it", () => {
  const random = seededRandom(seeds.nonsense);
  const alphabet = `aA0-=",; \t\\'()<>@:/[]?{}é\u0000`;
  for (let round = 0; round < rounds; round++) {
    const nonsense = text(random, alphabet, 40);
    const line = `${nonsense},no-store`;
    const found = parseDirectives(line);
    // Within a quoted string it is a part of that.
    if (!nonsense.includes('"')) assert.ok(found.has("no-store"), `round ${round}: ${JSON.stringify(line)}`);
    for (const name of found.keys()) {
      const value = seconds(found, name);
      assert.ok(value === undefined || Number.isNaN(value) || (Number.isInteger(value) && value >= 0 && value <= 2 ** 31), `round ${round}: ${JSON.stringify(line)}`);
    }
    controlOf({ get: (name) => (name === "cdn-cache-control" ? nonsense : "no-store") });
  }
});

test("a targeted field that can be read counts alone, and one that cannot not at all", () => {
  const random = seededRandom(seeds.dictionary);
  for (let round = 0; round < rounds; round++) {
    const wanted = new Map<string, string>();
    const members = Array.from({ length: 1 + randomInt(random, 4) }, () => {
      const name = pick(random, names);
      const value = pick(random, ["", "1", "60", "86400"]);
      wanted.delete(name);
      wanted.set(name, value);
      return value === "" ? `${name}${pick<string>(random, ["", "=?1"])}` : `${name}=${value}${pick<string>(random, ["", "", ";a=1", "; b"])}`;
    });
    const line = members.join(pick<string>(random, [",", ", ", " , "]));
    const fields = (told: string) => ({ get: (name: string) => (name === "cdn-cache-control" ? told : name === "cache-control" ? "max-age=7" : undefined) });
    const found = controlOf(fields(line));
    assert.deepEqual([found.isTargeted, [...found.directives]], [true, [...wanted]], `round ${round}: ${JSON.stringify(line)}`);
    const broken = `${line}${pick<string>(random, [",", "=", ", =1", ", A", ' "', ", a=="])}`;
    assert.deepEqual([...controlOf(fields(broken)).directives], [["max-age", "7"]], `round ${round}: ${JSON.stringify(broken)}`);
  }
});

const days = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const two = (value: number | string): string => String(value).padStart(2, "0");
/** RFC 9110 §5.6.7. */
function forms(ms: number): { fixed: string; old: string; asctime: string } {
  const fixed = new Date(ms).toUTCString();
  const [, day, month, year, clock] = /^\w+, (\d\d) (\w+) (\d+) (\S+) GMT$/.exec(fixed)!;
  const weekday = days[new Date(ms).getUTCDay()]!;
  return { fixed, old: `${weekday}, ${day}-${month}-${two(Number(year) % 100)} ${clock} GMT`, asctime: `${weekday.slice(0, 3)} ${month} ${String(Number(day)).padStart(2)} ${clock} ${year}` };
}

test("dates in all three forms and in any case; one that was tampered with is none, or is what it says", () => {
  const random = seededRandom(seeds.dates);
  const now = Date.UTC(2026, 10, 21);
  for (let round = 0; round < rounds; round++) {
    const ms = Math.floor(random.next() * 4_102_444_800) * 1000;
    const { fixed, old, asctime } = forms(ms);
    assert.equal(httpDate(anyCase(random, fixed), now), ms, fixed);
    assert.equal(httpDate(anyCase(random, asctime), now), ms, asctime);
    const year = new Date(ms).getUTCFullYear();
    if (year > 1976 && year <= 2076) assert.equal(httpDate(anyCase(random, old), now), ms, old);
    const from = pick(random, [fixed, old, asctime]);
    const at = randomInt(random, from.length);
    const changed = `${from.slice(0, at)}${pick<string>(random, ["", "0", "9", " ", "-", ":", "a", "é"])}${from.slice(at + randomInt(random, 2))}`;
    const read = httpDate(changed, now);
    if (read === undefined || /:60\b/.test(changed)) continue;
    const again = forms(read);
    const unnamed = (date: string): string => date.toLowerCase().replace(/^[a-zé]+,? /, "");
    // "Nov 06" of asctime is as good as "Nov  6".
    assert.ok([again.fixed, again.old, again.asctime, again.asctime.replace(/ {2}(\d) /, " 0$1 ")].some((form) => unnamed(form) === unnamed(changed)), `round ${round}: ${JSON.stringify(changed)} was read as ${again.fixed}`);
  }
});

test("the store never holds more than it may, and counts what it holds", () => {
  const random = seededRandom(seeds.store);
  const bytesMax = 20_000;
  const store = new CacheStore(bytesMax);
  const none = new Map<string, string>();
  const entryOf = (size: number, variant: string): Omit<Entry, "size"> => ({ status: 200, headers: [], body: Buffer.alloc(size), answeredAt: 0, initialAgeMs: 0, lifetimeMs: 1, directives: none, vary: [["accept", variant]], origin: { upstream: "u", target: "/", host: "h" } });
  for (let round = 0; round < rounds; round++) {
    const key = `http://h/${randomInt(random, 40)}`;
    const variant = String(randomInt(random, 4));
    const what = random.next();
    if (what < 0.5) {
      const size = randomInt(random, random.next() < 0.02 ? 40_000 : 3_000);
      store.put(key, entryOf(size, variant));
      if (size < 3_000) assert.equal(store.find(key, () => variant)?.body.length, size, `round ${round}: what was just put is there`);
    } else if (what < 0.9) store.find(key, () => variant);
    else if (what < 0.99) store.remove(key);
    else store.purge((one) => one.endsWith(String(randomInt(random, 10))));
    assert.ok(store.bytes <= bytesMax && store.bytes >= 0, `round ${round}: ${store.bytes}`);
  }
  store.purge(() => true);
  assert.deepEqual([store.bytes, store.size], [0, 0]);
});

test("whatever an origin says: what it forbids is not kept, and what is too old is not fresh", () => {
  const random = seededRandom(seeds.rules);
  const control = () => Array.from({ length: randomInt(random, 4) }, () => `${pick(random, names)}${pick<string>(random, ["", "=0", "=5", "=x", "=60"])}`).join(", ");
  for (let round = 0; round < rounds; round++) {
    const answered = Date.UTC(2026, 0, 1) + randomInt(random, 1_000_000);
    const headers = new Map(Object.entries({ "cache-control": control(), date: new Date(answered - randomInt(random, 100_000)).toUTCString(), age: pick(random, ["0", "7", "-1", "x", "99999999999"]), expires: pick(random, ["0", "", new Date(answered + 60_000).toUTCString()]), vary: pick(random, ["accept", "*", "a, *"]), ...(random.next() < 0.5 && { etag: '"1"' }) }).filter(() => random.next() < 0.7));
    const fields = { get: (name: string) => headers.get(name) };
    const said = `round ${round}: ${JSON.stringify([...headers])}`;
    const status = pick(random, [200, 206, 304, 404, 500, 599, 299]);
    const request = control();
    const isKept = isStorable({ method: "GET", cacheControl: request, isAuthorized: random.next() < 0.5, hasCookies: random.next() < 0.2 }, status, fields, 0);
    const { directives } = controlOf(fields);
    if (directives.has("no-store") || directives.has("private") || headers.get("vary")?.includes("*") || parseDirectives(request).has("no-store") || status === 206 || status === 304) assert.ok(!isKept, said);
    const [age, lifetime] = [initialAgeMs(fields, { askedAt: answered - 5, answeredAt: answered }), lifetimeMs(status, fields, answered, 0)];
    assert.ok(age >= 0 && lifetime >= 0 && Number.isFinite(age) && Number.isFinite(lifetime), said);
    const use = useOf({ ageMs: age, lifetimeMs: lifetime, directives }, parseDirectives(undefined));
    if (age >= lifetime || directives.has("no-cache")) assert.notEqual(use, "fresh", said);
    if (age >= lifetime && directives.has("must-revalidate")) assert.equal(use, "validate", said);
  }
});
