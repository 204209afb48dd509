"""A process with a relay that is killed between publishing an event and marking it."""

from __future__ import annotations

import os
import signal
import sys

from pydantic import SecretStr

from src.config.settings import DatabaseSettings
from src.shared.infra.bus.redis import RedisBus
from src.shared.infra.bus.relay import OutboxRelay
from src.shared.infra.database.engine import make_engine
from src.shared.messages.envelope import Envelope


class DeadlyBus(RedisBus):
    """Kills its process once an envelope is out."""

    def publish(self, envelope: Envelope) -> None:
        super().publish(envelope)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    database_url, redis_url = sys.argv[1:]
    settings = DatabaseSettings(url=SecretStr(database_url))
    OutboxRelay(make_engine(database_url, settings), DeadlyBus(redis_url)).drain()
