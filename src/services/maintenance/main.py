"""Process entry of the maintenance service: `python -m src.services.maintenance.main`."""

from src.shared.infra.flow_run import service_main

if __name__ == "__main__":
    service_main("maintenance")
