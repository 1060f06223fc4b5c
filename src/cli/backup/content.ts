/** What is made at each start, belongs to one run, is found elsewhere, or (the last two) has a rule of its own. */
const notData = new Set(["lock", "kubeconfig", "images", "sandbox", "pods", "volumes"]);

/** Whether an entry at the top of a data directory is copied as it is: whatever is not known to be something else. */
export const isData = (name: string): boolean => !notData.has(name) && !name.startsWith("store.db") && !name.startsWith(".") && !/\.(sock|tmp|stale)$|\.log(\.|$)|^audit.*\.log$/.test(name);

/** Whether a backup may hold this path: nothing of it is read as anything but data. */
export function mayHold(path: string): boolean {
  const [top = "", , third] = path.split("/");
  return top === "store.db" || top === "volumes" || (top === "pods" && (third === undefined || third === "volumes")) || isData(top);
}
