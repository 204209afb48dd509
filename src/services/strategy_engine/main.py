"""Process entry of the strategy engine service: `python -m src.services.strategy_engine.main`."""

from src.shared.infra.flow_run import service_main

if __name__ == "__main__":
    service_main("strategy_engine")
