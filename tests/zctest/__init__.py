"""Starts and stops a real appliance for tests. Servers bind 127.0.0.1 on free ports and are stopped by process id."""
