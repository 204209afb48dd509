"""Process entry of maintenance runs, which belong to no service: `python -m src.shared.prefect.main`."""

from src.shared.infra.flow_run import service_main

if __name__ == "__main__":
    service_main("maintenance")
