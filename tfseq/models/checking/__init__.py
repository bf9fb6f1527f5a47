"""`check_generator`: whether a `Generator` keeps to the protocol, found by running it in Keras on a few rows."""
