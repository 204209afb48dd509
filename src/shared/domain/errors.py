"""The tree of errors. Each class says who handles it and what happens then.

TradewindsError
├── UserError              the command line prints it as one line and exits with 2
│   ├── SettingsInvalid        a setting has a value that can't be used; nothing was started
│   ├── InputInvalid           an argument, file or symbol is wrong; nothing was written
│   ├── EnvironmentMismatch    keys, URL and database disagree on twin/paper/live; nothing was sent
│   ├── PortInUse              an embedded server can't listen; what was started is stopped again
│   ├── Unreachable            a server that a URL names does not answer
│   └── SchemaMismatch         the database is older or newer than the code
├── Transient              the task retries with back-off: the request had no effect or is safe to repeat
├── Terminal               the run stops and people are told: a retry gives the same
│   ├── InvalidTransition      a life cycle was asked for a step its table does not hold
│   ├── StrategyFault          a strategy's own code failed; its instance waits, the others go on
│   ├── NotTheWriter           another process writes orders for this account now; the caller leaves the work to it
│   └── Refused                the vendor said no, with a code; execution books it, others stop
│       ├── DuplicateOrderId       the broker has an order with this id: look it up and adopt it
│       └── UnknownSymbol          the vendor does not know it: the other symbols go on
└── OutcomeUnknown         reconciliation decides; the request is never simply sent again
"""

from __future__ import annotations


class TradewindsError(Exception):
    """Root of every error that Tradewinds raises itself."""


class UserError(TradewindsError):
    """A mistake a person can mend; the message is one line that says how."""


class SettingsInvalid(UserError):
    """A setting can't be used. The process does not start."""


class InputInvalid(UserError):
    """An argument, file or symbol is wrong. Nothing has been written."""


class EnvironmentMismatch(UserError):
    """Keys, base URL and the database's recorded environment disagree. Nothing is sent."""


class PortInUse(UserError):
    """A port is taken by another process. What was started so far is stopped again."""


class Unreachable(UserError):
    """A server named by a setting does not answer."""


class SchemaMismatch(UserError):
    """The database schema is older or newer than this code."""


class Transient(TradewindsError):
    """The operation had no effect, or may safely be repeated. Tasks retry it with back-off."""


class Terminal(TradewindsError):
    """Repeating gives the same. The run stops and people are told."""


class InvalidTransition(Terminal):
    """A life cycle was asked for a step that its table does not hold."""


class StrategyFault(Terminal):
    """A strategy's own code failed, or asked what it may not. Nothing it asked for counts; other instances go on."""


class NotTheWriter(Terminal):
    """Another process writes orders for this account, or took over since. Nothing may be sent by the caller."""


class Refused(Terminal):
    """The vendor understood the request and said no. `code` is the vendor's numeric code as text."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[Refused], tuple[str, str]]:
        return type(self), (str(self), self.code)


class DuplicateOrderId(Refused):
    """The broker already has an order with this client order id. Execution looks it up and adopts it."""


class UnknownSymbol(Refused):
    """The vendor does not know a symbol. Loads of other symbols go on."""

    @classmethod
    def of(cls, vendor: str, symbol: str) -> UnknownSymbol:
        """Say it of a vendor and a symbol."""
        return cls(f"{vendor} does not know the symbol {symbol}", "unknown symbol")


class OutcomeUnknown(TradewindsError):
    """A request may or may not have taken effect. Reconciliation finds out; it is never just sent again."""
