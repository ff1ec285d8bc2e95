"""One small adapter an engine, all behind the interface of `base`."""
