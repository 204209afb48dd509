"""The verbs of risk management: review a slot, set the state, show and set limits, watch the portfolio."""

from src.services.risk_management.use_cases.limits import LimitBook
from src.services.risk_management.use_cases.review import PEAK_RESET, RiskManagement, SlotReview
from src.services.risk_management.use_cases.watch import PortfolioWatch

__all__ = ["PEAK_RESET", "LimitBook", "PortfolioWatch", "RiskManagement", "SlotReview"]
