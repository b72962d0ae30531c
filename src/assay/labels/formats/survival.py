"""Durations as survival packages hold them: a time and a flag, in two columns or in a structured array.

`Surv` arrays of scikit-survival are structured (flag, time), so that rows stay together when a table is split;
lifelines takes two columns, times and flags (1: the event was observed). Neither package is needed here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.censored import Censored


def read_survival(time: Any, event: npt.ArrayLike | None = None) -> Censored:
    """Read durations in any of the usual forms.

    Parameters
    ----------
    time : `Censored` labels; or a structured array with one flag and one time; or a table (n, 2) of times and flags, in
        this order; or times (n,), with `event`.
    event : (n,) flags beside times: true or 1 where the event was observed.

    Examples
    --------
    >>> rows = np.array([(True, 3.0), (False, 5.0)], dtype=[("died", bool), ("days", float)])
    >>> read_survival(rows).event.tolist(), read_survival([[3.0, 1], [5.0, 0]]).event.tolist()
    ([True, False], [True, False])
    """
    if isinstance(time, Censored):
        if event is not None:
            raise InputError("Censored labels hold their events already: leave out `event`.")
        return time
    table = np.asarray(time)
    if event is not None:
        return Censored.from_time_event(table, _flags(event))
    if table.dtype.names is not None:
        flags = [name for name in table.dtype.names if table.dtype[name] == np.bool_]
        times = [name for name in table.dtype.names if table.dtype[name].kind in "iuf"]
        if len(flags) != 1 or len(times) != 1 or table.ndim != 1:
            raise InputError(f"A structured array needs one boolean and one numeric field; got {table.dtype}.")
        return Censored.from_time_event(table[times[0]], table[flags[0]])
    if table.ndim == 2 and table.shape[1] == 2:
        try:
            pairs = table.astype(np.float64)
        except (TypeError, ValueError):
            raise InputError("A table of durations needs two columns of numbers: times, then flags.") from None
        return Censored.from_time_event(pairs[:, 0], _flags(pairs[:, 1]))
    raise InputError(
        f"Durations of shape {table.shape} came without events: give `event` beside the times, a structured array "
        "(flag, time), or two columns (time, flag)."
    )


def as_structured(labels: Censored) -> npt.NDArray[Any]:
    """A structured array (n,) with the fields `event` and `time`, as scikit-survival takes it."""
    out = np.empty(labels.n_rows, dtype=[("event", np.bool_), ("time", np.float64)])
    out["event"], out["time"] = labels.event, labels.time
    return out


def _flags(event: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Flags as booleans, from booleans, 0 and 1."""
    flags = np.asarray(event)
    wrong = ~np.isin(flags, (0, 1))
    if wrong.any():
        row = int(np.argmax(wrong.ravel()))
        raise InputError(f"Events must be true or false, 1 or 0; got {flags.ravel()[row]!r}.", row=row)
    return flags.astype(np.bool_)
