"""An event on its way: as the bus carries it, and back into the class it was."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from src.shared.domain.errors import Terminal
from src.shared.messages.base import Event
from src.shared.messages.market_data import MarketDataStored, SeriesRebased
from src.shared.messages.ops import AlertRaised
from src.shared.messages.orders import ORDER_EVENTS, PAIR_TRADE_EVENTS
from src.shared.messages.portfolio import PerformanceRecorded
from src.shared.messages.risk import RiskLimitChanged, RiskStateChanged, TradeApproved, TradeDenied
from src.shared.messages.signals import PairModeChanged, PairRefitted, SignalRaised

_TYPES: tuple[type[Event], ...] = (
    MarketDataStored,
    SeriesRebased,
    SignalRaised,
    PairModeChanged,
    PairRefitted,
    TradeApproved,
    TradeDenied,
    RiskStateChanged,
    RiskLimitChanged,
    *ORDER_EVENTS.values(),
    *PAIR_TRADE_EVENTS.values(),
    PerformanceRecorded,
    AlertRaised,
)

EVENT_TYPES: Mapping[str, type[Event]] = MappingProxyType({event.channel(): event for event in _TYPES})
"""Every event class by its channel."""


class EventUnreadable(Terminal):
    """An envelope holds no event that this code knows: it is parked, and a newer version may read it."""


class Envelope(BaseModel):
    """One event with its place in the one order of all events: positions rise by one and have no holes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    position: int = Field(ge=1)
    event_id: UUID
    channel: str
    payload: dict[str, JsonValue]

    def event(self) -> Event:
        """Return the event.

        Raises:
            EventUnreadable: the channel is unknown, or the payload does not fit its class.
        """
        event_type = EVENT_TYPES.get(self.channel)
        if event_type is None:
            raise EventUnreadable(f"No event class belongs to channel {self.channel!r}.")
        try:
            return event_type.model_validate(self.payload)
        except ValidationError as error:
            wrong = error.errors()[0]
            where = ".".join(map(str, wrong["loc"]))
            raise EventUnreadable(f"Event {self.event_id} on {self.channel}: {where}: {wrong['msg']}.") from error
