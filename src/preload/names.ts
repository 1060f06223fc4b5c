import dns from "node:dns";
import { isIP } from "node:net";
import { promisify } from "node:util";
import { candidates, familyOf } from "./addresses.ts";
import type { Settings } from "./settings.ts";

type Anything = any;

/** Resolves names as a pod's resolv.conf would: at the cluster's DNS, along the search list, else as the machine does. */
export function patchNames(settings: Settings): void {
  const server = `${settings.dns.address}:${settings.dns.port}`;
  const target = dns as Anything;
  const resolver = new dns.promises.Resolver({ timeout: 2000, tries: 2 });
  resolver.setServers([server]);
  const machineLookup = dns.lookup;
  const machineLookupLater = dns.promises.lookup;

  const own = (name: string): string | undefined => (/^localhost\.?$/i.test(name) || name === process.env["HOSTNAME"] ? settings.podIP : settings.hosts[name.toLowerCase()]);

  async function resolve(name: string): Promise<string[] | undefined> {
    const known = own(name);
    if (known) return [known];
    for (const candidate of candidates(name, settings.searches, settings.ndots)) {
      try {
        const found = await resolver.resolve4(candidate);
        if (found.length > 0) return found;
      } catch (error) {
        // A server that does not answer says nothing about the name: leave it to the machine.
        if (!["ENOTFOUND", "ENODATA"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
      }
    }
    return undefined;
  }

  const lookup = (name: string, options: Anything, callback?: Anything) => {
    if (typeof options === "function") [options, callback] = [{}, options];
    if (typeof options === "number") options = { family: options };
    const family = options?.family === 6 || options?.family === "IPv6" ? 6 : 0;
    // Pods and Services have IPv4 addresses only.
    if (!name || isIP(name) || family === 6 || typeof callback !== "function") return machineLookup(name, options ?? {}, callback);
    resolve(name).then(
      (found) => {
        if (!found) return machineLookup(name, options ?? {}, callback);
        if (options?.all) return callback(null, found.map((address) => ({ address, family: familyOf(address) })));
        return callback(null, found[0], familyOf(found[0]!));
      },
      () => machineLookup(name, options ?? {}, callback),
    );
    return {};
  };
  const lookupLater = async (name: string, options: Anything = {}) => {
    const family = typeof options === "number" ? options : options?.family;
    const found = !name || isIP(name) || family === 6 || family === "IPv6" ? undefined : await resolve(name);
    if (!found) return await machineLookupLater(name, options);
    const all = found.map((address) => ({ address, family: familyOf(address) }));
    return options?.all ? all : all[0];
  };
  Object.defineProperty(lookup, promisify.custom, { value: lookupLater, enumerable: false });
  target.lookup = lookup;
  target.promises.lookup = lookupLater;

  // The resolve family asks for exact names; only the server changes.
  dns.setServers([server]);
  dns.promises.setServers([server]);
  for (const owner of [target, target.promises]) {
    const Original = owner.Resolver;
    owner.Resolver = class Resolver extends Original {
      constructor(options?: Anything) {
        super(options);
        (this as Anything).setServers([server]);
      }
    };
  }
}
