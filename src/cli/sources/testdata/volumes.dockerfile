# VOLUME names what the program writes to, as words or as a list, for each stage of its own
# arg ROOM=uploads
FROM node:22 AS build
VOLUME /never
FROM node:22-slim
ARG ROOM
WORKDIR /app
COPY . .
VOLUME /data "/srv/my files"
VOLUME ["/app/${ROOM}", "/data"]
---
{
  "mounts": [{"imagePath": "/app", "contextPath": "."}],
  "volumes": ["/data", "/srv/my files", "/app/uploads"]
}
