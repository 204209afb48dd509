"""Process entry of the notification service: `python -m src.services.notification.main`."""

from src.shared.infra.flow_run import service_main

if __name__ == "__main__":
    service_main("notification")
