"""Tries random networks, and tells how many of them are equal, refused and why, or bugs.

    make fuzz N=10000 SEED=1
    python -m tests.fuzz -n 200 --seed 7 --pairs

Networks are drawn and tried in chunks, each in a process of its own, since TensorFlow itself ends
the process on some. A bug is shrunk to a small network of the same fault, and printed as a script.
The exit status is 1 if there was one.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count

from tqdm import tqdm

CHUNK, SHOWN = 400, 20


def main():
    args = arguments()
    if args.chunk:
        from tests.fuzz.chunk import run

        run(args.chunk, args.seed)
        return
    results = tried(args.n, args.seed, args.j)
    print_tally(results, args.pairs)
    sys.exit(any(result["kind"] == "bug" for result in results))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-n", type=int, default=1000, help="how many networks (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(%(default)s)")
    parser.add_argument("-j", type=int, default=2, help="processes at a time (%(default)s)")
    parser.add_argument(
        "--pairs", action="store_true", help="print the tally of every pair of steps"
    )
    parser.add_argument("--chunk", type=int, help=argparse.SUPPRESS)  # in the child
    return parser.parse_args()


def tried(n, seed, at_once):
    """What became of each of `n` networks, as records of `chunk`."""
    results, seeds = [], count(seed * 10**9, 10**5)
    with tqdm(total=n, unit="network") as bar, ThreadPoolExecutor(at_once) as pool:

        def work(_):
            while len(results) < n:
                with closing(records(min(CHUNK, n), next(seeds))) as found:
                    for result in found:
                        if len(results) < n:
                            results.append(result)
                            tell(bar, results)
                        else:
                            break

        list(pool.map(work, range(at_once)))
    return results


def tell(bar, results):
    """The progress, and the last result, if it is not as it should be."""
    bar.update()
    bar.set_postfix(Counter(result["kind"] for result in results))
    if results[-1]["script"]:
        reasons = "\n".join(results[-1]["reasons"])
        bar.write(f"\n{results[-1]['kind']}: {reasons}\n{results[-1]['script']}\n")


def records(networks, seed):
    """The records of one child; if it died, the network that it was trying is tried `again`."""
    command = [sys.executable, "-m", "tests.fuzz", "--chunk", str(networks), "--seed", str(seed)]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=quiet
    )
    with ThreadPoolExecutor(1) as pool, child:
        log, trying, alive = pool.submit(child.stderr.read), None, False
        try:
            for line in child.stdout:
                record, alive = json.loads(line), True
                trying = record.get("trying")
                if not trying:
                    yield record
        except GeneratorExit:
            child.kill()
            raise
        if child.wait() and not alive:
            sys.exit(log.result())
        if child.returncode and trying:
            yield again(trying, quiet)


def again(script, quiet):
    """The record of a network in whose midst the process ended: what it is in one of its own.

    TensorFlow ends a process now and then, in one of its threads, and on other networks every time.
    """
    tried = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=quiet
    )
    if tried.returncode:
        why = tried.stderr.strip().splitlines()[-1:] or [f"exit status {tried.returncode}"]
        kind, reasons = "died", why
    else:
        kind, *reasons = tried.stdout.splitlines()
    bad = kind in ("bug", "died")
    return {"kind": kind, "reasons": reasons, "pairs": [], "script": script if bad else ""}


def print_tally(results, pairs):
    kinds = Counter(result["kind"] for result in results)
    print(f"{len(results):,} networks: " + ", ".join(f"{n:,} {kind}" for kind, n in kinds.items()))
    found = Counter((a, b) for result in results for a, b in {*map(tuple, result["pairs"])})
    ops = {op for pair in found for op in pair} - {"input"}
    print(f"{len(ops)} kinds of steps, {len(found):,} pairs of one that reads another")
    for kind in sorted(kinds.keys() - {"equal"}):
        reasons = Counter(
            why for result in results if result["kind"] == kind
            for why in {re.sub(r"^.+\(\w+\): ", "", reason) for reason in result["reasons"]}
        )  # fmt: skip
        print(f"\n{kind}:")
        for why, times in reasons.most_common():
            print(f"{times:7,}  {why}")
    print_pairs(results, found, None if pairs else SHOWN)


def print_pairs(results, found, shown):
    """Of each pair: networks, and how many of them were not equal; those with the most first."""
    other = Counter(
        pair for result in results if result["kind"] != "equal"
        for pair in {*map(tuple, result["pairs"])}
    )  # fmt: skip
    print("\n  networks    other  pair")
    for first, second in sorted(found, key=lambda pair: (-other[pair], pair))[:shown]:
        times = found[first, second]
        print(f"{times:10,} {other[first, second]:8,}  {first} > {second}")


if __name__ == "__main__":
    main()
