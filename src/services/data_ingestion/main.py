"""Process entry of the data ingestion service: `python -m src.services.data_ingestion.main`."""

from src.shared.infra.flow_run import service_main

if __name__ == "__main__":
    service_main("data_ingestion")
