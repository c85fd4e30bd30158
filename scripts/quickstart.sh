#!/bin/sh
# From text to a forecast that came true or not: the commands that the README explains, one after another.
# SEED=n trains with other seeds.
set -eu
sandbox=$1
seed=${SEED:-0}
home=${SANDBOX_HOME:-experiments}
forecast=$home/forecast
say() { printf '\n$ %s\n' "sandbox $*"; "$sandbox" "$@"; }

# A grid of tiny proxies, and the laws that they follow.
say data prepare rust-sources --name rust-sources --tokenizer byte
say plan sweeps/quickstart.yaml --set "seeds=[$seed]"
say run sweeps/quickstart.yaml --set "seeds=[$seed]"
say fit quickstart

# A run that is larger than any of them, forecast before it is trained.
say recipe --params 144K --tokens 9.4M --sweep quickstart --seeds 2 --out "$forecast" --register
say run "$forecast/sweep.yaml" --set "seeds=[$seed,$((seed + 1))]"

# What the same laws vouch for at 2.4B, and the page.
say recipe --params 2.4B --sweep quickstart
mkdir -p reports/quickstart
"$sandbox" score last --json >reports/quickstart/forecast.json
say report quickstart
say score last
