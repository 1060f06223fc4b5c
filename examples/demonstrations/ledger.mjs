// Keeps one report in a database, and takes it only from whoever has the greatest token that it has seen.
import { createServer } from "node:http";
import { DatabaseSync } from "node:sqlite";

const database = new DatabaseSync("/tmp/ledger.db");
database.exec("CREATE TABLE IF NOT EXISTS report (id INTEGER PRIMARY KEY, token INTEGER NOT NULL, writer TEXT NOT NULL, writes INTEGER NOT NULL)");
database.exec("INSERT OR IGNORE INTO report VALUES (1, 0, 'nobody', 0)");
const write = database.prepare("UPDATE report SET token = :token, writer = :writer, writes = writes + 1 WHERE id = 1 AND token <= :token");
const read = database.prepare("SELECT token, writer, writes FROM report WHERE id = 1");

createServer(async (request, response) => {
  if (request.url === "/token") return response.end(`${read.get().token}\n`);
  if (request.method === "GET") return response.end(`the report is ${read.get().writer}'s, written with token ${read.get().token}\n`);
  const { token, writer } = JSON.parse(Buffer.concat(await request.toArray()).toString());
  if (write.run({ token, writer }).changes === 1) return response.end("written\n");
  response.writeHead(409).end(`refused: token ${token} is older than ${read.get().token}\n`);
}).listen(8080);
