/** One cache before the suite, a process each since the suite keeps its state in its modules: `node run.ts SUITE URL [ID …]` prints {ID: result}. */
const [suite, url, ...ids] = process.argv.slice(2);
interface Suites {
  tests: { id: string }[];
}
const { runTests, getResults } = (await import(`${suite}/test-engine/client/runner.mjs`)) as { runTests(tests: Suites[], browser: boolean, base: string, atOnce: number): Promise<void>; getResults(): object };
const { default: all } = (await import(`${suite}/tests/index.mjs`)) as { default: Suites[] };
const wanted = ids.length === 0 ? all : all.map((group) => ({ ...group, tests: group.tests.filter(({ id }) => ids.includes(id)) }));
await runTests(wanted, false, url!, 25);
process.stdout.write(JSON.stringify(getResults()));
// Its clients keep connections.
process.exit(0);
