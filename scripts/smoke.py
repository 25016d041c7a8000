"""What an installed dgjax must do, in a process of its own: fit, predict, save, load, and the command."""

import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import numpy as np

import dgjax as dg


def main(version: str) -> None:
    """End with an error where the wheel of `version` does not do what is expected of it."""
    assert dg.__version__ == version, f"installed is {dg.__version__}, and not {version}"
    random = np.random.default_rng(0)
    y = random.integers(2, size=200)
    x = (random.normal(size=(200, 3)) + 3 * y[:, None]).astype("float32")
    x[::7, 1] = np.nan
    model = dg.discriminant_analysis(x, np.where(np.arange(200) % 2, y, -1))
    fit = dg.fit(dg.logistic_regression(3, 2), np.nan_to_num(x), y, prior=dg.priors.Ridge(1.0))
    assert np.mean(dg.predict(model, x) == y) > 0.95
    assert np.mean(dg.predict(fit.model, np.nan_to_num(x)) == y) > 0.9
    assert not np.isnan(dg.impute(model, x)).any()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "model.safetensors"
        dg.save(place, model)
        assert (dg.predict(dg.load(place), x) == dg.predict(model, x)).all()
    command = Path(sysconfig.get_path("scripts")) / "dgjax"
    for asked in (["--version"], ["compare", "--help"]):
        told = subprocess.run([command, *asked], capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stderr
        assert "dgjax" in told.stdout
    print(f"dgjax {version} on Python {sys.version.split()[0]}: fit, predict, impute, save, load and the command work")


if __name__ == "__main__":
    main(sys.argv[1])
