import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { Problem } from "wherry/chassis";

/**
 * Passwords are kept as scrypt hashes, in the text form that other libraries know: $scrypt$ln=13,r=8,p=10$SALT$HASH.
 * 8 MiB and some hundred milliseconds each: of the settings that OWASP's Password Storage Cheat Sheet gives, the one that
 * leaves most room in 128Mi, where each thread of the pool keeps what it once had. Source: RFC 7914.
 */
const cost = { ln: 13, r: 8, p: 10 };
const hashBytes = 32;
/** One at a time, and few that wait: whoever sends many logins shall not have all of the pod's time. */
const waitingMax = 16;

let waiting = 0;
let turn: Promise<unknown> = Promise.resolve();

function derive(password: string, salt: Buffer, { ln, r, p }: typeof cost): Promise<Buffer> {
  if (waiting >= waitingMax) throw new Problem(503, "too many logins at the moment", { retryAfterSeconds: 2 });
  waiting++;
  const mine = turn.then(() => new Promise<Buffer>((resolve, reject) => scrypt(password.normalize("NFKC"), salt, hashBytes, { N: 2 ** ln, r, p, maxmem: 2 ** ln * r * 256 }, (error, hash) => (error ? reject(error) : resolve(hash)))));
  turn = mine.catch(() => {}).finally(() => waiting--);
  return mine;
}

const base64 = (bytes: Buffer): string => bytes.toString("base64").replace(/=+$/, "");

export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16);
  const { ln, r, p } = cost;
  return `$scrypt$ln=${ln},r=${r},p=${p}$${base64(salt)}$${base64(await derive(password, salt, cost))}`;
}

/** Takes as long for a user who does not exist (`stored` undefined) as for one who does. */
export async function isPassword(password: string, stored: string | undefined): Promise<boolean> {
  const match = /^\$scrypt\$ln=(\d+),r=(\d+),p=(\d+)\$([\w+/]+)\$([\w+/]+)$/.exec(stored ?? "");
  if (!match) {
    await derive(password, randomBytes(16), cost);
    return false;
  }
  const [, ln, r, p, salt, hash] = match;
  return timingSafeEqual(await derive(password, Buffer.from(salt!, "base64"), { ln: Number(ln), r: Number(r), p: Number(p) }), Buffer.from(hash!, "base64"));
}
