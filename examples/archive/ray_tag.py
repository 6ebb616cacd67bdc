#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Tags a list of files or URIs with Ray Data: each actor keeps one `instruments` process, and so its models, open.

    ray_tag.py LIST OUT [--actors N] [--command PATH]

LIST has one input a line. OUT becomes a folder of Parquet files with a row an input: its URI, duration, instruments
(label, seconds, mean score), segments, or the cause why it could not be tagged.
"""

import argparse
import json
import subprocess

import ray


class Tagger:
    """Hands inputs to a process that answers each with JSON lines, of which the last has the type "file"."""

    def __init__(self, command: str):
        self.command = [command, "tag", "--follow"]
        self.process = None

    def __call__(self, batch: dict) -> dict:
        rows = [self.tag(uri) for uri in batch["item"]]
        return {key: [row[key] for row in rows] for key in rows[0]}

    def tag(self, uri: str) -> dict:
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        segments = []
        try:
            self.process.stdin.write(uri + "\n")
            self.process.stdin.flush()
            for line in self.process.stdout:
                line = json.loads(line)
                if line["type"] == "file":
                    return self.row(uri, segments, line)
                segments.append({key: line[key] for key in ("label", "start", "end", "source", "score")})
        except BrokenPipeError:
            pass
        code = self.process.wait()
        return self.row(uri, [], {"error": f"the process ended with code {code} while it was tagged"})

    @staticmethod
    def row(uri: str, segments: list, line: dict) -> dict:
        return {
            "input": uri,
            "uri": line.get("uri", uri),
            "duration": line.get("duration", 0.0),
            "instruments": json.dumps(line.get("instruments", [])),
            "segments": json.dumps(segments),
            "error": line.get("error", ""),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("list")
    parser.add_argument("out")
    parser.add_argument("--actors", type=int, default=None, help="processes at the same time [default: a core each]")
    parser.add_argument("--command", default="instruments")
    args = parser.parse_args()
    with open(args.list, encoding="utf-8") as lines:
        inputs = [line.strip() for line in lines if line.strip()]
    ray.init(ignore_reinit_error=True)
    actors = args.actors or max(1, int(ray.cluster_resources()["CPU"]))
    rows = ray.data.from_items(inputs, override_num_blocks=min(len(inputs), 4 * actors)).map_batches(
        Tagger,
        fn_constructor_args=[args.command],
        compute=ray.data.ActorPoolStrategy(size=actors),
        batch_size=4,
        num_cpus=1,
        # An actor that dies is replaced, and its batch is tagged again.
        max_restarts=-1,
        max_task_retries=-1,
    )
    rows.write_parquet(args.out)


if __name__ == "__main__":
    main()
