"""Preflight checks of a sweep: its data and its program; loads no data."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.options import NONE_SPELLINGS
from data.registry import check_data
from sweeps.space import Sweep

PROGRAM = "train.py"


def preflight(sweep: Sweep, folder: Path = Path()) -> str | None:
    """Raises ``InputError`` for data and programs that no run in ``folder`` would find.

    Returns one line if the file names another program than this one, which only W&B's agents run.
    """
    for name, root in itertools.product(_values(sweep, "data"), _values(sweep, "data_root")):
        try:
            check_data(
                "auto" if name is None else str(name),
                root=None if root in NONE_SPELLINGS else Path(str(root)),
                working_folder=folder,
            )
        except InputError as error:
            raise InputError(f"{sweep.file}: {error}") from None
    program = str(sweep.config.get("program") or PROGRAM)
    if Path(program).name == PROGRAM:
        return None
    if not (folder / program).is_file():
        raise InputError(f"{sweep.file}: program {program}: no such file; write program: {PROGRAM}")
    return f"{sweep.file}: program {program} is not run here, {PROGRAM} is (W&B's agents run it)"


def _values(sweep: Sweep, name: str) -> Sequence[Any]:
    return sweep.parameters[name].listed() if name in sweep.parameters else (None,)
