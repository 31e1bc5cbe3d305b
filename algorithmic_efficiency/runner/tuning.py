"""Search spaces: from a JSON file to the hyperparameters of each trial."""

import collections
import keyword
import math
import sys
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from algorithmic_efficiency import strict_json
from algorithmic_efficiency.errors import UsageError

Point = dict[str, Any]
# Names of a search space beside a submission, the first choice first.
BESIDE = ("default_hyperparameters.json", "tuning_search_space.json")
_FORMS = '{"min": a, "max": b, "scaling": "linear"|"log"} or {"feasible_points": [...]}'


def read(path: Path) -> Any:
    """Returns a checked search space.

    It is a dict of name -> range, sampled quasi-randomly, or a list of points, taken in
    order (public API, harness rules).

    Raises:
      UsageError: the file is missing, is not JSON, or holds no valid search space.
    """
    advice = "--tuning_search_space takes the path of a JSON file."
    space = strict_json.read(path, "search space", advice)
    if isinstance(space, list):
        _check_points(path, space)
    elif isinstance(space, dict) and space:
        for name, form in space.items():
            _check_name(path, name)
            _check_range(path, name, form)
    else:
        raise UsageError(
            f"The search space {path} should be a dict of ranges or a list of points."
        )
    return space


def beside(submission: Path) -> Path | None:
    """Returns the search space that lies beside a submission, None without one."""
    found = (submission.with_name(name) for name in BESIDE)
    return next((path for path in found if path.is_file()), None)


def points(space: Any, trials: int, seed: int, studies: int = 1) -> list[Point]:
    """Returns the points of all trials, study after study, the same for one seed.

    A dict is sampled by SciPy's scrambled Halton sequence (Owen, 2017), once for all
    studies together (public rule): the first `trials` points are those of the first
    study, the next those of the second. So the points of a study do not depend on how
    many studies there are. Of a list, each study takes the first ones, in order.

    Raises:
      UsageError: a list has fewer points than there are trials.
    """
    if isinstance(space, list):
        if trials > len(space):
            raise UsageError(
                f"--num_tuning_trials={trials}, but the search space is a list of "
                f"{len(space)} points; ask for at most {len(space)} trials."
            )
        return [dict(point) for _ in range(studies) for point in space[:trials]]
    from scipy.stats import qmc  # noqa: PLC0415 - it takes a second to load

    halton = qmc.Halton(len(space), scramble=True, rng=seed)
    return [
        {
            name: _value(form, float(u))
            for (name, form), u in zip(space.items(), row, strict=True)
        }
        for row in halton.random(studies * trials)
    ]


def namedtuple(point: Mapping[str, Any]) -> Any:
    """Returns the point as the `Hyperparameters` that submissions receive."""
    # The names are data, hence the form of a call.
    plain: Any = collections.namedtuple("Hyperparameters", point)  # type: ignore[misc]  # noqa: PYI024

    class Hyperparameters(plain):
        __slots__ = ()

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(
                f"There is no hyperparameter {name!r}; this point has "
                f"{', '.join(self._fields) or 'none'}. They come from "
                f"--tuning_search_space, or from {' or '.join(BESIDE)} beside the "
                "submission."
            )

    return Hyperparameters(**point)


def _value(form: Mapping[str, Any], u: float) -> Any:
    """Returns the value at u in [0, 1)."""
    if "feasible_points" in form:
        return form["feasible_points"][int(u * len(form["feasible_points"]))]
    low, high = form["min"], form["max"]
    if form["scaling"] == "log":
        return low * math.exp(u * (math.log(high) - math.log(low)))
    return low + u * (high - low)


def _check_points(path: Path, space: list[Any]) -> None:
    if not space or not all(isinstance(point, dict) and point for point in space):
        raise UsageError(
            f"The search space {path} is a list, so every entry should be a dict of "
            "hyperparameters, and there should be at least one."
        )
    for point in space:
        for name in point:
            _check_name(path, name)


def _check_name(path: Path, name: str) -> None:
    known = name.isidentifier() and not keyword.iskeyword(name)
    # Python reads identifiers in this normal form, so another one is never found.
    plain = unicodedata.normalize("NFKC", name)
    if not known or name.startswith("_") or name != plain:
        raise UsageError(
            f"The search space {path} names a hyperparameter {name!r}; a name should "
            "be a Python identifier that does not begin with an underscore"
            + (f", spelled {plain!r}." if known and name != plain else ".")
        )


def _check_range(path: Path, name: str, form: Any) -> None:
    where = f"The search space {path}, hyperparameter {name!r}:"
    if isinstance(form, dict) and set(form) == {"feasible_points"}:
        if not isinstance(form["feasible_points"], list) or not form["feasible_points"]:
            raise UsageError(f"{where} feasible_points should be a list of values.")
        return
    if not isinstance(form, dict) or set(form) != {"min", "max", "scaling"}:
        raise UsageError(f"{where} found {form!r}, expected {_FORMS}.")
    low, high, scaling = form["min"], form["max"], form["scaling"]
    if scaling not in ("linear", "log"):
        raise UsageError(f"{where} scaling is {scaling!r}; use 'linear' or 'log'.")
    if not all(_is_number(limit) for limit in (low, high)):
        raise UsageError(f"{where} min is {low!r} and max is {high!r}; use numbers.")
    if low > high:
        raise UsageError(f"{where} min ({low}) is greater than max ({high}).")
    if not _is_number(high - low):
        raise UsageError(f"{where} max - min is not finite; use smaller numbers.")
    if scaling == "log" and low <= 0:
        raise UsageError(
            f"{where} min is {low}; on a log scale it should be greater than 0."
        )


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and abs(value) < math.inf and abs(value) <= sys.float_info.max
