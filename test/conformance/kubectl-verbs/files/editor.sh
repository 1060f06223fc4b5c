#!/bin/sh
# Stands for a person at an editor: EDIT is a sed expression.
exec sed -i "$EDIT" "$1"
