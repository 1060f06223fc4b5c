// Makes a customer an admin, for there is none in the beginning who could:
//   kubectl exec -n ecommerce deployment/user-service -- node grant.ts USERNAME [admin|customer]
import pg from "pg";

const [username, role = "admin"] = process.argv.slice(2);
if (!username || !["admin", "customer"].includes(role)) {
  console.error("usage: node grant.ts USERNAME [admin|customer]");
  process.exit(2);
}
const { DB_HOST: host, DB_PORT: port, DB_NAME: database, DB_USER: user, DB_PASSWORD: password } = process.env;
const client = new pg.Client({ host, port: Number(port ?? 5432), database, user, password });
await client.connect();
const { rowCount } = await client.query("UPDATE users SET role = $2 WHERE username = $1 AND role <> 'guest'", [username, role]);
await client.end();
if (rowCount === 0) {
  console.error(`there is no customer ${username} (a guest has no password, and can have no role)`);
  process.exit(1);
}
console.log(`${username} is ${role} now; it is in the tokens from the next login on`);
