# arg SERVICE_NAME=user-service
# folder services/user-service
# folder internal
FROM node:26-alpine AS builder
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev
ARG SERVICE_NAME
COPY ./services/${SERVICE_NAME} ./services/${SERVICE_NAME}
COPY ./internal ./internal

FROM node:26-alpine
WORKDIR /home/app
COPY --from=builder /app .
RUN addgroup -g 1001 -S appgroup && \
    adduser -u 1001 -S appuser -G appgroup
USER appuser
ARG SERVICE_NAME
ENV SERVICE_NAME=${SERVICE_NAME} MODE="a b"
EXPOSE 8080
CMD ["sh", "-c", "exec node services/$SERVICE_NAME/main.ts"]
---
{
  "cmd": ["sh", "-c", "exec node services/$SERVICE_NAME/main.ts"],
  "entrypoint": [],
  "env": {"SERVICE_NAME": "user-service", "MODE": "a b"},
  "workingDir": "/home/app",
  "user": "appuser",
  "users": {"appuser": 1001},
  "exposedPorts": [8080],
  "base": "node:26-alpine",
  "mounts": [{"imagePath": "/home/app", "contextPath": "."}],
  "skippedRun": ["addgroup -g 1001 -S appgroup && adduser -u 1001 -S appuser -G appgroup"]
}
