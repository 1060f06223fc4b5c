# target test
FROM alpine AS base
ENV A=1
FROM base AS test
CMD ["test"]
FROM base
CMD ["run"]
---
{"cmd": ["test"], "env": {"A": "1"}, "base": "alpine"}
