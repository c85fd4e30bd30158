#!/usr/bin/env python3
"""Reads event files as TensorBoard does and prints the scalars as JSON: tag to a list of [step, wall_time, value].

    python scripts/check_tensorboard.py FOLDER

Needs tensorboard.
"""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator


def main():
    events = EventAccumulator(sys.argv[1], size_guidance={SCALARS: 0}).Reload()
    tags = events.Tags()["scalars"]
    rows = {tag: [[event.step, event.wall_time, event.value] for event in events.Scalars(tag)] for tag in tags}
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
