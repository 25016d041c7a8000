"""`python -m fuzz`: cases for so many seconds, or one of them."""

import argparse
import secrets
import sys

from fuzz import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="of all random numbers; drawn and printed by default")
    parser.add_argument("--case", type=int, default=None, help="repeat one case of a seed")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--worker", type=int, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    seed = secrets.randbelow(1 << 20) if given.seed is None else given.seed
    if given.worker is not None:
        run.work(seed, given.worker, given.workers, given.seconds)
        return 0
    if given.case is not None:
        line = run.one(seed, given.case)
        print(line or f"seed {seed} case {given.case}: agrees")
        return int(line is not None)
    print(f"==> seed {seed}, {given.seconds:.0f} s, {given.workers} processes", flush=True)
    tally, took = run.many(seed, given.seconds, given.workers, lambda line: print(line, flush=True))
    print("\n".join(run.table(tally.ran)))
    print(f"seed {seed}: {tally.ran.total()} cases in {took:.0f} s, {len(tally.wrong)} disagreements")
    return int(bool(tally.wrong))


if __name__ == "__main__":
    sys.exit(main())
