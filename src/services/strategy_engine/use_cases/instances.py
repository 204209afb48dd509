"""What people do with instances: make, list, show, change, switch, end. Each is refused whole or done whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from src.services.strategy_engine.domain.instances import (
    PAIRS,
    SYMBOLS,
    Fault,
    Instance,
    Standing,
    covers_of,
    named_pairs,
)
from src.services.strategy_engine.domain.symbol_trades import Booked, SymbolTrade
from src.services.strategy_engine.ports import InstanceRepository, StoredDecision, StrategyTypes
from src.shared.domain.audit import AuditNote
from src.shared.domain.errors import InputInvalid
from src.shared.domain.instances import MAIN_ACCOUNT, US_MARKET, InstanceMode, parse_instance_id
from src.shared.failpoints import failpoint
from src.shared.ports.unit_of_work import UnitOfWork, Work

MOST_NOTE_LETTERS = 500


@dataclass(frozen=True)
class InstanceStory:
    """An instance with what it decided and how it failed lately, newest first.

    `trades` are those in one symbol that are not over, `booked` says what the others came to.
    """

    standing: Standing
    decisions: tuple[StoredDecision, ...]
    faults: tuple[Fault, ...]
    trades: tuple[SymbolTrade, ...]
    booked: Booked


@dataclass(frozen=True)
class Instances:
    """The desk of instances. Rows are the desired state: whatever runs them follows."""

    store: UnitOfWork[InstanceRepository]
    types: StrategyTypes

    def list(self) -> list[Standing]:
        """List every instance, by id."""
        with self.store() as work:
            return work.repo.standings()

    def show(self, instance_id: str, most: int = 10) -> InstanceStory:
        """Tell of one instance.

        Raises:
            InputInvalid: there is none of that name.
        """
        with self.store() as work:
            found = next((each for each in work.repo.standings() if each.id == instance_id), None)
            if found is None:
                raise _unknown(instance_id)
            decisions, faults = work.repo.decisions(instance_id, most), work.repo.faults(instance_id, most)
            trades = [each for each in work.repo.symbol_trades() if each.instance_id == instance_id]
            booked = work.repo.booked(instance_id)
        return InstanceStory(found, tuple(decisions), tuple(faults), tuple(trades), booked)

    def create(
        self,
        instance_id: str,
        strategy: str,
        config: Mapping[str, object],
        *,
        who: str,
        why: str,
        now: datetime,
        note: str = "",
        account: str = MAIN_ACCOUNT,
        market: str = US_MARKET,
    ) -> Instance:
        """Make an instance; it is off until somebody switches it.

        Raises:
            InputInvalid: the name is taken or can't be one, there is no such strategy, account or market, or the
                config is refused.
        """
        parse_instance_id(instance_id)
        _refuse_elsewhere(account, market)
        found = self.types.describe(strategy, _given(config))
        checked, off = found.config, InstanceMode.OFF
        made = Instance(
            instance_id, strategy, account, market, checked, 1, off, _checked_note(note), now, found.trades
        )
        with self.store() as work:
            if work.repo.is_taken(instance_id):
                raise InputInvalid(
                    f"{instance_id} is taken: an instance has, or had, this name, and its decisions are kept."
                )
            work.repo.add(made)
            what = {"strategy": strategy, "account": account, "market": market, "config": checked}
            _commit(work, AuditNote(who, "instance created", instance_id, why, what))
        return made

    def set(
        self,
        instance_id: str,
        changes: Mapping[str, object],
        *,
        who: str,
        why: str,
        now: datetime,
        note: str | None = None,
    ) -> tuple[Instance, Instance]:
        """Change fields of the config, or the note; return the instance before and after.

        A field given as None goes back to what the strategy says by itself. A config that is refused changes nothing:
        the last good one stays in force.

        Raises:
            InputInvalid: there is no such instance, or the config is refused.
        """
        with self.store() as work:
            before = _locked(work.repo, instance_id)
            found = self.types.describe(before.strategy, _given({**before.config, **changes}))
            config = found.config
            after = replace(
                before,
                config=config,
                config_version=before.config_version + (config != before.config),
                note=before.note if note is None else _checked_note(note),
                updated_at=now,
                trades=found.trades,
            )
            if (after.config, after.note) == (before.config, before.note):
                return before, before
            if after.mode is InstanceMode.ACTIVE:
                _refuse_untradable(work.repo, after)
            work.repo.change(after)
            what = {"before": before.config, "after": config, "version": after.config_version, "note": after.note}
            _commit(work, AuditNote(who, "instance set", instance_id, why, what))
        return before, after

    def mode(
        self, instance_id: str, mode: InstanceMode, *, who: str, why: str, now: datetime
    ) -> tuple[Instance, Instance]:
        """Switch an instance; return it before and after. What its pairs hold is managed to its end in any mode.

        Raises:
            InputInvalid: there is no such instance, its config is refused by what the strategy is now, or what it
                asks for can't be traded.
        """
        with self.store() as work:
            before = _locked(work.repo, instance_id)
            if before.mode is mode:
                return before, before
            after = replace(before, mode=mode, updated_at=now)
            if mode is not InstanceMode.OFF:
                after = replace(after, trades=self.types.describe(before.strategy, before.config).trades)
            if mode is InstanceMode.ACTIVE:
                _refuse_untradable(work.repo, after)
            work.repo.change(after)
            what = {"before": before.mode.value, "after": mode.value}
            _commit(work, AuditNote(who, "instance switched", instance_id, why, what))
        return before, after

    def delete(self, instance_id: str, *, who: str, why: str) -> None:
        """End an instance. Its decisions stay, and its name is not given again.

        Raises:
            InputInvalid: there is no such instance, it is on, or it holds something.
        """
        with self.store() as work:
            before = _locked(work.repo, instance_id)
            if before.mode is not InstanceMode.OFF:
                raise InputInvalid(
                    f"{instance_id} is in mode {before.mode}: switch it with `tradewinds instance mode {instance_id} "
                    "off` first."
                )
            if held := _held(work.repo, before):
                raise InputInvalid(f"{instance_id} holds {', '.join(held)}: it can go once those trades are closed.")
            work.repo.remove(instance_id)
            what = {"strategy": before.strategy, "config": before.config}
            _commit(work, AuditNote(who, "instance deleted", instance_id, why, what))


def _refuse_untradable(repo: InstanceRepository, instance: Instance) -> None:
    """Let an instance act whose strategy trades symbols, or pairs that no other one decides about."""
    if instance.trades == SYMBOLS:
        return
    if instance.trades != PAIRS:
        raise InputInvalid(
            f"{instance.id} can be observed: what is traded are single symbols and registered pairs; "
            f"{instance.strategy} trades a {instance.trades}."
        )
    named = named_pairs(instance.config)
    if instance.asks_for_pairs and not named:
        raise InputInvalid(
            f"{instance.id} can't be active before its config names the pairs it decides about: pairs=…"
        )
    for other in (each.instance for each in repo.standings() if each.id != instance.id):
        shared = sorted({*named} & {*named_pairs(other.config)})
        is_clash = other.mode is InstanceMode.ACTIVE and (instance.asks_for_pairs or other.asks_for_pairs)
        if is_clash and shared and PAIRS in (other.trades, other.strategy):
            raise InputInvalid(f"{instance.id} can't be active: {other.id}, which is, decides about {shared[0]}.")


def _given(config: Mapping[str, object]) -> dict[str, object]:
    """Leave out what the strategy is to say by itself."""
    return {name: value for name, value in config.items() if value is not None}


def _locked(repo: InstanceRepository, instance_id: str) -> Instance:
    found = repo.locked(instance_id)
    if found is None:
        raise _unknown(instance_id)
    return found


def _unknown(instance_id: str) -> InputInvalid:
    return InputInvalid(f"There is no instance {instance_id!r}: see `tradewinds instance list`.")


def _held(repo: InstanceRepository, instance: Instance) -> list[str]:
    """List what is managed under this instance: its trades in symbols, or the pairs that are traded by its config."""
    if instance.strategy != PAIRS:
        return [each.symbol for each in repo.symbol_trades() if each.instance_id == instance.id]
    rivals = [each.instance for each in repo.standings() if each.instance.strategy == PAIRS]
    covers = covers_of(repo.traded_pairs(), rivals)
    return sorted(pair for pair, cover in covers.items() if cover.instance_id == instance.id)


def _refuse_elsewhere(account: str, market: str) -> None:
    if account != MAIN_ACCOUNT:
        raise InputInvalid(f"There is no account {account!r}: an installation has one, {MAIN_ACCOUNT}.")
    if market != US_MARKET:
        raise InputInvalid(f"There is no market {market!r}: instances trade on {US_MARKET}.")


def _checked_note(note: str) -> str:
    plain = " ".join(note.split())
    if len(plain) > MOST_NOTE_LETTERS or "\x00" in plain:
        raise InputInvalid(f"note: at most {MOST_NOTE_LETTERS} letters, this has {len(plain)}.")
    return plain


def _commit(work: Work[InstanceRepository], note: AuditNote) -> None:
    if not note.why.strip():
        raise InputInvalid("Say why, for the audit log: --why TEXT.")
    work.repo.note(note)
    failpoint("strategy_engine.before_instance")
    work.commit()
    failpoint("strategy_engine.instance_changed")
