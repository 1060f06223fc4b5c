import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import pg from "pg";
import { check } from "./checker.ts";
import type { Acknowledged } from "./shop-client.ts";

const usage = `Reads the shop's database: no order lost, none there twice; stock, money and messages add up.

usage: node load/check.ts [--database URL] [--ledger FILE]

options:
  --database URL   postgres://USER:PASSWORD@HOST:PORT/ecommerce; else as PGHOST, PGPORT, … say
  --ledger FILE    what was promised, by load/main.ts --ledger
  --help

It ends with 1 when something is wrong, else with 0.`;

const { values } = parseArgs({ options: { database: { type: "string" }, ledger: { type: "string" }, help: { type: "boolean", default: false } } });
if (values.help) {
  console.log(usage);
  process.exit(0);
}
const ledger = values.ledger === undefined ? [] : readFileSync(values.ledger, "utf8").split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as Acknowledged);
const client = new pg.Client(values.database === undefined ? { database: process.env["PGDATABASE"] ?? "ecommerce" } : { connectionString: values.database });
await client.connect();
const wrong = await check(client, { ledger });
const { rows } = await client.query<Record<string, string>>("SELECT status, count(*) FROM orders GROUP BY status ORDER BY status");
await client.end();
for (const line of wrong) console.log(`WRONG  ${line}`);
console.log(`${rows.map(({ status, count }) => `${count} ${status}`).join(", ") || "no orders"}; ${ledger.length} promised; ${wrong.length === 0 ? "all is as it must be" : `${wrong.length} things are wrong`}`);
process.exit(wrong.length > 0 ? 1 : 0);
