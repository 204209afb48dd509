"""What single orders have met: who rests, who is hidden, whose cancel hangs. A lie lasts as long as its rule is there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

from src.services.twin.domain.fault_book import FaultBook
from src.services.twin.domain.faults import (
    Ask,
    Course,
    FillDuringCancel,
    HeldCancel,
    Invisible,
    LateFillAfterCancel,
    LostFill,
    NoFill,
    PartialFill,
    RejectAsync,
)
from src.services.twin.domain.moments import SECOND
from src.services.twin.domain.orders import Fill, Order


@dataclass(frozen=True, slots=True)
class Hold:
    """A cancel that is not done with: what it met (None: that is forgotten), and the host's time at which it ends."""

    lie: HeldCancel | PartialFill | None
    due: float

    @property
    def fraction(self) -> float:
        """Share of what is left that is filled at the end."""
        if isinstance(self.lie, FillDuringCancel | LateFillAfterCancel):
            return self.lie.fraction
        return 1.0 if isinstance(self.lie, PartialFill) else 0.0


class Scripts:
    """Faults that orders and fills carry on with after the request that met them. Nothing of it is stored."""

    def __init__(self, faults: FaultBook) -> None:
        self._faults = faults
        self._courses: dict[str, Course] = {}
        self._hidden: dict[str, tuple[Invisible, int]] = {}
        self._holds: dict[str, Hold] = {}
        self._lost: dict[str, LostFill] = {}

    def begin(self, order: Order, ask: Ask, host: int) -> None:
        """Let an order that was just taken meet its faults."""
        if not self._faults:
            return
        if course := self._faults.fired(Course, ask):
            self._courses[order.id] = course
        if veil := self._faults.fired(Invisible, ask):
            self._hidden[order.id] = (veil, host + int(veil.seconds * SECOND))

    def note_fill(self, fill: Fill, ask: Ask) -> None:
        """Let an execution meet its faults."""
        if self._faults and (lost := self._faults.fired(LostFill, ask)):
            self._lost[fill.id] = lost

    def rejects(self, order: Order) -> bool:
        """Tell whether the order is to be rejected although it was taken."""
        return isinstance(self._course(order), RejectAsync)

    def rests(self, order: Order) -> bool:
        """Tell whether the market does not fill the order now."""
        course = self._course(order)
        if isinstance(course, PartialFill):
            begun = bool(order.filled_qty) or not whole_part(order.qty, course.fraction)
            return begun and course.rest != "later"
        return isinstance(course, NoFill)

    def share(self, order: Order) -> Decimal | None:
        """Return the quantity that is filled now; None: the market decides."""
        course = self._course(order)
        if isinstance(course, PartialFill) and not order.filled_qty:
            return whole_part(order.qty, course.fraction) or None
        return None

    def is_hidden(self, order: Order, host: int) -> bool:
        """Tell whether lists and look-ups by client id do not show the order."""
        if order.id not in self._hidden:
            return False
        veil, until = self._hidden[order.id]
        return host < until and self._faults.holds(veil)

    def is_lost(self, fill: Fill) -> bool:
        """Tell whether activities do not show an execution."""
        return fill.id in self._lost and self._faults.holds(self._lost[fill.id])

    def after_cancel(self, order: Order) -> PartialFill | None:
        """Return the course that fills the rest of an order while it is canceled."""
        course = self._course(order)
        return course if isinstance(course, PartialFill) and course.rest == "after_cancel" else None

    def hold(self, order: Order, lie: HeldCancel | PartialFill | None, host: int) -> None:
        """Put off the end of a cancel as a fault says; with None, until anybody looks."""
        seconds = lie.seconds if isinstance(lie, HeldCancel) else 0.0
        self._holds[order.id] = Hold(lie, math.inf if seconds is None else host + seconds * SECOND)

    def is_held(self, order: Order) -> bool:
        """Tell whether the order's cancel is put off."""
        return order.id in self._holds

    def has_due(self, host: int) -> bool:
        """Tell whether a cancel can be ended."""
        return any(self._is_over(hold, host) for hold in self._holds.values())

    def take_due(self, host: int) -> list[tuple[str, Hold]]:
        """Hand over the cancels to be ended, by order id; what a rule no longer says is left out of them."""
        due = [(order_id, hold) for order_id, hold in self._holds.items() if self._is_over(hold, host)]
        for order_id, _ in due:
            del self._holds[order_id]
        return [(order_id, hold if self._stands(hold) else Hold(None, hold.due)) for order_id, hold in due]

    def _is_over(self, hold: Hold, host: int) -> bool:
        return hold.due <= host or not self._stands(hold)

    def _stands(self, hold: Hold) -> bool:
        return hold.lie is not None and self._faults.holds(hold.lie)

    def _course(self, order: Order) -> Course | None:
        course = self._courses.get(order.id)
        return course if course is not None and self._faults.holds(course) else None


def whole_part(qty: Decimal, fraction: float) -> Decimal:
    """Return a fraction of a quantity in whole shares, rounded down; all of it for 1."""
    return qty if fraction >= 1 else (qty * Decimal(str(fraction))).to_integral_value(rounding="ROUND_FLOOR")
