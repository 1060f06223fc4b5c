# syntax=docker/dockerfile:1
ARG VERSION=3
FROM python:${VERSION}-slim
ENV GREETING hello to all
COPY . /app
WORKDIR /app
WORKDIR sub
HEALTHCHECK CMD curl -f http://localhost/ || exit 1
CMD python3 -m http.server ${PORT:-8000}
---
{
  "base": "python:3-slim",
  "env": {"GREETING": "hello to all"},
  "workingDir": "/app/sub",
  "cmd": ["/bin/sh", "-c", "python3 -m http.server ${PORT:-8000}"],
  "mounts": [{"imagePath": "/app", "contextPath": "."}]
}
