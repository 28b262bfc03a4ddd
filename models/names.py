"""Names that the models' arguments take, known without torch."""

from __future__ import annotations

BN_POSITIONS = ("before", "after-conv", "after-act", "none")
