"""How a service's process boots when a Prefect worker started it for one flow run.

A worker runs ``python -m src.services.<service>.main`` with the run's id in the environment. After its own
boot the process becomes the engine of that run, so that nothing is started twice. Prefect is reached by name
only: services do not depend on it.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from src.config.settings import load_settings
from src.shared.domain.errors import TradewindsError
from src.shared.infra.prefect_api import prefect_credentials
from src.shared.infra.process_start import begin_process

FLOW_RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"
ENGINE = "src.shared.prefect.engine"
# As sysexits.h has them: a configuration error, a usage error.
BOOT_FAILED, USAGE = 78, 64


def service_main(service: str, commands: Callable[[], None] | None = None) -> None:
    """Run the flow run that a worker handed over; without one, the service's own `commands`.

    Arguments on the command line always mean a command: a flow may start such a process itself.
    """
    if len(sys.argv) == 1 and os.environ.get(FLOW_RUN_VARIABLE):
        run_this_flow_run(service)
    elif commands is not None:
        commands()
    else:
        sys.stderr.write(
            f"{service} has no commands of its own: it runs flows for a Prefect worker."
            " Start one with scripts/prefect/start_prefect_worker.py.\n"
        )
        raise SystemExit(USAGE)


def run_this_flow_run(service: str) -> None:
    """Boot, then be the engine of the flow run named in the environment.

    A process that leaves with 0 without having run the flow would leave the run ``Submitting`` for ever; so a
    boot that fails says why in one line, here and in the run's log, and leaves with another code: the run is
    Crashed.
    """
    _leave_the_workers_group()
    try:
        begin_process()
        settings = load_settings()
        from src.shared.infra.logging import configure_logging

        configure_logging(settings, service)
    except TradewindsError as error:
        reason = f"{service} could not boot: {error}"
        sys.stderr.write(f"{reason}\n")
        _tell_prefect(reason)
        raise SystemExit(BOOT_FAILED) from None
    runpy.run_module(ENGINE, run_name="__main__", alter_sys=True)


def _leave_the_workers_group() -> None:
    # Ctrl-C in the worker's terminal goes to its whole process group; the worker drains, its runs go on.
    if hasattr(os, "setsid") and os.getpgrp() != os.getpid():
        os.setsid()


def _tell_prefect(reason: str) -> None:
    import httpx

    line = {
        "name": "tradewinds.boot",
        "level": 50,
        "message": reason,
        "timestamp": datetime.now(UTC).isoformat(),
        "flow_run_id": os.environ[FLOW_RUN_VARIABLE],
    }
    try:
        url = f"{os.environ['PREFECT_API_URL']}/logs/"
        httpx.post(url, json=[line], auth=prefect_credentials(), timeout=5).raise_for_status()
    except (httpx.HTTPError, KeyError) as error:
        sys.stderr.write(f"The run's log could not be told ({type(error).__name__}).\n")
