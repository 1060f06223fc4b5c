import assert from "node:assert/strict";
import { test } from "node:test";
import { browserDatabases, browserStores, type Machine, systemStore } from "./stores.ts";

const authority = { id: "1a2b3c4d", file: "/data/trust/ca.crt", fingerprint: "1A:2B:3C:4D" };

/** A machine by what is there. */
function machine(there: string, platform: NodeJS.Platform = "linux"): Machine {
  const paths = there.split(" ");
  return {
    platform,
    home: "/home/me",
    exists: (path) => paths.some((one) => one === path || one.startsWith(`${path}/`)),
    entries: (folder) => [...new Set(paths.filter((path) => path.startsWith(`${folder}/`)).map((path) => path.slice(folder.length + 1).split("/")[0]!))],
    which: (program) => paths.find((path) => path.endsWith(`bin/${program}`)),
  };
}

/** What is there; the file that is written, what is run to add it and to take it back. */
const systems: [what: string, there: string, ...expected: string[]][] = [
  ["Debian", "/usr/local/share/ca-certificates /usr/sbin/update-ca-certificates", "/usr/local/share/ca-certificates/wherry-1a2b3c4d.crt", "/usr/sbin/update-ca-certificates", "/usr/sbin/update-ca-certificates --fresh"],
  ["Fedora", "/etc/pki/ca-trust/source/anchors /usr/bin/update-ca-trust /usr/bin/trust", "/etc/pki/ca-trust/source/anchors/wherry-1a2b3c4d.crt", "/usr/bin/update-ca-trust extract", "/usr/bin/update-ca-trust extract"],
  ["Arch", "/etc/ca-certificates/trust-source/anchors /usr/bin/trust /usr/bin/update-ca-trust", "/etc/ca-certificates/trust-source/anchors/wherry-1a2b3c4d.crt", "/usr/bin/trust extract-compat", "/usr/bin/trust extract-compat"],
  ["openSUSE", "/etc/pki/trust/anchors /usr/sbin/update-ca-certificates", "/etc/pki/trust/anchors/wherry-1a2b3c4d.crt", "/usr/sbin/update-ca-certificates", "/usr/sbin/update-ca-certificates"],
];
for (const [what, there, file, add, remove] of systems) {
  test(`the system's store: ${what}`, () => {
    const store = systemStore(machine(there), authority)!;
    assert.deepEqual([store.file, store.add.join(" "), store.remove.join(" "), store.needsRoot], [file, add, remove, true]);
  });
}

test("the system's store: macOS has a keychain; a folder without its program is none", () => {
  const store = systemStore(machine("", "darwin"), authority)!;
  assert.equal(store.file, undefined);
  assert.equal(store.add.at(-1), "/data/trust/ca.crt");
  assert.ok(store.remove.includes("1A2B3C4D"));
  assert.equal(systemStore(machine("/usr/local/share/ca-certificates"), authority), undefined);
});

test("browsers' databases: Chromium's, each profile of Firefox, and no folder without a database", () => {
  const there = "/home/me/.pki/nssdb/cert9.db /home/me/.mozilla/firefox/abc.default/cert9.db /home/me/.mozilla/firefox/profiles.ini /home/me/.mozilla/firefox/new.profile/prefs.js";
  assert.deepEqual(browserDatabases(machine(there)), ["/home/me/.pki/nssdb", "/home/me/.mozilla/firefox/abc.default"]);
  assert.deepEqual(browserStores(machine(there), authority), [], "without certutil nobody could write them");
  const [chromium] = browserStores(machine(`${there} /usr/bin/certutil`), authority);
  assert.deepEqual(chromium!.add, ["/usr/bin/certutil", "-A", "-d", "sql:/home/me/.pki/nssdb", "-t", "C,,", "-n", "wherry-1a2b3c4d", "-i", "/data/trust/ca.crt"]);
  assert.equal(chromium!.needsRoot, false);
});
