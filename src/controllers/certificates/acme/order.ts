import { get } from "node:http";
import { X509Certificate } from "node:crypto";
import { type Clock, delay } from "../../../base/clock.ts";
import { certificatesIn } from "../signing.ts";
import { type AcmeClient, AcmeProblem, type Authorization, type Order, problemText } from "./client.ts";

/** Has the gateway answer an ACME server on port 80: RFC 8555 §8.3. */
export interface ChallengeSolver {
  present(challenge: { host: string; token: string; text: string }): PresentedChallenge;
}
export interface PresentedChallenge {
  /** Where it can be asked for at this moment: a Gateway that nobody made yet has no listener. */
  addresses(): readonly { address: string; port: number }[];
  remove(): void;
}

/** The server said no, for good: another order would be needed. */
export class OrderFailed extends Error {}

export interface OrderWish {
  client: AcmeClient;
  names: readonly string[];
  /** The CertificateRequest, DER. */
  request: Buffer;
  profile?: string | undefined;
  /** The common name of who signed the topmost certificate of the chain that is wanted. */
  preferredChain?: string | undefined;
  /** An order that was begun before. */
  orderUrl?: string | undefined;
  began(orderUrl: string): Promise<void>;
  /** What is waited for. */
  report(message: string): void;
  solver: ChallengeSolver;
  clock: Clock;
  signal: AbortSignal;
}

const pollMs = 1_000;
const patienceMs = 10 * 60_000;
const selfCheckMs = 2 * 60_000;
/** A server that says "at once", or names a time that is over, would be asked as fast as it answers. */
const restMs = ({ retryAfterMs = 0 }: Pick<Order, "retryAfterMs">): number => Math.max(retryAfterMs, pollMs);

/** From names to a chain, PEM. Throws {@link OrderFailed}, AcmeProblem, or what the network says. */
export async function obtain(wish: OrderWish): Promise<string> {
  const { client, request, report } = wish;
  let order = await beginOrder(wish);
  if (order.status === "pending") {
    report('Waiting on certificate issuance from order: "pending"');
    for (const url of order.authorizations) await authorize(wish, url);
    order = await settled(wish, order, (status) => status !== "pending");
  }
  if (order.status === "ready") order = await client.finalize(order, request);
  report(`Waiting on certificate issuance from order: "${order.status}"`);
  order = await settled(wish, order, (status) => status === "valid" || status === "invalid");
  if (order.status !== "valid" || !order.certificate) throw new OrderFailed(`the ACME order is "${order.status}": ${problemText(order.error)}`);
  return chosenChain(wish, order.certificate);
}

async function beginOrder({ client, names, profile, orderUrl, began }: OrderWish): Promise<Order> {
  if (orderUrl !== undefined) {
    const found = await client.getOrder(orderUrl).catch((error: unknown) => {
      // Servers forget orders.
      if (error instanceof AcmeProblem && error.status >= 400 && error.status < 500) return undefined;
      throw error;
    });
    if (found && found.status !== "invalid") return found;
  }
  const order = await client.order(names, profile);
  await began(order.url);
  return order;
}

async function settled({ client, clock, signal }: OrderWish, order: Order, isOver: (status: Order["status"]) => boolean): Promise<Order> {
  const endMs = clock.now() + patienceMs;
  let now = order;
  while (!isOver(now.status)) {
    if (clock.now() > endMs) throw new Error(`the ACME order stays "${now.status}"`);
    await delay(clock, restMs(now), signal);
    now = await client.getOrder(order.url);
  }
  if (now.status === "invalid") throw new OrderFailed(`the ACME order is "invalid": ${problemText(now.error)}`);
  return now;
}

async function authorize(wish: OrderWish, url: string): Promise<void> {
  const { client, solver, clock, signal, report } = wish;
  let authorization = await client.authorization(url);
  const host = authorization.identifier.value;
  if (authorization.status === "valid") return;
  const challenge = authorization.challenges.find(({ type }) => type === "http-01");
  if (authorization.wildcard || !challenge?.token) throw new OrderFailed(`${authorization.wildcard ? "*." : ""}${host} can only be proved by ${authorization.challenges.map(({ type }) => type).join(" or ")}, and Wherry answers http-01`);
  const text = client.keyAuthorization(challenge.token);
  const presented = solver.present({ host, token: challenge.token, text });
  try {
    await selfCheck(wish, presented, { host, token: challenge.token, text });
    report(`Waiting for HTTP-01 challenge of ${host}: the server looks for http://${host}/.well-known/acme-challenge/`);
    await client.accept(challenge.url);
    const endMs = clock.now() + patienceMs;
    while (authorization.status === "pending") {
      if (clock.now() > endMs) throw new Error(`the authorization of ${host} stays pending`);
      await delay(clock, restMs(authorization), signal);
      authorization = await client.authorization(url);
    }
    if (authorization.status !== "valid") throw new OrderFailed(`${host} was not authorized: ${whyNot(authorization)}`);
  } finally {
    presented.remove();
  }
}

const whyNot = ({ status, challenges }: Authorization): string => problemText(challenges.find(({ error }) => error)?.error ?? { type: status, detail: `the authorization is "${status}"` });

/** The server asks once: it is told when there is an answer. */
async function selfCheck({ clock, signal, report }: OrderWish, presented: PresentedChallenge, { host, token, text }: { host: string; token: string; text: string }): Promise<void> {
  const endMs = clock.now() + selfCheckMs;
  for (;;) {
    const addresses = presented.addresses();
    const answers = await Promise.all(addresses.map((where) => ask(where, host, token, signal)));
    if (answers.includes(text)) return;
    const waiting = `Waiting for HTTP-01 challenge propagation: ${addresses.length === 0 ? `no listener of protocol HTTP serves ${host}` : `wrong answer at ${addresses.map(({ address, port }) => `${address}:${port}`).join(", ")}`}`;
    if (clock.now() > endMs) throw new Error(waiting);
    report(waiting);
    await delay(clock, pollMs / 4, signal);
  }
}

const askMs = 5_000;
function ask({ address, port }: { address: string; port: number }, host: string, token: string, signal: AbortSignal): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const asked = get({ host: address, port, path: `/.well-known/acme-challenge/${token}`, headers: { host }, agent: false, signal: AbortSignal.any([signal, AbortSignal.timeout(askMs)]) }, (answer) => {
    let text = "";
    answer.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      if (text.length > 4096) asked.destroy();
    });
    answer.on("end", () => resolve(answer.statusCode === 200 ? text : undefined));
    answer.on("error", () => resolve(undefined));
  });
  asked.on("error", () => resolve(undefined));
  return promise;
}

async function chosenChain({ client, preferredChain }: OrderWish, url: string): Promise<string> {
  let first: string | undefined;
  for await (const text of client.chains(url)) {
    const chain = certificatesIn(text);
    if (chain.length === 0) throw new OrderFailed("the server's answer holds no certificate");
    const pem = chain.join("");
    if (!preferredChain) return pem;
    first ??= pem;
    if (new X509Certificate(chain.at(-1)!).issuer.split("\n").includes(`CN=${preferredChain}`)) return pem;
  }
  // As cert-manager: better another chain than none.
  return first!;
}
