import { parseAddress } from "../addresses.ts";

/** The last day of each month, in a leap year. */
const days = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

function isDate(text: string): boolean {
  const [, year, month, day] = /^(\d{4})-(\d\d)-(\d\d)$/.exec(text) ?? [];
  if (day === undefined || !(Number(month) >= 1 && Number(month) <= 12 && Number(day) >= 1 && Number(day) <= days[Number(month) - 1]!)) return false;
  return month !== "02" || day !== "29" || (Number(year) % 4 === 0 && (Number(year) % 100 !== 0 || Number(year) % 400 === 0));
}
/** RFC 3339 §5.6, with leap seconds where they may be: at the end of a day in UTC. */
function isTime(text: string): boolean {
  const [, hour, minute, second, zone, sign, zoneHour = "0", zoneMinute = "0"] = /^(\d\d):(\d\d):(\d\d)(?:\.\d+)?([zZ]|([+-])(\d\d):(\d\d))$/.exec(text) ?? [];
  if (zone === undefined || Number(hour) > 23 || Number(minute) > 59 || Number(second) > 60 || Number(zoneHour) > 23 || Number(zoneMinute) > 59) return false;
  if (second !== "60") return true;
  const offset = (Number(zoneHour) * 60 + Number(zoneMinute)) * (sign === "-" ? -1 : 1);
  return (Number(hour) * 60 + Number(minute) - offset + 2 * 1440) % 1440 === 1439;
}
function isDateTime(text: string): boolean {
  return isDate(text.slice(0, 10)) && (text[10] === "T" || text[10] === "t") && isTime(text.slice(11));
}
/**
 * RFC 1123 §2.1: labels of letters, digits and hyphens, which neither begin nor end them; hyphens in the third and fourth place are those
 * of names in other scripts, which are not decoded.
 */
function isHostname(text: string): boolean {
  return text.length <= 253 && text.split(".").every((label) => /^[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?$/i.test(label) && (!label.startsWith("--", 2) || /^xn/i.test(label)));
}
function isEmail(text: string): boolean {
  const at = text.lastIndexOf("@");
  const [local, domain] = [text.slice(0, at), text.slice(at + 1)];
  if (at < 1 || local.length > 64) return false;
  if (!/^[^\s"(),:;<>@[\]\\.]+(?:\.[^\s"(),:;<>@[\]\\.]+)*$/.test(local) && !/^"(?:[^"\\]|\\.)*"$/.test(local)) return false;
  if (domain.startsWith("[") && domain.endsWith("]")) return parseAddress(domain.slice(1, -1).replace(/^IPv6:/i, "")) !== undefined;
  return isHostname(domain);
}
const ipv4 = (text: string): boolean => !text.includes(":") && parseAddress(text) !== undefined;
const ipv6 = (text: string): boolean => text.includes(":") && !text.includes("%") && parseAddress(text) !== undefined;

/** RFC 3986 §2: what may stand in it, percent signs with two digits behind them. */
const ofUri = /^(?:[A-Za-z\d\-._~:/?#[\]@!$&'()*+,;=]|%[\dA-Fa-f]{2})*$/;
function isReference(text: string): boolean {
  if (!ofUri.test(text) || text.indexOf("#") !== text.lastIndexOf("#")) return false;
  const authority = /^(?:[A-Za-z][A-Za-z\d+.-]*:)?\/\/([^/?#]*)/.exec(text)?.[1];
  if (authority !== undefined) {
    if (authority.indexOf("@") !== authority.lastIndexOf("@")) return false;
    const host = authority.slice(authority.lastIndexOf("@") + 1);
    const [, address, port] = /^\[([^[\]]*)\](?::(\d*))?$/.exec(host) ?? [];
    if (authority.slice(0, authority.lastIndexOf("@") + 1).match(/[[\]]/)) return false;
    if (address !== undefined ? !ipv6(address) && !/^v[\dA-F]+\.[^[\]]+$/i.test(address) : /[[\]]/.test(host) || !/^[^:]*(?::\d*)?$/.test(host)) return false;
    return port === undefined || /^\d*$/.test(port);
  }
  // Brackets belong to addresses alone; and a first segment with a colon would be a scheme.
  return !/[[\]]/.test(text) && (/^[A-Za-z][A-Za-z\d+.-]*:/.test(text) || !/^[^/?#]*:/.test(text));
}
const isUri = (text: string): boolean => /^[A-Za-z][A-Za-z\d+.-]*:/.test(text) && isReference(text);

const isDuration = (text: string): boolean => /^P(?:\d+W|(?=[\dT])(?:\d+Y(?:\d+M(?:\d+D)?)?|\d+M(?:\d+D)?|\d+D)?(?:T(?=\d)(?:\d+H(?:\d+M(?:\d+S)?)?|\d+M(?:\d+S)?|\d+S))?)$/.test(text);
const isPointer = (text: string): boolean => /^(?:\/(?:[^~/]|~[01])*)*$/.test(text);

interface Format {
  /** Of a string; absent: it says nothing that could be wrong. */
  text?: (text: string) => boolean;
  number?: (value: number) => boolean;
  /** Behind "must be". */
  what: string;
}

/** Formats that are checked. Sources: JSON Schema validation 2020-12 §7.3, OpenAPI's registry of formats. */
const table: Record<string, Format> = {
  "date-time": { text: isDateTime, what: "a date and time of RFC 3339, such as 2026-03-01T12:00:00Z" },
  date: { text: isDate, what: "a date such as 2026-03-01" },
  time: { text: isTime, what: "a time of RFC 3339, such as 12:00:00Z" },
  duration: { text: isDuration, what: "a duration of ISO 8601, such as P1DT12H" },
  email: { text: isEmail, what: "an email address" },
  hostname: { text: isHostname, what: "a host name" },
  ipv4: { text: ipv4, what: "an IPv4 address" },
  ipv6: { text: ipv6, what: "an IPv6 address" },
  uri: { text: isUri, what: "a URI with its scheme" },
  "uri-reference": { text: isReference, what: "a URI or a relative reference" },
  uuid: { text: (text) => /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i.test(text), what: "a UUID" },
  "json-pointer": { text: isPointer, what: "a JSON pointer" },
  "relative-json-pointer": { text: (text) => /^(?:0|[1-9]\d*)(?:#$|(?=\/|$))/.test(text) && (text.endsWith("#") || isPointer(text.replace(/^\d+/, ""))), what: "a relative JSON pointer" },
  byte: { text: (text) => /^(?:[A-Za-z\d+/]{4})*(?:[A-Za-z\d+/]{2}==|[A-Za-z\d+/]{3}=)?$/.test(text), what: "base64" },
  base64url: { text: (text) => /^[\w-]*$/.test(text) && text.length % 4 !== 1, what: "base64 for URLs, without padding" },
  int32: { number: (value) => Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 31, what: "an integer of 32 bits" },
  // Beyond 2^53 a number is not what was sent any more, but its size still is.
  int64: { number: (value) => Number.isInteger(value) && value >= -(2 ** 63) && value < 2 ** 63, what: "an integer of 64 bits" },
  uint8: { number: (value) => Number.isInteger(value) && value >= 0 && value < 256, what: "an integer from 0 to 255" },
  int8: { number: (value) => Number.isInteger(value) && value >= -128 && value < 128, what: "an integer from -128 to 127" },
  float: { what: "" },
  double: { what: "" },
  password: { what: "" },
  binary: { what: "" },
};
export const formats: ReadonlyMap<string, Format> = new Map(Object.entries(table));
