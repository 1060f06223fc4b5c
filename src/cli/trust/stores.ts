import type { Authority } from "./authority.ts";

/** What the choice of stores looks at. */
export interface Machine {
  platform: NodeJS.Platform;
  /** Of whoever asked, not root's when root was asked by sudo. */
  home: string;
  exists(path: string): boolean;
  /** The names in a folder; none where there is no such folder. */
  entries(folder: string): string[];
  /** The whole path of a program. */
  which(program: string): string | undefined;
}

/** One place in which programs of this machine look for authorities, and what one more or one less takes. */
export interface Store {
  name: string;
  needsRoot: boolean;
  /** Written, and removed by `--undo`; where the store takes files. */
  file?: string;
  /** What makes the store take the file, or the certificate itself. */
  add: string[];
  /** Brings the store back, once the file is gone. */
  remove: string[];
  /** Where programs read in the end: looked at afterwards. */
  bundle?: string;
}

/** A folder for files, and a program that makes the bundle of them. The first whose folder and program are there is the machine's. */
const families = [
  { name: "Debian, Ubuntu", folder: "/usr/local/share/ca-certificates", program: "update-ca-certificates", bundle: "/etc/ssl/certs/ca-certificates.crt", remove: ["--fresh"] },
  { name: "Fedora, RHEL", folder: "/etc/pki/ca-trust/source/anchors", program: "update-ca-trust", bundle: "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", add: ["extract"], remove: ["extract"] },
  { name: "Arch", folder: "/etc/ca-certificates/trust-source/anchors", program: "trust", bundle: "/etc/ca-certificates/extracted/tls-ca-bundle.pem", add: ["extract-compat"], remove: ["extract-compat"] },
  { name: "openSUSE", folder: "/etc/pki/trust/anchors", program: "update-ca-certificates", bundle: "/var/lib/ca-certificates/ca-bundle.pem" },
] as const satisfies { name: string; folder: string; program: string; bundle: string; add?: string[]; remove?: string[] }[];

const keychain = "/Library/Keychains/System.keychain";

/** The machine's own store; undefined where it has none that is known. */
export function systemStore(machine: Machine, { id, file, fingerprint }: Pick<Authority, "id" | "file" | "fingerprint">): Store | undefined {
  if (machine.platform === "darwin") {
    const security = "/usr/bin/security";
    return { name: "macOS", needsRoot: true, add: [security, "add-trusted-cert", "-d", "-r", "trustRoot", "-k", keychain, file], remove: [security, "delete-certificate", "-t", "-Z", fingerprint.replaceAll(":", ""), keychain] };
  }
  for (const family of families) {
    const program = machine.which(family.program);
    if (!program || !machine.exists(family.folder)) continue;
    const words = (which: "add" | "remove"): string[] => (which in family ? [...(family as Record<typeof which, readonly string[]>)[which]] : []);
    return { name: family.name, needsRoot: true, file: `${family.folder}/wherry-${id}.crt`, add: [program, ...words("add")], remove: [program, ...words("remove")], bundle: family.bundle };
  }
  return undefined;
}

/** Where browsers keep databases of their own: Chromium's, and one in each profile of Firefox. */
const databaseFolders = [".pki/nssdb", "snap/chromium/current/.pki/nssdb"];
const profileFolders = [".mozilla/firefox", "snap/firefox/common/.mozilla/firefox", "Library/Application Support/Firefox/Profiles"];

/** Databases of NSS in a home, as far as `certutil` is there to write them. */
export function browserStores(machine: Machine, { id, file }: Pick<Authority, "id" | "file">): Store[] {
  const certutil = machine.which("certutil");
  return browserDatabases(machine).flatMap((folder) =>
    certutil ? [{ name: `NSS ${folder}`, needsRoot: false, add: [certutil, "-A", "-d", `sql:${folder}`, "-t", "C,,", "-n", `wherry-${id}`, "-i", file], remove: [certutil, "-D", "-d", `sql:${folder}`, "-n", `wherry-${id}`] }] : [],
  );
}

export function browserDatabases({ home, entries, exists }: Machine): string[] {
  const profiles = profileFolders.flatMap((folder) => entries(`${home}/${folder}`).map((name) => `${home}/${folder}/${name}`));
  return [...databaseFolders.map((folder) => `${home}/${folder}`), ...profiles].filter((folder) => exists(`${folder}/cert9.db`));
}
