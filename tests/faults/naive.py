"""Farthing with the bug that everybody writes: balances are read without a lock. For a test to catch."""

from charging import store
from config.asgi import application as served

store._LOCK = store.Statement(store._LOCK_SQL.replace("FOR NO KEY UPDATE OF book", ""), *store._LOCK.kinds)
store._LOCK_FREE = store._LOCK

application = served
