"""Why a decision or a judgement was taken, as words that are stored and counted."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a signal has the action it has."""

    # There is no basis for a decision.
    TOO_FEW_BARS = "TOO_FEW_BARS"
    STALE_BAR = "STALE_BAR"
    MISSING_BARS = "MISSING_BARS"
    NOT_FINITE = "NOT_FINITE"
    FLAT_SPREAD = "FLAT_SPREAD"
    FROZEN = "FROZEN"
    DATA_BLOCKED = "DATA_BLOCKED"
    # A trade is there.
    STOP_Z = "STOP_Z"
    TIME_STOP = "TIME_STOP"
    EXIT_Z = "EXIT_Z"
    SIGN_FLIPPED = "SIGN_FLIPPED"
    HOLDING = "HOLDING"
    IN_MOTION = "IN_MOTION"
    # A trade in one symbol is there, and its instance asks for something else, or does not look at it any more.
    TARGET_ZERO = "TARGET_ZERO"
    TARGET_TURNED = "TARGET_TURNED"
    NOT_ITS_SYMBOL = "NOT_ITS_SYMBOL"
    # A strategy of somebody's own decides about the pair.
    ASKED = "ASKED"
    NOT_ASKED = "NOT_ASKED"
    # No trade is there.
    TARGET = "TARGET"
    BELOW_ENTRY = "BELOW_ENTRY"
    BEYOND_STOP = "BEYOND_STOP"
    NOT_ACTIVE = "NOT_ACTIVE"
    INSTANCE_OFF = "INSTANCE_OFF"
    COOL_DOWN = "COOL_DOWN"
    LATE_SLOT = "LATE_SLOT"
    LAST_HOUR = "LAST_HOUR"
    ENTRY_Z = "ENTRY_Z"
    OBSERVED_ENTRY_Z = "OBSERVED_ENTRY_Z"


DATA_FAULTS = frozenset(
    {
        Reason.TOO_FEW_BARS,
        Reason.STALE_BAR,
        Reason.MISSING_BARS,
        Reason.NOT_FINITE,
        Reason.FLAT_SPREAD,
        Reason.DATA_BLOCKED,
    }
)
"""There was no basis for a decision because of the bars."""


class FitReason(StrEnum):
    """Why a fit may not be traded."""

    BETA_NOT_POSITIVE = "BETA_NOT_POSITIVE"
    NO_MEAN_REVERSION = "NO_MEAN_REVERSION"
    HALF_LIFE_SHORT = "HALF_LIFE_SHORT"
    HALF_LIFE_LONG = "HALF_LIFE_LONG"
    LOW_CORRELATION = "LOW_CORRELATION"


class GateReason(StrEnum):
    """Which number of a trial keeps a fit from being traded."""

    SHARPE_LOW = "SHARPE_LOW"
    WIN_RATE_LOW = "WIN_RATE_LOW"
    DRAWDOWN_HIGH = "DRAWDOWN_HIGH"
    FEW_ROUND_TRIPS = "FEW_ROUND_TRIPS"


class ScanReason(StrEnum):
    """Why discovery drops a pair, in the order in which that is asked."""

    FEW_COMMON_SESSIONS = "FEW_COMMON_SESSIONS"
    # It can't be tested.
    NOT_SCANNED = "NOT_SCANNED"
    TOO_FEW_BARS = "TOO_FEW_BARS"
    FLAT_LEG = "FLAT_LEG"
    COLLINEAR_LEGS = "COLLINEAR_LEGS"
    SINGULAR = "SINGULAR"
    # It was tested.
    LOW_CORRELATION = "LOW_CORRELATION"
    NOT_COINTEGRATED = "NOT_COINTEGRATED"
    BETA_NOT_POSITIVE = "BETA_NOT_POSITIVE"
    BETA_TOO_LARGE = "BETA_TOO_LARGE"
    NO_MEAN_REVERSION = "NO_MEAN_REVERSION"
    HALF_LIFE_SHORT = "HALF_LIFE_SHORT"
    HALF_LIFE_LONG = "HALF_LIFE_LONG"


class BasketReason(StrEnum):
    """Why a basket of more than two legs may not be traded."""

    NOT_COINTEGRATED = "NOT_COINTEGRATED"
    # Each leg reverts by itself: that is no relation between them.
    LEGS_STATIONARY = "LEGS_STATIONARY"
    NO_MEAN_REVERSION = "NO_MEAN_REVERSION"
    HALF_LIFE_SHORT = "HALF_LIFE_SHORT"
    HALF_LIFE_LONG = "HALF_LIFE_LONG"


class LifeReason(StrEnum):
    """Why a pair's life goes no further, or goes back."""

    NO_SUCH_STEP = "NO_SUCH_STEP"
    # It is not far enough.
    NOT_JUDGED = "NOT_JUDGED"
    GATE_FAILED = "GATE_FAILED"
    JUDGED_BEFORE_DEMOTION = "JUDGED_BEFORE_DEMOTION"
    NOT_WATCHED = "NOT_WATCHED"
    # It has decayed.
    LOSING_RECORD = "LOSING_RECORD"
    NO_EDGE = "NO_EDGE"
    COINTEGRATION_LOST = "COINTEGRATION_LOST"
    CORPORATE_ACTION = "CORPORATE_ACTION"
    # It is or is not in a trade.
    TRADE_UNDER_WAY = "TRADE_UNDER_WAY"
    NO_TRADE = "NO_TRADE"
