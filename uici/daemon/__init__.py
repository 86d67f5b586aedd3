"""The network doors: webhooks, the API, metrics, the local socket, and the worker behind them.

A door authenticates, bounds, parses and hands over to the engine. It must not decide what may run, talk to an engine
itself, or answer 2xx for an alert before the journal has it.
"""
