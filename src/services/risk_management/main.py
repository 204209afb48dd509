"""Process entry of the risk management service: `python -m src.services.risk_management.main`."""

from src.shared.infra.flow_run import service_main

if __name__ == "__main__":
    service_main("risk_management")
