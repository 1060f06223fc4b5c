import { CelEvaluationError } from "../errors.ts";
import { Opaque } from "../values.ts";
import { type Declaration, declare } from "./declare.ts";

/** An address as its bytes. Source: k8s.io/apiserver/pkg/cel/library/{ip,cidr}.go and Go's net/netip. */
class Ip extends Opaque {
  readonly typeName = "net.IP";
  readonly bytes: readonly number[];
  constructor(bytes: readonly number[]) {
    super();
    this.bytes = bytes;
  }
  override equals(other: unknown): boolean {
    return other instanceof Ip && other.toString() === this.toString();
  }
  override get size(): number {
    return this.bytes.length;
  }
  get isV4(): boolean {
    return this.bytes.length === 4;
  }
  /** The canonical form: lower case, the longest run of zero groups (the first of equals) shortened. */
  override toString(): string {
    if (this.isV4) return this.bytes.join(".");
    const groups = Array.from({ length: 8 }, (_, index) => (this.bytes[2 * index]! << 8) | this.bytes[2 * index + 1]!);
    let [best, length] = [-1, 1];
    for (let start = 0; start < 8; start++) {
      let end = start;
      while (end < 8 && groups[end] === 0) end++;
      if (end - start > length) [best, length] = [start, end - start];
    }
    const text = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(":");
    return best < 0 ? text(groups) : `${text(groups.slice(0, best))}::${text(groups.slice(best + length))}`;
  }
}

class Cidr extends Opaque {
  readonly typeName = "net.CIDR";
  readonly ip: Ip;
  readonly bits: number;
  constructor(ip: Ip, bits: number) {
    super();
    [this.ip, this.bits] = [ip, bits];
  }
  override equals(other: unknown): boolean {
    return other instanceof Cidr && other.toString() === this.toString();
  }
  override get size(): number {
    return Math.ceil(this.bits / 8);
  }
  override toString(): string {
    return `${this.ip.toString()}/${this.bits}`;
  }
  get masked(): Cidr {
    const bytes = this.ip.bytes.map((byte, index) => byte & (0xff << Math.min(8, Math.max(0, 8 * (index + 1) - this.bits))) & 0xff);
    return new Cidr(new Ip(bytes), this.bits);
  }
  contains(ip: Ip): boolean {
    return ip.isV4 === this.ip.isV4 && new Cidr(ip, this.bits).masked.ip.equals(this.masked.ip);
  }
  containsCidr(other: Cidr): boolean {
    return other.bits >= this.bits && this.contains(other.ip);
  }
}

/** Bytes, or what Go says of the text. */
function parseBytes(text: string): number[] | string {
  if (!text.includes(":")) {
    if (!text.includes(".")) return "unable to parse IP";
    const fields = text.split(".");
    for (const field of fields) {
      if (field === "") return "IPv4 field must have at least one digit";
      if (!/^\d+$/.test(field)) return "unexpected character";
      if (field.length > 1 && field.startsWith("0")) return "IPv4 field has octet with leading zero";
      if (Number(field) > 255) return "IPv4 field has value >255";
    }
    return fields.length < 4 ? "IPv4 address too short" : fields.length > 4 ? "IPv4 address too long" : fields.map(Number);
  }
  const halves = text.split("::");
  if (halves.length > 2 || text.includes(":::")) return "multiple :: in address";
  const groupsOf = (half: string, last: boolean): number[] | string => {
    if (half === "") return [];
    const bytes: number[] = [];
    const groups = half.split(":");
    for (const [index, group] of groups.entries()) {
      if (last && index === groups.length - 1 && group.includes(".")) {
        const embedded = parseBytes(group);
        if (typeof embedded === "string") return embedded;
        bytes.push(...embedded);
      } else if (/^[0-9a-fA-F]{1,4}$/.test(group)) bytes.push(Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff);
      else return group === "" ? "each colon-separated field must have at least one digit" : group.length > 4 ? "each group must have 4 or less digits" : "unexpected character";
    }
    return bytes;
  };
  const head = groupsOf(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? groupsOf(halves[1]!, true) : [];
  if (typeof head === "string") return head;
  if (typeof tail === "string") return tail;
  const missing = 16 - head.length - tail.length;
  if (halves.length === 1) return missing === 0 ? head : missing > 0 ? "address string too short" : "trailing garbage after address";
  return missing < 2 ? "the :: must expand to at least one field of zeros" : [...head, ...Array.from({ length: missing }, () => 0), ...tail];
}

const isMapped = (bytes: readonly number[]): boolean => bytes.length === 16 && bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;

function parseIp(text: string): Ip {
  const zone = text.indexOf("%");
  const bytes = parseBytes(zone < 0 ? text : text.slice(0, zone));
  if (typeof bytes === "string" || (zone >= 0 && bytes.length === 4)) throw new CelEvaluationError(`IP Address ${JSON.stringify(text)} parse error during conversion from string: ParseAddr(${JSON.stringify(text)}): ${typeof bytes === "string" ? bytes : "zones cannot be used with IPv4"}`);
  if (zone >= 0) throw new CelEvaluationError(`IP address ${JSON.stringify(text)} with zone value is not allowed`);
  if (isMapped(bytes)) throw new CelEvaluationError(`IPv4-mapped IPv6 address ${JSON.stringify(text)} is not allowed`);
  return new Ip(bytes);
}

function parseCidr(text: string): Cidr {
  const slash = text.lastIndexOf("/");
  const fail = (reason: string): never => {
    throw new CelEvaluationError(`network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix(${JSON.stringify(text)}): ${reason}`);
  };
  if (slash < 0) return fail("no '/'");
  const bytes = parseBytes(text.slice(0, slash));
  if (typeof bytes === "string") return fail(`ParseAddr(${JSON.stringify(text.slice(0, slash))}): ${bytes}`);
  const bits = text.slice(slash + 1);
  if (!/^(0|[1-9]\d{0,2})$/.test(bits)) return fail(`bad bits after slash: ${JSON.stringify(bits)}`);
  if (Number(bits) > bytes.length * 8) return fail("prefix length out of range");
  if (isMapped(bytes)) throw new CelEvaluationError(`IPv4-mapped IPv6 address ${JSON.stringify(text)} is not allowed`);
  return new Cidr(new Ip(bytes), Number(bits));
}
const succeeds = (parse: () => unknown): boolean => {
  try {
    parse();
    return true;
  } catch (error) {
    if (!(error instanceof CelEvaluationError)) throw error;
    return false;
  }
};

const v6 = (ip: Ip, first: number, mask = 0xff, second = 0, secondMask = 0): boolean => !ip.isV4 && (ip.bytes[0]! & mask) === first && (ip.bytes[1]! & secondMask) === second;
const isUnspecified = (ip: Ip): boolean => ip.bytes.every((byte) => byte === 0);
const isLoopback = (ip: Ip): boolean => (ip.isV4 ? ip.bytes[0] === 127 : ip.toString() === "::1");
const isMulticast = (ip: Ip): boolean => (ip.isV4 ? ip.bytes[0]! >> 4 === 0xe : v6(ip, 0xff));
const isLinkLocalUnicast = (ip: Ip): boolean => (ip.isV4 ? ip.bytes[0] === 169 && ip.bytes[1] === 254 : v6(ip, 0xfe, 0xff, 0x80, 0xc0));
const questions: Record<string, (ip: Ip) => boolean> = {
  isUnspecified,
  isLoopback,
  isLinkLocalUnicast,
  isLinkLocalMulticast: (ip) => (ip.isV4 ? ip.bytes[0] === 224 && ip.bytes[1] === 0 && ip.bytes[2] === 0 : v6(ip, 0xff, 0xff, 0x02, 0x0f)),
  isGlobalUnicast: (ip) => !isUnspecified(ip) && !isLoopback(ip) && !isMulticast(ip) && !isLinkLocalUnicast(ip) && ip.toString() !== "255.255.255.255",
};

export const addresses = declare([
  ["ip", "(string): net.IP", ([text]) => parseIp(text)],
  ["isIP", "(string): bool", ([text]) => succeeds(() => parseIp(text))],
  ["ip.isCanonical", "(string): bool", ([text]) => parseIp(text).toString() === text],
  ["family", "net.IP.(): int", ([ip]) => (ip.isV4 ? 4n : 6n)],
  ...Object.entries(questions).map(([name, ask]): Declaration => [name, "net.IP.(): bool", ([ip]) => ask(ip)]),
  ["string", "(net.IP): string", ([ip]) => ip.toString()],
  ["cidr", "(string): net.CIDR", ([text]) => parseCidr(text)],
  ["isCIDR", "(string): bool", ([text]) => succeeds(() => parseCidr(text))],
  ["containsIP", "net.CIDR.(net.IP): bool", ([cidr, ip]) => cidr.contains(ip)],
  ["containsIP", "net.CIDR.(string): bool", ([cidr, text]) => {
    if (!succeeds(() => parseIp(text))) throw new CelEvaluationError("no such overload");
    return cidr.contains(parseIp(text));
  }],
  ["containsCIDR", "net.CIDR.(net.CIDR): bool", ([cidr, other]) => cidr.containsCidr(other)],
  ["containsCIDR", "net.CIDR.(string): bool", ([cidr, text]) => cidr.containsCidr(parseCidr(text))],
  ["ip", "net.CIDR.(): net.IP", ([cidr]) => cidr.ip],
  ["prefixLength", "net.CIDR.(): int", ([cidr]) => BigInt(cidr.bits)],
  ["masked", "net.CIDR.(): net.CIDR", ([cidr]) => cidr.masked],
  ["string", "(net.CIDR): string", ([cidr]) => cidr.toString()],
]);
