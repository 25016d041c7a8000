"""A randomised differential test: every density, structure and verb beside the textbook's formulas in float64 loops.

`make fuzz` runs it; `make fuzz SEED=1 CASE=7` repeats one case. What a case is stands in `cases.py`, the formulas in
`formulas.py` and `paths.py` (and in `tests/oracle.py` for steps of EM), the tolerances in `agreement.py`.
"""
