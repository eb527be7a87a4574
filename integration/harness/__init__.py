"""What the integration tests are made of: an Erlang node, Prometheus, a browser, and waiting for events."""
