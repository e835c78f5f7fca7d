"""From a request to an ordered choice of targets: pure functions, no network, no clock."""
