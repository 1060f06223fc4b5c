import { createServer } from "node:http";
import { hostname } from "node:os";

const version = process.env.VERSION ?? "dev";

const server = createServer((request, response) => {
  if (request.url === "/health") return response.writeHead(200, { "content-type": "text/plain" }).end("OK\n");
  if (request.url !== "/") return response.writeHead(404).end();
  response.writeHead(200, { "content-type": "application/json", "x-version": version });
  response.end(`${JSON.stringify({ app: "go-app", version, instance: process.env.HOSTNAME ?? hostname() })}\n`);
});

server.listen(Number(process.env.PORT ?? 8080), () => console.log(`go-app ${version} is listening on ${server.address().port}`));

// Requests on their way are answered, idle connections are closed, then the process has nothing left to do.
process.on("SIGTERM", () => server.close());
