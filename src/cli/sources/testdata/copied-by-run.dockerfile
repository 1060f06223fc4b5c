# what RUN would have made is looked for at the same place of the live folder
# folder src
FROM node:22 AS deps
WORKDIR /build
COPY package.json ./
RUN npm ci
FROM node:22-slim
WORKDIR /srv
COPY --from=deps /build/node_modules ./node_modules
COPY src/ ./src/
COPY server.js config.json ./
STOPSIGNAL INT
ENTRYPOINT ["node"]
CMD ["server.js"]
---
{
  "mounts": [
    {"imagePath": "/srv/node_modules", "contextPath": "node_modules"},
    {"imagePath": "/srv/config.json", "contextPath": "config.json"},
    {"imagePath": "/srv/server.js", "contextPath": "server.js"},
    {"imagePath": "/srv/src", "contextPath": "src"}
  ],
  "entrypoint": ["node"],
  "cmd": ["server.js"],
  "stopSignal": "SIGINT"
}
