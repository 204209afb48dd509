"""Prefect's engine for one flow run, with our log lines going to the run's log.

Run by name from a service's ``main``: see ``src.shared.infra.flow_run``.
"""

import runpy

from src.shared.prefect.monitoring import install_run_log_sink

if __name__ == "__main__":
    install_run_log_sink()
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
