"""What to type in each library about a frame `x`: the code at the end of an error."""

CODE = {
    "renamed": {"pandas": "x = x.rename(columns=str)"},
    "without": {
        "pandas": "x = x.drop(columns={names})",
        "polars": "x = x.drop({names})",
        "pyarrow": "x = x.drop_columns({names})",
        "dict": "x = {{name: cells for name, cells in x.items() if name not in {names}}}",
    },
    "year": {
        "pandas": "x = x.assign(**{{{name!r}: x[{name!r}].dt.year}})",
        "polars": "x = x.with_columns(polars.col({name!r}).dt.year())",
        "pyarrow": "x = x.drop_columns([{name!r}]).append_column({name!r}, pyarrow.compute.year(x[{name!r}]))",
    },
    "seconds": {
        "pandas": "x = x.assign(**{{{name!r}: x[{name!r}].dt.total_seconds()}})",
        "polars": "x = x.with_columns(polars.col({name!r}).dt.total_seconds(fractional=True))",
    },
    "missing": {
        "pandas": "x = x.assign(**{{{name!r}: np.nan}})",
        "polars": "x = x.with_columns(polars.lit(None).alias({name!r}))",
        "pyarrow": "x = x.append_column({name!r}, pyarrow.nulls(len(x)))",
        "dict": "x = x | {{{name!r}: [None] * len(next(iter(x.values())))}}",
    },
    "rename": {
        "pandas": "x = x.rename(columns={{{other!r}: {name!r}}})",
        "polars": "x = x.rename({{{other!r}: {name!r}}})",
        "pyarrow": "x = x.rename_columns({{{other!r}: {name!r}}})",
        "dict": "x = x | {{{name!r}: x[{other!r}]}}",
    },
    "text": {
        "pandas": "x = x.astype({{{name!r}: str}})",
        "polars": "x = x.with_columns(polars.col({name!r}).cast(str))",
        "pyarrow": "x = x.drop_columns([{name!r}]).append_column({name!r}, x[{name!r}].cast(pyarrow.string()))",
        "dict": "x = x | {{{name!r}: list(map(str, x[{name!r}]))}}",
    },
    "category": {
        "pandas": "x = x.astype({{{name!r}: 'category'}})",
        "polars": "x = x.with_columns(polars.col({name!r}).cast(polars.Categorical))",
        "pyarrow": "x = x.drop_columns([{name!r}]).append_column({name!r}, x[{name!r}].dictionary_encode())",
    },
    "number": {
        "pandas": "x = x.assign(**{{{name!r}: pandas.to_numeric(x[{name!r}], errors='coerce')}})",
        "polars": "x = x.with_columns(polars.col({name!r}).cast(float, strict=False))",
    },
    "quantiles": {
        "pandas": "x = x.assign(**{{{name!r}: pandas.qcut(x[{name!r}], 3, duplicates='drop')}})",
        "polars": (
            "x = x.with_columns(((polars.col({name!r}).rank() - 1) * 3 // polars.col({name!r}).count()).cast(int))"
        ),
    },
    "dated": {
        "pandas": "x = x.assign(**{{{name!r}: pandas.to_datetime(x[{name!r}])}})",
        "polars": "x = x.with_columns(polars.col({name!r}).str.to_datetime())",
        "pyarrow": (
            "x = x.drop_columns([{name!r}]).append_column({name!r}, x[{name!r}].cast(pyarrow.timestamp('us')))"
        ),
        "dict": "x = x | {{{name!r}: np.array(x[{name!r}], 'M8[us]')}}",
    },
    "differ": {
        "pandas": "x = x.drop_duplicates({names})",
        "polars": "x = x.unique({names}, maintain_order=True)",
    },
    "masked": {
        "pandas": "x = x.assign(**{{{name!r}: x[{name!r}].where(x[{name!r}].isin({levels}))}})",
        "polars": "x = x.with_columns(polars.when(polars.col({name!r}).is_in({levels})).then(polars.col({name!r})))",
        "pyarrow": (
            "x = x.drop_columns([{name!r}]).append_column({name!r}, pyarrow.compute.if_else("
            "pyarrow.compute.is_in(x[{name!r}], pyarrow.array({levels})), x[{name!r}], None))"
        ),
        "dict": "x = x | {{{name!r}: [cell if cell in {levels} else None for cell in x[{name!r}]]}}",
    },
}
"""By what the code does, and by library; where a library has none, the message says it in words alone."""


def of(library: str, what: str, before: str = "Type ", after: str = ".", **parts: object) -> str:
    """Advice for an error: code of a library, between words; empty if there is none."""
    code = CODE[what].get(library, "")
    return f"{before}{code.format(**parts)}{after}" if code else ""
