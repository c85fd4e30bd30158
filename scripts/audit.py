"""Forecasts replayed on published runs and on our own studies: `sandbox audit` over every set that is found here.

Usage: audit.py SANDBOX [--record FILE]. FITDATA is the folder of published sets (default:
shared/fitdata beside this folder or beside one that holds it); they carry
no licence and are no part of this repository. Prints what `sandbox audit` prints; `--record` keeps it as JSON.
"""

import argparse
import csv
import datetime
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile

# Of each file of published runs: what its sets differ in, its rows that count, and its columns with their unit.
PUBLISHED = {
    "chinchilla_epoch/chinchilla.csv": {
        "keep": lambda row: row["keep"] == "1",
        "columns": {"params": "N", "tokens": "D", "loss": "loss"},
    },
    # Runs of one epoch: no law here knows repeated data.
    "datablations/runs.csv": {
        "keep": lambda row: float(row["epochs"]) <= 1,
        "columns": {"params": "N", "tokens": "D", "loss": "loss"},
    },
    "farseer/train.csv": {"columns": {"params": "N", "tokens": "D", "loss": "loss"}},
    # `flops` is the budget, which is not 6ND for every count of parameters.
    "porian_isoflop/isoflop_points.csv": {
        "set": lambda row: "-".join(row[key] for key in ("hparams", "warmup", "decay", "param_count")),
        "columns": {"params": "n", "tokens": "t", "loss": "loss", "flops": "flops"},
    },
    # Batches are in sequences of 2,048 tokens; labels of one learning rate differ in rounding.
    "steplaw/dense.csv": {
        "columns": {"params": "N", "tokens": "D", "loss": "smooth loss", "lr": "lr", "batch": "bs"},
        "change": {"batch": lambda bs: float(bs) * 2048, "lr": lambda lr: f"{float(lr):.2e}"},
    },
}


def published(folder, into):
    """Writes each set of runs as a table with the names of columns that need no mapping; gives the files."""
    files = []
    for name, about in PUBLISHED.items():
        path = os.path.join(folder, name)
        if not os.path.exists(path):
            print(f"{name} is not in {folder}: left out", file=sys.stderr)
            continue
        keep, change = about.get("keep", lambda row: True), about.get("change", {})
        sets = {}
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                if keep(row):
                    of = about["set"](row) if "set" in about else ""
                    sets.setdefault(of, []).append(row)
        for of, rows in sorted(sets.items()):
            stem = name.split("/")[0].split("_")[0] + ("-" + of if of else "")
            with open(os.path.join(into, stem + ".csv"), "w", newline="") as file:
                table = csv.writer(file)
                table.writerow(about["columns"])
                for row in rows:
                    cells = about["columns"].items()
                    table.writerow([change.get(field, str)(row[column]) for field, column in cells])
            files.append(stem + ".csv")
    return files


def found():
    """The folder of published sets; none where there is none."""
    here = os.getcwd()
    above = [here]
    while above[-1] != os.path.dirname(above[-1]):
        above.append(os.path.dirname(above[-1]))
    named = os.environ.get("FITDATA")
    folders = [named] if named else [os.path.join(folder, "shared", "fitdata") for folder in above]
    return next((folder for folder in folders if os.path.isdir(folder)), None)


def short(source):
    """A set as the table calls it: its file, or for our own studies the folder."""
    folder, file = os.path.split(source)
    return os.path.basename(folder) if file == "trials.csv" else file.removesuffix(".csv")


def percent(share, decimals=0):
    return f"{100 * share:.{decimals}f} %"


def show(answer):
    """The summary, a row a set, as README has it."""
    print("| set | law | cuts | forecasts | error | in 50 % | in 80 % | in 95 % | width / error |")
    print("|---|---|--:|--:|--:|--:|--:|--:|--:|")
    refused = []
    for one in [*answer["sets"], {**answer["all"], "source": "all", "law": "", "cuts": []}]:
        if one["n"] is None:
            refused.append(f"{short(one['source'])}: {one.get('refused', 'nothing was forecast')}")
            continue
        sets = [one] if one["cuts"] else answer["sets"]
        cuts = sum(cut["refused"] is None for each in sets for cut in each["cuts"])
        shares = [percent(one[key]) for key in ("covered50", "covered80", "covered95")]
        cells = [short(one["source"]), one["law"], cuts, one["n"], percent(one["mean_abs_rel_error"], 2), *shares]
        print("| " + " | ".join(str(cell) for cell in cells) + f" | {one['width_over_error']:.1f} |")
    for line in refused:
        print(f"no forecast of {line}")


def record(answer, path):
    """Keeps the figures, without what differs from machine to machine."""
    kept = {
        "date": datetime.date.today().isoformat(),
        "command": "make audit",
        "sets": [{**one, "source": short(one["source"])} for one in answer["sets"]],
        "all": answer["all"],
    }
    with open(path, "w") as file:
        json.dump(kept, file, indent=1, ensure_ascii=False)
        file.write("\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("sandbox")
    parser.add_argument("--record")
    args = parser.parse_args()
    own = sorted(glob.glob("experiments/[0-9]*/trials.csv"))
    out = os.path.abspath("reports/audit")
    program = [os.path.abspath(args.sandbox), "audit", "--json", "--out", out]
    with tempfile.TemporaryDirectory() as tables:
        folder = found()
        if folder is None:
            print("shared/fitdata is not here: published runs are left out; FITDATA names another folder", file=sys.stderr)
        files = published(folder, tables) if folder else []
        for path in own:
            os.makedirs(os.path.join(tables, os.path.dirname(path)))
            shutil.copy(path, os.path.join(tables, path))
        if not files + own:
            sys.exit("there is nothing to audit")
        done = subprocess.run([*program, *files, *own], cwd=tables, stdout=subprocess.PIPE, text=True)
    if done.returncode not in (0, 4):
        sys.exit(done.returncode)
    answer = json.loads(done.stdout)
    show(answer)
    if args.record:
        record(answer, args.record)
    print("wrote reports/audit/index.html")
    sys.exit(done.returncode)


main()
