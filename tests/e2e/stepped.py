"""slurmbatch with a clock that a test can set: `python -m tests.e2e.stepped FILE serve ...`.

The file holds by how many seconds the time of day is off; what measures durations is left alone, as
it is when somebody sets the machine's clock.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

_right = time.time
_file = Path(sys.argv[1])


def _set() -> float:
    return _right() + float(_file.read_text())


if __name__ == "__main__":
    time.time = _set
    # Only now, since some keep the function as they find it.
    from slurmbatch.cli import main

    main(sys.argv[2:])
