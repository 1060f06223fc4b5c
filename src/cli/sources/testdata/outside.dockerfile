FROM alpine
COPY ../secret /s
---
# error outside.dockerfile:2: .*leaves the build context: \.\./secret
