"""How fast it is: each file here measures one thing against its rival, side by side in one run.

    python -m benchmarks.NAME       that one; it prints its figures and leaves them in RESULTS.md
    make bench                      all of them

A benchmark ends with `table.record(__spec__.name, [table.Figure(...), ...])`. Machines are noisy,
so ours and the rival's are measured in turns, several times, and only their ratio is a result.
"""
