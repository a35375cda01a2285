"""The account of the embedded stack, as its terminal keeps it and its books know it."""

ACCOUNT = "demo"
TERMINAL_LOGIN = 50001
TERMINAL_SERVER = "Simulated-Demo"
TERMINAL_ZONE = "Europe/Athens"
ACCOUNT_CURRENCY = "USD"
ACCOUNT_LEVERAGE = 100
