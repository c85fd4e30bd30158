#!/bin/sh
# From text to a forecast and the run that tests it: the commands that the README explains, one after another.
# SEED=n trains with other seeds.
set -eu
sandbox=$1
first=$((5 * ${SEED:-0}))
seeds="seeds=[$first,$((first + 1)),$((first + 2)),$((first + 3)),$((first + 4))]"
forecast=${SANDBOX_HOME:-experiments}/forecast
say() { printf '\n$ %s\n' "sandbox $*"; "$sandbox" "$@"; }

# A grid of tiny proxies, and the laws that they follow.
say data prepare rust-sources --name rust-sources --tokenizer byte
say plan sweeps/quickstart.yaml --set "$seeds"
say run sweeps/quickstart.yaml --set "$seeds"
say fit quickstart

# A run that is larger than any of them, and larger than the laws vouch for so far (`--beyond`): first its forecast, then
# the run, then both side by side.
say recipe --params 53K --tokens 5.4M --sweep quickstart --beyond --seeds 5 --out "$forecast" --register
say run "$forecast/sweep.yaml" --set "$seeds"

# What the same laws say of 2.4B, and the page.
say recipe --params 2.4B --sweep quickstart
mkdir -p reports/quickstart
"$sandbox" score last --json >reports/quickstart/forecast.json
say report quickstart
say score last
