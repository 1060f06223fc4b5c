/**
 * The forms that names and other short strings of the API must have. Each function returns what is wrong, in
 * upstream's words, and nothing when all is well.
 * Source: k8s.io/apimachinery/pkg/util/validation and pkg/api/validate/content.
 */
export type Check = (value: string) => string[];

const label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const subdomain = `${label}(\\.${label})*`;
const label1035 = "[a-z]([-a-z0-9]*[a-z0-9])?";
const wildcard = `\\*\\.${subdomain}`;
const qualified = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

const bytes = (value: string): number => Buffer.byteLength(value);
const anchored = (form: string): RegExp => new RegExp(`^(?:${form})$`);

/** "<what is wrong> (e.g. 'a',  or 'b', regex used for validation is '…')"; the two spaces are upstream's. */
export function formError(text: string, form: string, ...examples: string[]): string {
  const shown = examples.map((example) => `'${example}', `).join(" or ");
  return `${text} (${shown && `e.g. ${shown}`}regex used for validation is '${form}')`;
}
const emptyError = "must be non-empty";
export const rangeError = (low: number, high: number): string => `must be between ${low} and ${high}, inclusive`;
/** Labels and their keys speak of bytes, older checks of characters. */
const maxBytes = (max: number): string => `must be no more than ${max} bytes`;
const maxCharacters = (max: number): string => `must be no more than ${max} characters`;

const labelPattern = anchored(label);
const subdomainPattern = anchored(subdomain);
const label1035Pattern = anchored(label1035);
const wildcardPattern = anchored(wildcard);
const qualifiedPattern = anchored(qualified);
const labelValuePattern = anchored(`(${qualified})?`);

export const dns1123Label: Check = (value) => {
  const errors: string[] = [];
  if (bytes(value) > 63) errors.push(maxCharacters(63));
  if (!labelPattern.test(value)) {
    if (subdomainPattern.test(value)) errors.push("must not contain dots");
    else errors.push(formError("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character", label, "my-name", "123-abc"));
  }
  return errors;
};

export const dns1123Subdomain: Check = (value) => {
  const errors: string[] = [];
  if (bytes(value) > 253) errors.push(maxCharacters(253));
  if (!subdomainPattern.test(value)) {
    errors.push(formError("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character", subdomain, "example.com"));
  }
  return errors;
};

export const dns1035Label: Check = (value) => {
  const errors: string[] = [];
  if (bytes(value) > 63) errors.push(maxCharacters(63));
  if (!label1035Pattern.test(value)) {
    errors.push(formError("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character", label1035, "my-name", "abc-123"));
  }
  return errors;
};

export const wildcardDns1123Subdomain: Check = (value) => {
  const errors: string[] = [];
  if (bytes(value) > 253) errors.push(maxCharacters(253));
  if (!wildcardPattern.test(value)) {
    errors.push(
      formError("a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character", wildcard, "*.example.com"),
    );
  }
  return errors;
};

const qualifiedError = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const qualifiedExamples = ["MyName", "my.name", "123-abc"];

/** A label key, a finalizer, a condition type: "name" or "example.com/name". */
export const qualifiedName: Check = (value) => {
  const parts = value.split("/");
  if (parts.length > 2) return [`a valid label key ${formError(qualifiedError, qualified, ...qualifiedExamples)} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`];
  const errors: string[] = [];
  const name = parts.at(-1)!;
  if (parts.length === 2) {
    const prefix = parts[0]!;
    if (prefix === "") errors.push(`prefix part ${emptyError}`);
    else errors.push(...dns1123Subdomain(prefix).map((error) => `prefix part ${error.replace(maxCharacters(253), maxBytes(253))}`));
  }
  if (name === "") errors.push(`name part ${emptyError}`);
  else if (bytes(name) > 63) errors.push(`name part ${maxBytes(63)}`);
  if (!qualifiedPattern.test(name)) errors.push(`name part ${formError(qualifiedError, qualified, ...qualifiedExamples)}`);
  return errors;
};

export const labelValue: Check = (value) => {
  const errors: string[] = [];
  if (bytes(value) > 63) errors.push(maxBytes(63));
  if (!labelValuePattern.test(value)) {
    errors.push(formError("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character", `(${qualified})?`, "MyValue", "my_value", "12345"));
  }
  return errors;
};

/** Since 1.34 anything printable but "=". */
export const envVarName: Check = (value) => {
  if (value === "") return [`environment variable name ${emptyError}`];
  return /^[ -<>-~]*$/.test(value) ? [] : ["a valid environment variable name must consist only of printable ASCII characters other than '='"];
};

const notUpwards: Check = (value) => {
  if (value === ".") return ["must not be '.'"];
  if (value === "..") return ["must not be '..'"];
  return value.startsWith("..") ? ["must not start with '..'"] : [];
};

/** Keys of ConfigMaps and Secrets. */
export const configMapKey: Check = (value) => {
  const errors: string[] = [];
  if (bytes(value) > 253) errors.push(maxCharacters(253));
  if (!/^[-._a-zA-Z0-9]+$/.test(value)) errors.push(formError("a valid config key must consist of alphanumeric characters, '-', '_' or '.'", "[-._a-zA-Z0-9]+", "key.name", "KEY_NAME", "key-name"));
  return [...errors, ...notUpwards(value)];
};

export const httpHeaderName: Check = (value) =>
  /^[-A-Za-z0-9]+$/.test(value) ? [] : [formError("a valid HTTP header must consist of alphanumeric characters or '-'", "[-A-Za-z0-9]+", "X-Header-Name")];

/** "25%" */
export const percent: Check = (value) => (/^[0-9]+%$/.test(value) ? [] : [formError("a valid percent string must be a numeric string followed by an ending '%'", "[0-9]+%", "1%", "93%")]);

export const portNumber = (value: number): string[] => (value >= 1 && value <= 65535 ? [] : [rangeError(1, 65535)]);

/** Names of ports: IANA service names (RFC 6335). */
export const portName: Check = (value) => {
  const errors: string[] = [];
  if (bytes(value) > 15) errors.push(maxCharacters(15));
  if (!/^[-a-z0-9]+$/.test(value)) errors.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  if (!/[a-z]/.test(value)) errors.push("must contain at least one letter (a-z)");
  if (value.includes("--")) errors.push("must not contain consecutive hyphens");
  if (value.startsWith("-") || value.endsWith("-")) errors.push("must not begin or end with a hyphen");
  return errors;
};

/** Names that stand in a URL path and nothing more: roles, bindings. */
const pathSegmentName: Check = (value) => {
  if (value === "." || value === "..") return [`may not be '${value}'`];
  return ["/", "%"].filter((character) => value.includes(character)).map((character) => `may not contain '${character}'`);
};

export type NameCheck = (name: string, prefix: boolean) => string[];

/** A generateName may end with a dash, since letters follow. */
const withoutTrailingDash = (name: string): string => (name.length > 1 && name.endsWith("-") ? `${name.slice(0, -2)}a` : name);
const nameCheck =
  (check: Check): NameCheck =>
  (name, prefix) =>
    check(prefix ? withoutTrailingDash(name) : name);

export const nameIsDnsSubdomain = nameCheck(dns1123Subdomain);
export const nameIsDnsLabel = nameCheck(dns1123Label);
export const nameIsDns1035Label = nameCheck(dns1035Label);
/** As in a path, prefix or whole; upstream does not look at what a prefix would become. */
export const nameIsPathSegment: NameCheck = (name) => pathSegmentName(name);
