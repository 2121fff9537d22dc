"""The record, for auditors: searched, verified, taken away as a file."""
