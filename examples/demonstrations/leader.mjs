// One of several replicas writes the report: the one that is elected, for as long as it is.
import { setTimeout as pause } from "node:timers/promises";
import { startElection } from "wherry/chassis/election";
import { findCluster } from "wherry/chassis/kubernetes";

const { client, namespace } = await findCluster();
const election = startElection({ client, namespace, name: "reports", durationMs: 3_000, onError: (error) => console.error(error.message) }, async ({ token }, signal) => {
  console.log(`I lead, with token ${token}`);
  while (!signal.aborted) {
    const answer = await fetch("http://ledger/", { method: "PUT", body: JSON.stringify({ token, writer: process.env.HOSTNAME }), signal: AbortSignal.timeout(2_000) }).catch((error) => ({ ok: false, status: error.message }));
    if (!answer.ok) console.log(`not written: ${answer.status}`);
    await pause(100, undefined, { signal }).catch(() => {});
  }
  console.log("I no longer lead");
});
process.on("SIGTERM", () => void election.stop().then(() => process.exit()));
