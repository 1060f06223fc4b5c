import assert from "node:assert/strict";
import { test } from "node:test";
import { hostsFile, resolvConf, userFiles } from "./tree.ts";

test("/etc/passwd and /etc/group name the container's user and hold no foreign line", () => {
  const user = (more: object) => userFiles({ uid: 1000, gid: 1000, userName: "app", homeDir: "/home/app", ...more });
  assert.equal(user({}).passwd, "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n");
  assert.equal(user({}).group, "root:x:0:\napp:x:1000:\nnogroup:x:65534:\n");
  assert.equal(user({ uid: 0, gid: 0, userName: "root", homeDir: "/root" }).passwd.split("\n")[0], "root:x:0:0:root:/root:/bin/sh");
  for (const userName of ["1000", "a:b", "a\nroot2:x:0:0::/:/bin/sh", "", "root", "-x"]) assert.match(user({ userName }).passwd, /^root:.*\napp:x:1000:1000:app:/, JSON.stringify(userName));
  assert.match(user({ homeDir: "/x\nevil:x:0:0::/:/bin/sh" }).passwd, /^app:x:1000:1000:app:\/:\/bin\/sh$/m);
  assert.doesNotMatch(user({ uid: 65_534, userName: "nobody" }).passwd, /nobody.*\n.*nobody/s);
});

test("/etc/hosts and /etc/resolv.conf", () => {
  assert.match(hostsFile({ hostname: "web-0", hostAliases: [{ ip: "10.1.2.3", hostnames: ["a", "b"] }] }, "10.244.0.9"), /^10\.244\.0\.9\tweb-0\n[^]*^10\.1\.2\.3\ta\tb$/m);
  assert.equal(resolvConf({ nameservers: ["10.96.0.10"], searches: ["a", "b"], options: ["ndots:5"] }), "search a b\nnameserver 10.96.0.10\noptions ndots:5\n");
  assert.equal(resolvConf({ nameservers: [], searches: [], options: [] }), "\n");
});
