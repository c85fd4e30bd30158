#!/bin/sh
# From text to recipe: the commands that the README explains, one after another.
set -eu
sandbox=$1
say() { printf '\n$ %s\n' "sandbox $*"; "$sandbox" "$@"; }
say data prepare rust-sources --name rust-sources --tokenizer byte
say plan sweeps/quickstart.yaml
say run sweeps/quickstart.yaml
say fit quickstart
say recipe --params 2.4B
say report quickstart
