"""The set of rules, and a series judged by all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from src.services.data_ingestion.domain.rules.coverage import (
    Alignment,
    Completeness,
    Finished,
    LongHole,
    RepeatedSession,
    Staleness,
)
from src.services.data_ingestion.domain.rules.jumps import (
    BasisAcrossHole,
    JumpLimits,
    Spike,
    UnadjustedSplit,
    UnexplainedJump,
)
from src.services.data_ingestion.domain.rules.listing import Listed
from src.services.data_ingestion.domain.rules.prices import FrozenPrice, MovesWithoutVolume, PriceRange, VolumeSpike
from src.services.data_ingestion.domain.rules.series import StoredSeries
from src.services.data_ingestion.domain.rules.vendors import AgreementLimits, VendorsAgree
from src.services.data_ingestion.domain.rules.verdict import Rule, Verdict


@dataclass(frozen=True)
class QualityLimits:
    """What the rules let pass. Fractions are of the bars or of the price, sessions are those of the calendar."""

    max_missing_fraction: float = 0.02
    max_hole_sessions: int = 2
    max_stale_sessions: int = 1
    max_frozen_bars: int = 10
    max_untraded_fraction: float = 0.02
    max_volume_ratio: float = 100.0
    jumps: JumpLimits = field(default_factory=lambda: JumpLimits(min_fraction=0.2, hole_deviations=5.0))
    agreement: AgreementLimits = field(
        default_factory=lambda: AgreementLimits(min_bars=20, max_median_bp=25.0, max_worst_bp=300.0)
    )


def all_rules(limits: QualityLimits) -> tuple[Rule, ...]:
    """Return every rule, those that block first."""
    return (
        PriceRange(),
        Alignment(),
        Finished(),
        RepeatedSession(),
        LongHole(limits.max_hole_sessions),
        Spike(limits.jumps),
        UnadjustedSplit(limits.jumps),
        BasisAcrossHole(limits.jumps),
        FrozenPrice(limits.max_frozen_bars),
        VendorsAgree(limits.agreement),
        Listed(),
        Completeness(limits.max_missing_fraction),
        Staleness(limits.max_stale_sessions),
        UnexplainedJump(limits.jumps),
        MovesWithoutVolume(limits.max_untraded_fraction),
        VolumeSpike(limits.max_volume_ratio),
    )


def judge(series: StoredSeries, rules: Sequence[Rule]) -> tuple[Verdict, ...]:
    """Judge a series by every rule, in their order."""
    return tuple(rule.judge(series) for rule in rules)
