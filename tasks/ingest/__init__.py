"""The one door: fetch, inspect, store. Every address ends as one row of the ledger."""
