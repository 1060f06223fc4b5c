// desk: what one thing costs and how many there are. Asks prices and stock by their names; there is nothing of a mesh in here.
//   node main.ts                                     serves
//   node main.ts ask HOST/PATH TIMES [NAME:VALUE]    asks again and again, and says how often each answer came
import { subscribe } from "node:diagnostics_channel";
import { createServer, type IncomingMessage } from "node:http";
import { hostname } from "node:os";

const rates: Record<string, number> = { EUR: 1, USD: 1.1, GBP: 0.8 };

/** What a caller said about the whole of his request goes along with the calls made for it: nobody else can know what belongs together. */
const passedOn = ({ headers }: IncomingMessage): Record<string, string> =>
  Object.fromEntries(["traceparent", "tracestate", "x-preview"].flatMap((name) => (headers[name] === undefined ? [] : [[name, String(headers[name])]])));

async function ask(url: string, headers: Record<string, string>): Promise<{ body: Record<string, unknown>; instance: string } | undefined> {
  try {
    const response = await fetch(url, { headers });
    if (response.ok) return { body: (await response.json()) as Record<string, unknown>, instance: response.headers.get("x-instance-id") ?? "?" };
    console.log(`desk: ${url} answered ${response.status}`);
  } catch (error) {
    console.log(`desk: ${url}: ${(error as Error).cause ?? error}`);
  }
  return undefined;
}

async function answer(request: IncomingMessage): Promise<[status: number, body: object]> {
  const url = new URL(request.url ?? "/", "http://desk");
  if (url.pathname === "/health") return [200, { status: "ok" }];
  if (url.pathname === "/rates") return [200, rates];
  const [, sku] = /^\/offers\/([A-Z]+)$/.exec(url.pathname) ?? [];
  if (sku === undefined) return [404, { error: "ask for /offers/KETTLE" }];
  const headers = passedOn(request);
  const [price, stock] = await Promise.all([ask(`http://prices/prices/${sku}?currency=${url.searchParams.get("currency") ?? "EUR"}`, headers), ask(`http://stock/stock/${sku}`, headers)]);
  if (!price) return [502, { error: "the price is not known" }];
  // How many there are is good to know; without it there is still an offer.
  return [200, { sku, price: price.body["price"], currency: price.body["currency"], available: stock?.body["available"] ?? null, answered: [hostname(), price.instance, ...(stock ? [stock.instance] : [])] }];
}

function serve(): void {
  const server = createServer((request, response) => {
    void answer(request).then(([status, body]) => {
      response.writeHead(status, { "content-type": "application/json", "x-instance-id": hostname() }).end(`${JSON.stringify(body)}\n`);
      if (request.url !== "/health") console.log(`desk ${request.method} ${request.url} ${status} trace=${/^00-([0-9a-f]{32})-/.exec(String(request.headers["traceparent"]))?.[1] ?? "-"}`);
    });
  });
  server.listen(8080, () => console.log("desk is listening"));
  // Requests on their way are answered, then nothing is left to do.
  process.on("SIGTERM", () => server.close());
}

async function askOften(place: string, times: number, header?: string): Promise<void> {
  let connections = 0;
  subscribe("undici:client:connected", () => connections++);
  const counts = new Map<string, number>();
  for (let i = 0; i < times; i++) {
    const response = await fetch(`http://${place}`, { headers: header === undefined ? {} : [header.split(":") as [string, string]] });
    await response.text();
    const said = response.ok ? `${response.status} ${response.headers.get("x-instance-id")}` : String(response.status);
    counts.set(said, (counts.get(said) ?? 0) + 1);
  }
  for (const [said, count] of [...counts].sort()) console.log(count, said);
  console.log(`connections: ${connections}`);
}

const [verb, place = "", times = "1", header] = process.argv.slice(2);
if (verb === "ask") await askOften(place, Number(times), header);
else serve();
