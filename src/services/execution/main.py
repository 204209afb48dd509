"""Process entry of the execution service: `python -m src.services.execution.main`."""

from src.shared.infra.flow_run import service_main

if __name__ == "__main__":
    service_main("execution")
