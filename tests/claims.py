"""Claims of points for the tests of sweeps."""

from __future__ import annotations

from collections.abc import Iterator

from sweeps.claims import Claim, Claims


def next_claim(claims: Claims) -> Claim:
    """The next claim, which must be there."""
    claim = claims.next()
    assert claim, "no point waits"
    return claim


def all_claims(claims: Claims) -> Iterator[Claim]:
    """Claims until no point waits."""
    while claim := claims.next():
        yield claim
