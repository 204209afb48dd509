"""Process entry of the analytics service: `python -m src.services.analytics.main`."""

from src.shared.infra.flow_run import service_main

if __name__ == "__main__":
    service_main("analytics")
