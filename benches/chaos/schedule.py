"""The seeded schedule: which fault when. Pure: the same seed, length and faults give the same schedule."""

from __future__ import annotations

import random
from dataclasses import dataclass

# Seconds from a fault's end to the next one's beginning: the members stream again, and HAProxy takes a server that is
# back after at most 5 + 1 + 1 of its checks' intervals.
RECOVERY = 8.0


@dataclass(frozen=True)
class Slot:
    at: float
    name: str
    sync: bool


def schedule(seed, seconds, faults):
    """Slots in two halves, the second one in synchronous mode. Every kind comes once before any comes twice."""
    dice = random.Random(seed)
    slots = []
    left = []
    for sync in (False, True):
        at = seconds / 2 * sync + RECOVERY
        end = seconds / 2 * (sync + 1)
        while True:
            # A kind that no longer fits waits for the other half.
            left = left or dice.sample(list(faults), len(faults))
            fits = next((f for f in left if at + f.lasts + RECOVERY <= end), None)
            if fits is None:
                break
            left.remove(fits)
            slots.append(Slot(round(at, 1), fits.name, sync))
            at += fits.lasts + RECOVERY
    return slots
