"""Judge stored series of bars, say how they stand, and fill their gaps from another vendor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from src.services.data_ingestion.domain.loads import ADJUSTMENT, VENDOR
from src.services.data_ingestion.domain.repair import RepairPlan, plan_repair
from src.services.data_ingestion.domain.rules.judging import QualityLimits, all_rules, judge
from src.services.data_ingestion.domain.rules.series import StoredSeries
from src.services.data_ingestion.domain.rules.timetable import BARS_A_SESSION, Timetable, make_timetable
from src.services.data_ingestion.domain.rules.vendors import others_of
from src.services.data_ingestion.domain.rules.verdict import Rule, Verdict
from src.services.data_ingestion.ports import KeptVerdict, QualityRepository, RejectedRow, RepairRun, Shelf
from src.shared.domain.audit import AuditNote
from src.shared.domain.bars import HOURLY, BarColumns, Series, as_datetime, as_moments
from src.shared.domain.errors import InputInvalid
from src.shared.domain.ids import derived_id, parse_symbol, slot_key
from src.shared.domain.sessions import TradingCalendar
from src.shared.failpoints import failpoint
from src.shared.messages.market_data import MarketDataStored
from src.shared.messages.ops import AlertRaised, Severity
from src.shared.ports.unit_of_work import UnitOfWork, Work

SYMBOLS_AT_ONCE = 50


@dataclass(frozen=True)
class Judged:
    """A series with every verdict on it; `written` counts those that say something new."""

    series: Series
    verdicts: tuple[Verdict, ...]
    written: int

    @property
    def faults(self) -> tuple[Verdict, ...]:
        """The verdicts that are not passed."""
        return tuple(verdict for verdict in self.verdicts if not verdict.passed)

    @property
    def blocking(self) -> tuple[Verdict, ...]:
        """The verdicts that keep it from being traded on."""
        return tuple(verdict for verdict in self.verdicts if verdict.blocks)

    @property
    def is_traded(self) -> bool:
        """Say whether decisions are made from it."""
        return self.series == trading_series(self.series.symbol)


@dataclass(frozen=True)
class SeriesStatus:
    """How a series stands: what is there since `since`, how fresh, what is in force, rejected and repaired."""

    series: Series
    since: datetime
    first: datetime | None
    last: datetime | None
    bars: int
    expected: int
    missing: int
    longest_hole_bars: int
    longest_hole_from: datetime | None
    stale_bars: int
    quarantined: int
    repaired: int
    looked_at: datetime | None
    faults: tuple[Verdict, ...]

    @property
    def blocks(self) -> bool:
        """Say whether a verdict in force blocks."""
        return any(verdict.blocks for verdict in self.faults)


@dataclass(frozen=True)
class Repair:
    """What a repair did, or would do: bars that were missing, bars filled, from whom, and why none where it is so."""

    series: Series
    vendor: str
    missing: int
    filled: int
    objection: str | None


@dataclass(frozen=True)
class DataQuality:
    """The quality of stored series. `now` is the broker's time wherever it is asked for."""

    work: UnitOfWork[QualityRepository]
    calendar: TradingCalendar
    limits: QualityLimits
    window: timedelta

    def validate(self, symbols: Sequence[str], now: datetime) -> list[Judged]:
        """Judge every stored series of the symbols, or of all that are stored, and keep what is new about them.

        A series that turns to blocked, or is sound again, is told once. Repeating it writes nothing.

        Raises:
            InputInvalid: a name is no symbol.
            Transient: the database gave no usable answer; what was judged before is kept.
        """
        found: list[Judged] = []
        every = self._names(symbols, now)
        for names in (every[i : i + SYMBOLS_AT_ONCE] for i in range(0, len(every), SYMBOLS_AT_ONCE)):
            with self.work() as work:
                work.repo.lock()
                found += self._judge(work, names, now)
                failpoint("data_ingestion.before_verdicts")
                work.commit()
            failpoint("data_ingestion.verdicts_stored")
        return found

    def close_lost_loads(self) -> int:
        """Say of loads that began a day ago and never ended that they failed; return how many.

        Raises:
            Transient: the database gave no usable answer.
        """
        with self.work() as work:
            lost = work.repo.close_lost_loads()
            work.commit()
        return lost

    def status(self, symbols: Sequence[str], now: datetime, vendor: str | None = None) -> list[SeriesStatus]:
        """Say how the stored series of the symbols stand, or of all that are stored. Nothing is judged or written.

        Raises:
            InputInvalid: a name is no symbol.
        """
        names = self._names(symbols, now)
        with self.work() as work:
            shelf = work.repo.shelf(names, self._since(now))
            stored = self._stored(work.repo, names, self._since(now).date(), now)
        wanted = [each for each in stored if vendor in (None, each.key.vendor)]
        return [_status(each, shelf) for each in wanted]

    def quarantined(self, symbols: Sequence[str], vendor: str | None, newest: int) -> list[RejectedRow]:
        """List the newest rows that were rejected, of the symbols or of all.

        Raises:
            InputInvalid: a name is no symbol.
        """
        names = [parse_symbol(symbol) for symbol in symbols]
        with self.work() as work:
            return work.repo.rejected(names, vendor, newest)

    def repair(
        self, symbols: Sequence[str], first: date, last: date, now: datetime, *,
        who: str, vendor: str | None = None, dry_run: bool = False,
    ) -> list[Repair]:  # fmt: skip
        """Fill the gaps of the symbols' trading series between two days with another vendor's stored bars.

        A filled bar stands in the trading series, for decisions read one series; that it is not of its vendor is
        told by its load run, whose vendor is the other one. Without a name every other vendor is tried. One is
        refused, with the reason, where it does not agree on both sides of the gaps. Then the series are judged.

        Raises:
            InputInvalid: no or no such symbol, days in the wrong order or to come, or the vendor is the series'.
        """
        names = sorted({parse_symbol(symbol) for symbol in symbols})
        if not names:
            raise InputInvalid("name at least one symbol to repair: --symbols KO,PEP.")
        if not first <= last:
            raise InputInvalid(f"the repair would end on {last} before it begins on {first}.")
        if last > now.date():
            raise InputInvalid(f"{last} has not come yet: it is {now:%Y-%m-%d %H:%M} UTC by the broker's clock.")
        if vendor == VENDOR:
            raise InputInvalid(f"{vendor} is whose series are repaired: name another vendor.")
        done = [self._repair(name, (first, last), now, who, vendor, dry_run) for name in names]
        if not dry_run:
            self.validate(names, now)
        return done

    def _names(self, symbols: Sequence[str], now: datetime) -> list[str]:
        names = sorted({parse_symbol(symbol) for symbol in symbols})
        if names:
            return names
        with self.work() as work:
            return work.repo.symbols(self._since(now))

    def _since(self, now: datetime) -> datetime:
        return now - self.window

    def _timetables(self, first: date, now: datetime) -> dict[str, Timetable]:
        return {frame: make_timetable(self.calendar, frame, first, now) for frame in BARS_A_SESSION}

    def _stored(
        self, repo: QualityRepository, names: Sequence[str], first: date, now: datetime
    ) -> list[StoredSeries]:
        times, since = self._timetables(first, now), _midnight(first)
        splits, listings = repo.splits(names), repo.listings(names)
        found = []
        for series, (bars, begins_earlier) in sorted(repo.stored(names, list(times), since).items()):
            status, reason = listings.get(series.symbol, ("active", ""))
            known = splits.get(series.symbol, ())
            frame = times[series.timeframe]
            found.append(StoredSeries(series, bars, frame, begins_earlier, known, (), status, reason))
        return found

    def _judge(self, work: Work[QualityRepository], names: Sequence[str], now: datetime) -> list[Judged]:
        rules = all_rules(self.limits)
        stored = self._stored(work.repo, names, self._since(now).date(), now)
        before = work.repo.in_force(names)
        judged = []
        for each in stored:
            verdicts = judge(replace(each, others=others_of(each, stored)), rules)
            known = before.get(each.key, {})
            new = _news(each.key, verdicts, known, rules)
            work.repo.add_verdicts(each.key, new, (_midnight(self._since(now).date()), now))
            _tell(work, each.key, [verdict for verdict in verdicts if verdict.blocks], known, now)
            judged.append(Judged(each.key, verdicts, len(new)))
        work.repo.note_looks([each.key for each in stored], now)
        return judged

    def _repair(
        self, name: str, days: tuple[date, date], now: datetime, who: str, vendor: str | None, dry_run: bool
    ) -> Repair:
        series = trading_series(name)
        with self.work() as work:
            work.repo.lock_series(series)
            begins = min(days[0], self._since(now).date())
            stored = {each.key: each for each in self._stored(work.repo, [name], begins, now)}
            if series not in stored:
                raise InputInvalid(f"no hourly bars of {name} by {VENDOR} are stored: there is nothing to repair.")
            offers = {key.vendor: each.bars for key, each in stored.items() if _may_fill(key, series, vendor)}
            plans = [self._plan(stored[series], source, bars, days) for source, bars in sorted(offers.items())]
            if not (good := [each for each in plans if each.objection is None]):
                return _refused(series, vendor, plans)
            plan = max(good, key=lambda each: len(each.fill))
            if len(plan.fill) and not dry_run:
                self._fill(work, plan, who, now)
                failpoint("data_ingestion.before_repair")
                work.commit()
                failpoint("data_ingestion.repaired")
        return Repair(series, plan.vendor, len(plan.missing), len(plan.fill), None)

    def _plan(self, stored: StoredSeries, source: str, bars: BarColumns, days: tuple[date, date]) -> RepairPlan:
        window = as_moments([_midnight(days[0]), _midnight(days[1] + timedelta(days=1))])
        rules = all_rules(self.limits)
        return plan_repair(stored, source, bars, (window[0], window[1]), self.limits.agreement, rules)

    def _fill(self, work: Work[QualityRepository], plan: RepairPlan, who: str, now: datetime) -> None:
        ends = plan.fill.end
        key = derived_id("repair", str(plan.series), plan.vendor, str(now), *(str(end) for end in ends))
        told = f"{plan.agreement.bars} common bars, {plan.agreement.median_bp:.1f} basis points apart in the middle"
        run = RepairRun(
            key, plan.series, plan.vendor, as_datetime(plan.fill.start[0]), as_datetime(ends[-1]),
            len(plan.missing) - len(ends), f"fills gaps of {plan.series} from {plan.vendor}: {told}",
        )  # fmt: skip
        work.repo.fill(run, plan.fill)
        work.record(_filled(run, len(ends), now))
        numbers = {"load_run": str(key), "vendor": plan.vendor, "bars": len(ends), "missing": len(plan.missing)}
        work.repo.note(AuditNote(who, "bars repaired", str(plan.series), told, numbers))


def trading_series(symbol: str) -> Series:
    """Name the series of a symbol that decisions are made from."""
    return Series(symbol, HOURLY, VENDOR, ADJUSTMENT)


def _midnight(day: date) -> datetime:
    # In UTC no session of the exchange lies across it.
    return datetime.combine(day, time(), UTC)


def _news(
    series: Series, verdicts: Iterable[Verdict], known: Mapping[str, KeptVerdict], rules: Sequence[Rule]
) -> list[KeptVerdict]:
    """List the verdicts that say something new, and end those of rules that there are no more.

    Each is named after the one that it follows, so that the same news twice is one row.
    """
    new = [each for each in verdicts if each.rule not in known or not each.says_the_same(known[each.rule].verdict)]
    names = {rule.name for rule in rules}
    gone = [held.verdict for name, held in known.items() if name not in names and not held.verdict.passed]
    new += [replace(each, passed=True, reason="the rule is no more", numbers={}) for each in gone]
    before = {name: str(held.id) for name, held in known.items()}
    return [
        KeptVerdict(derived_id("verdict", str(series), each.rule, before.get(each.rule, "")), each) for each in new
    ]


def _tell(
    work: Work[QualityRepository], series: Series, blocking: Sequence[Verdict], known: Mapping[str, KeptVerdict],
    now: datetime,
) -> None:  # fmt: skip
    """Tell that a series turned to blocked or is sound again; what goes on as it was is not told."""
    before = [held for held in known.values() if held.verdict.blocks]
    if bool(before) == bool(blocking):
        return
    if blocking:
        severity: Severity = "error" if series == trading_series(series.symbol) else "warning"
        title = f"{series} is blocked"
        detail = "; ".join(f"{verdict.reason} ({verdict.rule})" for verdict in blocking)
    else:
        severity, title = "info", f"{series} is sound again"
        detail = "no longer: " + "; ".join(f"{held.verdict.reason} ({held.verdict.rule})" for held in before)
    # The same turn is the same alert: it is named after the verdicts that it turned from.
    about = derived_id("data-alert", title, *(sorted(str(held.id) for held in known.values())))
    alert = AlertRaised.of(about, 1, now, slot_key(now), severity=severity, title=title, detail=detail)
    work.repo.add_alert(alert)
    work.record(alert)


def _status(stored: StoredSeries, shelf: Shelf) -> SeriesStatus:
    ends, hole, key = stored.bars.end, stored.longest_hole, stored.key
    held = [each.verdict for each in shelf.in_force.get(key, {}).values()]
    return SeriesStatus(
        series=key,
        since=as_datetime(stored.timetable.starts[0]),
        first=as_datetime(ends[0]) if len(ends) else None,
        last=as_datetime(ends[-1]) if len(ends) else None,
        bars=len(ends),
        expected=len(stored.expected),
        missing=stored.missing,
        longest_hole_bars=hole.bars if hole else 0,
        longest_hole_from=as_datetime(stored.timetable.starts[hole.first]) if hole else None,
        stale_bars=stored.stale_bars,
        quarantined=shelf.quarantined.get((key.symbol, key.vendor, key.timeframe), 0),
        repaired=shelf.repaired.get(key, 0),
        looked_at=shelf.looks.get(key),
        faults=tuple(verdict for verdict in held if not verdict.passed),
    )


def _may_fill(key: Series, series: Series, vendor: str | None) -> bool:
    if key.vendor == series.vendor or vendor not in (None, key.vendor):
        return False
    return replace(key, vendor=series.vendor) == series


def _refused(series: Series, vendor: str | None, plans: Sequence[RepairPlan]) -> Repair:
    if not plans:
        whose = vendor or "another vendor"
        why = f"no {series.timeframe} bars by {whose} with {series.adjustment} prices are stored: load them first"
        return Repair(series, vendor or "", 0, 0, why)
    whole = "; ".join(f"{plan.vendor}: {plan.objection}" for plan in plans)
    return Repair(series, plans[0].vendor, len(plans[0].missing), 0, whole)


def _filled(run: RepairRun, rows: int, now: datetime) -> MarketDataStored:
    return MarketDataStored.of(
        run.id, 1, now, slot_key(now),
        vendor=run.vendor, symbols=(run.series.symbol,), rows=rows, rejected=0, complete=run.missing == 0,
    )  # fmt: skip
