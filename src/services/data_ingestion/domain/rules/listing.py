"""Rule on the listing behind a series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from src.services.data_ingestion.domain.rules.series import StoredSeries
from src.services.data_ingestion.domain.rules.verdict import Severity, Verdict, failed, passed


@dataclass(frozen=True)
class Listed:
    """The symbol is still listed: prices of one that is not have no market behind them."""

    name: ClassVar[str] = "listed"
    severity: ClassVar[Severity] = "block"

    def judge(self, series: StoredSeries) -> Verdict:
        """Look at what is known of the symbol; one that nothing is known of is taken for listed."""
        if series.status == "active":
            return passed(self, "the symbol is listed", status=series.status)
        why = f": {series.status_reason}" if series.status_reason else ""
        return failed(self, f"the symbol is {series.status}{why}", status=series.status)
