FROM alpine
CMD ['single', 'quotes']
---
# error bad-cmd.dockerfile:2: CMD .*is no JSON list of strings
