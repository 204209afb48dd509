"""The PostgreSQL roles of the trading database, on a server that has them."""

# makes and owns the objects
OWNER_ROLE = "tradewinds_owner"
# what the running services connect as
APP_ROLE = "tradewinds_app"
