#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""What tagging an archive will take, from a sample of it that was tagged.

    instruments merge SAMPLE | cost.py --hours 1000000 [--price 0.04] [--shards 100 1000 10000] [--cores 4]

Reads the merged JSON lines of the sample: how long its files are and how long each took, one core a file. Prints for
each number of shards the core hours, the money, how long it takes until the last shard is done, and what the worst shard
has to do beside the mean one. Files fall to shards by their hash, so a shard's share is a sum over random files.
"""

import argparse
import json
import random
import sys
from statistics import fmean, pstdev


def sample(lines) -> list[tuple[float, float]]:
    """Length and time of each file that was tagged, in hours."""
    files = (line for line in map(json.loads, lines) if line["type"] == "file" and "error" not in line)
    return [(line["duration"] / 3600, line["elapsed"] / 3600) for line in files if line["duration"]]


def shards(times: list[float], files: int, count: int) -> list[float]:
    """The work of each shard: sums of many independent times are normal."""
    mean, deviation, each = fmean(times), pstdev(times), files / count
    # The number of files in a shard varies, too (Poisson).
    spread = (each * (deviation**2 + mean**2)) ** 0.5
    return [max(0.0, random.gauss(each * mean, spread)) for _ in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, required=True, help="length of the archive")
    parser.add_argument("--price", type=float, default=0.04, help="of a core hour [default: 0.04]")
    parser.add_argument("--shards", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--cores", type=int, default=4, help="of each shard's process [default: 4]")
    parser.add_argument("--bit-rate", type=float, default=4.0, help="of the files in Mbit/s, for what is read [default: 4]")
    args = parser.parse_args()
    files = sample(sys.stdin)
    if len(files) < 2:
        sys.exit("cost: the sample has fewer than two tagged files: pipe the output of `instruments merge` in")
    random.seed(1)
    lengths, times = zip(*files)
    count = round(args.hours / fmean(lengths))
    core_hours = count * fmean(times)
    print(f"sample: {len(files)} files, {sum(lengths):.2f} h, {3600 * fmean(lengths):.0f} s each (standard deviation {3600 * pstdev(lengths):.0f} s)")
    print(f"archive: {args.hours:,.0f} h, {count:,} files, {args.hours * 3600 * args.bit_rate / 8e6:,.0f} TB to read")
    print(f"work: {core_hours:,.0f} core hours, {core_hours * args.price:,.0f} at {args.price} a core hour")
    print(f"{'shards':>8} {'cores':>8} {'hours until done':>17} {'worst shard / mean':>19}")
    for number in args.shards:
        work = shards(list(times), count, number)
        print(f"{number:8,} {number * args.cores:8,} {max(work) / args.cores:17,.1f} {max(work) / fmean(work):19.2f}")


if __name__ == "__main__":
    main()
