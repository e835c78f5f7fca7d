"""Ready models of a framework in a pool: what every integration shares. The core never imports it."""
