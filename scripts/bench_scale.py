"""How the orchestrator carries a large sweep: 10,000 toy trials of 1,000 points each, and of 10 each; and what the
report of the larger one takes.

Usage: bench_scale.py SANDBOX [TRIALS] [POINTS]. Prints one JSON object; seconds are wall time, memory is the peak of
the orchestrator alone.
"""

import json
import os
import subprocess
import sys
import tempfile
import time


def run(sandbox, home, *args):
    """Runs one command; gives its answer, its seconds, its peak memory in bytes."""
    start = time.monotonic()
    process = subprocess.Popen(
        [sandbox, "--home", home, "--toy", "--json", *args], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(args)} ended with {status}: {text.decode()}")
    return json.loads(text), time.monotonic() - start, usage.ru_maxrss * 1024


def sweep(path, trials, points):
    """A grid over learning rates and seeds; nothing is shared, so a trial is a stage."""
    rates = max(1, trials // 100)
    values = ", ".join(f"{1e-3 * 1.02**index:.6e}" for index in range(rates))
    with open(path, "w") as file:
        file.write(
            f"name: scale-{points}\ndata: text\nseeds: {trials // rates}\nparameters:\n  model: 6K\n  lr: [{values}]\n"
            f"  tokens: {points * 1000}\n  batch_tokens: 1000\n  context: 50\n"
            "  schedule: {name: cosine, warmup: 1000}\n"
        )


def main():
    sandbox = os.path.abspath(sys.argv[1])
    trials = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    points = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/corpus")
        for index in range(20):
            with open(f"{folder}/corpus/{index}.txt", "w") as file:
                file.write("".join(f"line {line} of document {index}\n" for line in range(200)))
        home = f"{folder}/home"
        prepare = ["data", "prepare", f"{folder}/corpus", "--name", "text", "--tokenizer", "byte", "--held-out", "10%"]
        run(sandbox, home, *prepare)
        figures = {"trials": trials, "points": points}
        for count in (10, points):
            file = f"{folder}/scale-{count}.yaml"
            sweep(file, trials, count)
            _, seconds, _ = run(sandbox, home, "plan", file)
            figures[f"plan_seconds_{count}"] = round(seconds, 3)
            answer, seconds, memory = run(sandbox, home, "run", file)
            if answer["counts"]["complete"] != trials:
                sys.exit(f"not every trial is complete: {answer}")
            figures[f"run_seconds_{count}"] = round(seconds, 2)
            figures[f"run_peak_bytes_{count}"] = memory
            _, seconds, _ = run(sandbox, home, "run", file)
            figures[f"run_again_seconds_{count}"] = round(seconds, 3)
        figures["milliseconds_per_trial_of_10_points"] = round(1e3 * figures["run_seconds_10"] / trials, 3)
        more = figures[f"run_seconds_{points}"] - figures["run_seconds_10"]
        figures["points_per_second"] = round(trials * (points - 10) / more)
        best = min(run(sandbox, home, "status")[1] for _ in range(5))
        figures["status_milliseconds"] = round(1e3 * best, 1)
        _, seconds, memory = run(sandbox, home, "report", f"scale-{points}", "--out", f"{folder}/report")
        figures["report_seconds"] = round(seconds, 2)
        figures["report_peak_bytes"] = memory
        figures["report_page_bytes"] = os.path.getsize(f"{folder}/report/index.html")
        figures["database_bytes"] = os.path.getsize(f"{home}/sandbox.db")
        print(json.dumps(figures, indent=1))


main()
