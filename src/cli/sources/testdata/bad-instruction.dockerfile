FROM alpine
RUM echo
---
# error bad-instruction.dockerfile:2: RUM echo: is not a Dockerfile instruction
